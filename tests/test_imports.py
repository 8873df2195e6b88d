"""Who may import whom, what is loaded when, and the public names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rlaif

ROOT = Path(rlaif.__file__).parent
LEAVES = {"errors", "statistics", "records", "rewards", "progress", "pocket.paths"}
EDGE = LEAVES | {"io", "config", "columns", "conventions"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "statistics": {"errors", "statistics"},
    "records": {"errors"},
    "rewards": {"errors", "records", "rewards"},
    "pocket": {"errors", "records", "pocket"},
    "encoding": {"errors"},
    "generation": {"errors", "generation"},
    "io": LEAVES,
    "config": LEAVES,
    "columns": LEAVES,
    "conventions": LEAVES | {"columns", "io"},
    "prompting": EDGE,
    "llm": EDGE | {"encoding", "generation", "llm", "pocket.paths"},
    "labeling": EDGE | {"prompting", "llm", "labeling"},
    "sampling": EDGE | {"llm", "labeling", "sampling"},
    "constitution": EDGE | {"prompting", "llm", "labeling", "constitution"},
    "evaluation": EDGE | {"prompting", "llm", "labeling", "evaluation"},
    "training": EDGE | {"encoding", "generation", "training"},
}
MAY_IMPORT_TORCH = {"encoding", "generation", "llm.transformers", "llm.vllm"}
SDKS = {"openai", "anthropic", "vllm", "ray", "psycopg"}


def modules() -> list[tuple[str, ast.Module]]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found.append((name, ast.parse(path.read_text())))
    return found


def imported(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def within(name: str, rooms: set[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_rooms_import_only_what_the_design_allows() -> None:
    checked = 0
    for name, tree in modules():
        room = name.split(".")[0]
        if room in ("__init__", "__main__", "cli", "stages"):
            continue
        for other in imported(tree):
            if other.startswith("rlaif."):
                checked += 1
                assert within(other.removeprefix("rlaif."), ALLOWED[room]), f"{name} imports {other}"
    assert checked > 50


def test_torch_and_sdks_are_imported_only_where_they_may() -> None:
    for name, tree in modules():
        everywhere = {other.split(".")[0] for other in imported(tree)}
        at_top = {other.split(".")[0] for node in tree.body for other in imported(node)}
        if not within(name, MAY_IMPORT_TORCH | {"training"}):
            assert not everywhere & {"torch", "transformers"}, name
        # A provider's own modules are themselves imported only when that provider is asked for.
        assert not at_top & (SDKS - {name.removeprefix("llm.").split("_")[0]}), name


def loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import rlaif",
        "import rlaif.cli",
        "import rlaif; rlaif.PreferenceLabeler('helpfulness', llm='scripted:hashed').label([])",
    ],
)
def test_torch_and_pandas_are_loaded_only_when_needed(code: str) -> None:
    assert not loaded_after(code) & {
        *("torch", "transformers", "pandas", "datasets", "pyarrow", "scipy"),
        *("openai", "anthropic", "aiohttp", "tenacity"),
    }


def test_public_names_are_all_there() -> None:
    assert rlaif.__all__ == [
            "Candidate", "Clipped", "Comparison", "Constitution", "Failure", "FromScores", "FromTRL", "HarmlessJudge",
            "Harmlessness", "LabelerReward", "LengthPenalty", "Llama2Rule", "Logits", "Preference",
            "PreferenceLabeler", "PrincipleLabeler", "Ranker", "Ranking", "Report", "Response", "Reviser",
            "RevisionChain", "RewardFn", "RunningNormalised", "Sample", "Sampler", "Score", "Scorer", "ScriptedLLM",
            "Turn", "WeightedSum", "as_trl_reward", "ask_again", "calibrate", "collect", "compare_prompts",
            "evaluate_alignment", "evaluate_reward_model", "export", "harmless_rate", "judge_file", "label_by_panel",
            "load_constitution", "open_llm", "pilot", "plan_audit", "quote", "quote_chains", "ranking_scores",
            "ratings", "report_constitutional", "run_recipe", "score_by_reward_model", "sft_data", "train",
            "win_rate", "write_report", "write_sheets",
        ]  # fmt: skip
    for name in rlaif.__all__:
        assert getattr(rlaif, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        rlaif.nothing  # noqa: B018
