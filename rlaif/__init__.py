"""AI feedback: labeling with an LLM, and training on it.

The public names load what they need when they are first used; `import rlaif` itself loads neither torch nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlaif.labeling.preference import PreferenceLabeler
    from rlaif.labeling.ranking import Ranker
    from rlaif.labeling.score import Scorer
    from rlaif.llm.open import open_llm
    from rlaif.llm.scripted import ScriptedLLM
    from rlaif.records import Comparison, Failure, Preference, Ranking, Response, Sample, Score, Turn
    from rlaif.stages.export import export
    from rlaif.stages.judge import judge_file
    from rlaif.stages.panel import label_by_panel
    from rlaif.stages.pilot import pilot
    from rlaif.stages.quote import quote
    from rlaif.stages.repeat import ask_again

_HOMES = {
    "Comparison": "records",
    "Failure": "records",
    "Preference": "records",
    "PreferenceLabeler": "labeling.preference",
    "Ranker": "labeling.ranking",
    "Ranking": "records",
    "Response": "records",
    "Sample": "records",
    "Score": "records",
    "Scorer": "labeling.score",
    "ScriptedLLM": "llm.scripted",
    "Turn": "records",
    "ask_again": "stages.repeat",
    "export": "stages.export",
    "judge_file": "stages.judge",
    "label_by_panel": "stages.panel",
    "open_llm": "llm.open",
    "pilot": "stages.pilot",
    "quote": "stages.quote",
}

__all__ = [
    "Comparison",
    "Failure",
    "Preference",
    "PreferenceLabeler",
    "Ranker",
    "Ranking",
    "Response",
    "Sample",
    "Score",
    "Scorer",
    "ScriptedLLM",
    "Turn",
    "ask_again",
    "export",
    "judge_file",
    "label_by_panel",
    "open_llm",
    "pilot",
    "quote",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlaif' has no attribute {name!r}")
    return getattr(import_module(f"rlaif.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
