"""A training's work in its run folder: done once, by one process or several, and told of in the manifest."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlaif.stages.folder import Folder


def trained_once(
    out: Path, identity: Mapping[str, Any], work: Callable[[Folder | None, dict[str, Any]], None]
) -> tuple[dict[str, Any], bool]:
    """Do a training's work, unless the folder says that it was done.

    Args:
        out: the run folder, which has the trained model in `model/`.
        identity: everything that can change the result.
        work: is given the folder (None but in the main process), whose settings it writes when it begins, and a
            mapping for the facts that the manifest is to hold, however far it comes.

    Returns:
        The facts, and whether they are of an earlier time.

    Raises:
        RunFolderError: the folder holds another run, or another process works in it.
    """
    from accelerate.utils import broadcast_object_list

    from rlaif.training.fitting import processes

    state = processes()
    started, at = time.monotonic(), datetime.now(UTC)
    folder = Folder(out, dict(identity)) if state.is_main_process else None
    with closing(folder) if folder is not None else nullcontext():
        # The main process knows what was done before; the others must do as it does.
        (done,) = broadcast_object_list([folder.manifest if folder is not None and (out / "model").is_dir() else None])
        if done and done.get("status") == "complete":
            return done, True
        facts: dict[str, Any] = {"stage": identity["stage"], "status": "stopped"}
        try:
            work(folder, facts)
            state.wait_for_everyone()
            facts["status"] = "complete"
        except KeyboardInterrupt:
            facts["status"] = "interrupted"
            raise
        finally:
            # A training that was refused before it began leaves the folder to whoever comes next.
            if folder is not None and (out / "config.yaml").exists():
                seconds = round(time.monotonic() - started, 3)
                invocation: dict[str, Any] = {
                    "started": at.isoformat(timespec="seconds"),
                    "seconds": seconds,
                    "status": facts["status"],
                    **{name: facts[name] for name in ("usage", "usage_of_watchers") if name in facts},
                }
                folder.write_manifest(facts, invocation)
    return facts, False
