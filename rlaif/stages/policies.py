"""What policies are called whose responses are compared or judged. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.errors import InputError
from rlaif.stages.labels import is_run


def stem(path: Path) -> str:
    """A file's name without its endings, or a run folder's name.

    Args:
        path: of samples or labels.
    """
    return path.name.split(".")[0] if not is_run(path) else path.name


def policy_names(files: Sequence[Path], llms: Sequence[Iterable[str | None]]) -> list[str]:
    """What to call the policies: the one model that each file names, or else the files.

    Args:
        files: one a policy.
        llms: of each file the models that its rows name.

    Raises:
        InputError: files have the same name too.
    """
    own = [set(each) for each in llms]
    names = [next(iter(one)) if len(one) == 1 else None for one in own]
    if None in names or len(set(names)) < len(names):
        names = [stem(file) for file in files]
    if len(set(names)) < len(names):
        raise InputError(f"{', '.join(map(str, files))}: policies have the same name; rename a file")
    return [str(name) for name in names]


def writer(row: Mapping[str, Any]) -> str | None:
    """Who wrote a single response, where its row says it.

    Args:
        row: of `read_responses`; in a label, which has a `method`, `llm` is who judged.
    """
    written_by = row.get("model") or row.get(f"model_{row.get('response_index', 0) + 1}")
    return written_by or (None if "method" in row else row.get("llm"))
