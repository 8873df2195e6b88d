"""AI feedback: labeling with an LLM, and training on it.

The public names load what they need when they are first used; `import rlaif` itself loads neither torch nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlaif.constitution.compare import PrincipleLabeler
    from rlaif.constitution.files import load_constitution
    from rlaif.constitution.principles import Constitution
    from rlaif.constitution.revise import Reviser
    from rlaif.evaluation.ratings import ranking_scores
    from rlaif.evaluation.report import Report
    from rlaif.evaluation.writing import write_report
    from rlaif.labeling.harmlessness import HarmlessJudge
    from rlaif.labeling.preference import PreferenceLabeler
    from rlaif.labeling.ranking import Ranker
    from rlaif.labeling.score import Scorer
    from rlaif.llm.open import open_llm
    from rlaif.llm.scripted import ScriptedLLM
    from rlaif.records import (
        Comparison,
        Failure,
        Harmlessness,
        Preference,
        Ranking,
        Response,
        RevisionChain,
        Sample,
        Score,
        Turn,
    )
    from rlaif.rewards import (
        Candidate,
        Clipped,
        FromScores,
        FromTRL,
        LengthPenalty,
        Llama2Rule,
        Logits,
        RewardFn,
        RunningNormalised,
        WeightedSum,
    )
    from rlaif.sampling import Sampler
    from rlaif.stages.audit import plan_audit
    from rlaif.stages.calibrate import calibrate
    from rlaif.stages.chains import sft_data
    from rlaif.stages.collect import collect
    from rlaif.stages.compare_prompts import compare_prompts
    from rlaif.stages.constitutional_report import report_constitutional
    from rlaif.stages.evaluate import evaluate_alignment
    from rlaif.stages.export import export
    from rlaif.stages.judge import judge_file
    from rlaif.stages.panel import label_by_panel
    from rlaif.stages.pilot import pilot
    from rlaif.stages.quote import quote
    from rlaif.stages.quote_chains import quote_chains
    from rlaif.stages.rates import harmless_rate, ratings, win_rate
    from rlaif.stages.recipe import run_recipe
    from rlaif.stages.repeat import ask_again
    from rlaif.stages.reward import LabelerReward
    from rlaif.stages.reward_scores import score_by_reward_model
    from rlaif.stages.sheets import write_sheets
    from rlaif.stages.train import train
    from rlaif.training.trl_bridge import as_trl_reward

_HOMES = {
    "Candidate": "rewards",
    "Clipped": "rewards",
    "Comparison": "records",
    "Constitution": "constitution.principles",
    "Failure": "records",
    "FromScores": "rewards",
    "FromTRL": "rewards",
    "HarmlessJudge": "labeling.harmlessness",
    "Harmlessness": "records",
    "LabelerReward": "stages.reward",
    "LengthPenalty": "rewards",
    "Llama2Rule": "rewards",
    "Logits": "rewards",
    "Preference": "records",
    "PreferenceLabeler": "labeling.preference",
    "PrincipleLabeler": "constitution.compare",
    "Ranker": "labeling.ranking",
    "Ranking": "records",
    "Report": "evaluation.report",
    "Response": "records",
    "Reviser": "constitution.revise",
    "RevisionChain": "records",
    "RewardFn": "rewards",
    "RunningNormalised": "rewards",
    "Sample": "records",
    "Sampler": "sampling",
    "Score": "records",
    "Scorer": "labeling.score",
    "ScriptedLLM": "llm.scripted",
    "Turn": "records",
    "WeightedSum": "rewards",
    "as_trl_reward": "training.trl_bridge",
    "ask_again": "stages.repeat",
    "calibrate": "stages.calibrate",
    "collect": "stages.collect",
    "compare_prompts": "stages.compare_prompts",
    "evaluate_alignment": "stages.evaluate",
    "evaluate_reward_model": "stages.evaluate_reward_model",
    "export": "stages.export",
    "harmless_rate": "stages.rates",
    "judge_file": "stages.judge",
    "label_by_panel": "stages.panel",
    "load_constitution": "constitution.files",
    "open_llm": "llm.open",
    "pilot": "stages.pilot",
    "plan_audit": "stages.audit",
    "quote": "stages.quote",
    "quote_chains": "stages.quote_chains",
    "ranking_scores": "evaluation.ratings",
    "ratings": "stages.rates",
    "report_constitutional": "stages.constitutional_report",
    "run_recipe": "stages.recipe",
    "score_by_reward_model": "stages.reward_scores",
    "sft_data": "stages.chains",
    "train": "stages.train",
    "win_rate": "stages.rates",
    "write_report": "evaluation.writing",
    "write_sheets": "stages.sheets",
}

__all__ = [
    "Candidate",
    "Clipped",
    "Comparison",
    "Constitution",
    "Failure",
    "FromScores",
    "FromTRL",
    "HarmlessJudge",
    "Harmlessness",
    "LabelerReward",
    "LengthPenalty",
    "Llama2Rule",
    "Logits",
    "Preference",
    "PreferenceLabeler",
    "PrincipleLabeler",
    "Ranker",
    "Ranking",
    "Report",
    "Response",
    "Reviser",
    "RevisionChain",
    "RewardFn",
    "RunningNormalised",
    "Sample",
    "Sampler",
    "Score",
    "Scorer",
    "ScriptedLLM",
    "Turn",
    "WeightedSum",
    "as_trl_reward",
    "ask_again",
    "calibrate",
    "collect",
    "compare_prompts",
    "evaluate_alignment",
    "evaluate_reward_model",
    "export",
    "harmless_rate",
    "judge_file",
    "label_by_panel",
    "load_constitution",
    "open_llm",
    "pilot",
    "plan_audit",
    "quote",
    "quote_chains",
    "ranking_scores",
    "ratings",
    "report_constitutional",
    "run_recipe",
    "score_by_reward_model",
    "sft_data",
    "train",
    "win_rate",
    "write_report",
    "write_sheets",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlaif' has no attribute {name!r}")
    return getattr(import_module(f"rlaif.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
