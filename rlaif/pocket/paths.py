"""Names of the bundled models and the folders they are in."""

from pathlib import Path

from rlaif.errors import ModelError, did_you_mean

_MODELS = Path(__file__).parent / "models"


def bundled() -> list[str]:
    """The names of the bundled models."""
    return sorted(path.name for path in _MODELS.iterdir()) if _MODELS.is_dir() else []


def model_folder(name: str) -> Path:
    """The folder of a bundled model.

    Args:
        name: for example `labeler-l`.

    Raises:
        ModelError: no bundled model has this name.
    """
    known = bundled()
    if name not in known:
        raise ModelError(f"pocket:{name} is not a bundled model{did_you_mean(name, known)}")
    return _MODELS / name
