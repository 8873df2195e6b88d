"""Whether every extra still resolves by itself (`pip install --dry-run`, in an empty environment)."""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from report import write

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Resolve the core and each extra."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for extra in ["", *extras]:
            target = f"{ROOT}[{extra}]" if extra else str(ROOT)
            words = [f"{folder}/bin/python", "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", target]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            found[extra or "core"] = "resolves" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    write("extras", {"extras": found})
    sys.exit(any(result != "resolves" for result in found.values()))


if __name__ == "__main__":
    main()
