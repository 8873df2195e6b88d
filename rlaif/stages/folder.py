"""A folder that one command writes into: its settings, by which it refuses another run, a lock, and a manifest."""

import fcntl
import json
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import yaml

from rlaif.errors import RunFolderError
from rlaif.io import replacing, writing


class Folder:
    """A run's folder; held by one process at a time.

    Attributes:
        elsewhere: what another folder has of this one, for the message that asks for one.
    """

    elsewhere = ""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        """Open or create it.

        Args:
            path: the folder.
            identity: everything that can change a result.

        Raises:
            RunFolderError: it holds another run, or another process works in it.
            StorageError: it cannot be written.
        """
        self.path = path
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (path / ".lock").open("w")
        try:
            self._hold()
            self._check_identity()
        except BaseException:
            self._lock.close()
            raise

    def _hold(self) -> None:
        """The lock goes with the process, however it ends."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"{self.path}: another process is working in this run folder") from None

    def _check_identity(self) -> None:
        path = self.path / "config.yaml"
        if path.exists():
            try:
                stored = yaml.safe_load(path.read_text(encoding="utf-8"))["identity"]
            except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
                raise RunFolderError(f"{path}: is not the configuration of a run; choose another --out") from error
            for name, mine, theirs in _differences(self._identity, stored):
                raise RunFolderError(
                    f"{self.path}: holds another run ({name} was {theirs!r} there and is {mine!r} now); "
                    f"choose another --out{self.elsewhere}"
                )
        elif any(not entry.name.startswith((".lock", "work.sqlite")) for entry in self.path.iterdir()):
            raise RunFolderError(f"{self.path}: is not empty and holds no run; choose another --out")

    def write_config(self, operation: dict[str, Any]) -> None:
        """Write the resolved settings.

        Args:
            operation: the settings that do not change records.
        """
        with replacing(self.path / "config.yaml") as draft:
            content = {"identity": self._identity, "operation": operation}
            draft.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")

    @property
    def manifest(self) -> dict[str, Any]:
        """What an earlier run wrote there; empty where none came so far."""
        path = self.path / "manifest.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def write_manifest(self, facts: dict[str, Any], invocation: dict[str, Any]) -> None:
        """Write what a reader needs to know where the records come from.

        Args:
            facts: the stage's own part; versions and the commit are added.
            invocation: what was done this time; those of earlier times stay in the list.
        """
        path = self.path / "manifest.json"
        earlier = self.manifest.get("invocations", [])
        with replacing(path) as draft:
            whole = {
                **facts,
                "invocations": [*earlier, invocation],
                "versions": versions(),
                "commit": commit(),
            }
            draft.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()


def _differences(mine: Any, theirs: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in dict.fromkeys([*mine, *theirs]):
            yield from _differences(mine.get(key), theirs.get(key), f"{name}.{key}" if name else str(key))
    elif mine != theirs:
        yield name, mine, theirs


def versions() -> dict[str, str]:
    """Versions of this package and of what changes numbers."""
    found = {}
    for package in ("rlaif", "torch", "transformers", "tokenizers", "numpy", "jinja2", "pydantic"):
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The git commit of the checkout that runs, with `+changes` where it was changed; None elsewhere."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, capture_output=True, check=False)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if dirty.returncode else "")
