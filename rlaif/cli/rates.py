"""`rlaif evaluate win-rate`, `harmless-rate` and `ratings`: how good policies are."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.cli.asked import Model
from rlaif.cli.options import (
    Format,
    FormatName,
    Ledger,
    PreambleName,
    Reading,
    Thinking,
    column_words,
    grouped,
    reporting,
)
from rlaif.cli.say import resumable
from rlaif.errors import ConfigError

app = typer.Typer()


class TiesName(StrEnum):
    """What a tie counts."""

    half = "half"
    drop = "drop"


class FailuresName(StrEnum):
    """What a pair counts that could not be judged."""

    drop = "drop"
    half = "half"
    loss = "loss"


class HarmlessFailuresName(StrEnum):
    """What a response counts that could not be judged."""

    drop = "drop"
    harmful = "harmful"


@dataclass(frozen=True, slots=True)
class Sources:
    """What is evaluated, and where the report goes."""

    out: Annotated[
        Path, typer.Option("--out", help="The folder for report.json, report.md and report.html, and for labels.")
    ]
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]... [FIELD=COLUMN]...", help="Run folders or files; pairs for --map."),
    ] = None
    people: Annotated[
        Path | None, typer.Option("--people", help="What people said: people.jsonl of rlaif audit collect.")
    ] = None
    map: Annotated[
        str | None, typer.Option("--map", metavar="FIELD=COLUMN...|FILE.yaml", help="Which column holds which field.")
    ] = None
    format: Format = field(default=FormatName.auto)

    @property
    def files(self) -> list[Path]:
        """The words that are no pairs."""
        return [Path(word) for word in self.sources or () if "=" not in word]

    @property
    def settings(self) -> dict[str, Any]:
        """What every stage takes."""
        words = [word for word in self.sources or () if "=" in word]
        return {"people": self.people, "format": self.format.value, "columns": column_words(self.map, words)}


Task = Annotated[
    str | None,
    typer.Option("--task", help="Let --llm judge now, by this task: summarization, helpfulness, …, or a task folder."),
]
Resamples = Annotated[int, typer.Option("--resamples", min=100, help="Resamples behind each interval.")]
Ties = Annotated[TiesName, typer.Option("--ties", help="A tie is half a win, or dropped.")]


@app.command(
    "win-rate",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif evaluate win-rate rl.jsonl sft.jsonl --task helpfulness --llm openai:gpt-4.1-mini --out outputs/wins\n\n"
    "rlaif evaluate win-rate outputs/pairs --baseline sft --failures loss --out outputs/wins\n\n"
    "rlaif evaluate win-rate --people outputs/audit/people.jsonl --out outputs/by-people",
)
@grouped
@reporting
def win_rate(
    sources: Sources,
    model: Model,
    thinking: Thinking,
    reading: Reading,
    task: Task = None,
    policy: Annotated[str | None, typer.Option("--policy", help="The model whose wins are counted.")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="The model it is compared with.")] = None,
    ties: Ties = TiesName.half,
    failures: Annotated[
        FailuresName, typer.Option("--failures", help="What could not be judged: drop, half a win, or a loss.")
    ] = FailuresName.drop,
    preamble: PreambleName = "detailed",
    ledger: Ledger = None,
    resamples: Resamples = 2000,
) -> None:
    """How often one policy's responses are preferred to another's, also in both orders and at equal lengths.

    SOURCE is a run folder of rlaif label or a file of labels, with model_1 and model_2; or two files of samples with
    --task, which are joined by id, and of which the first responses are judged now.
    """
    from rlaif.cli.evaluate import show
    from rlaif.stages.rates import win_rate as run

    settings = sources.settings | {"ties": ties.value, "failures": failures.value, "resamples": resamples}
    settings |= {"policy": policy, "baseline": baseline, "seed": reading.seed}
    if task is not None:
        from rlaif.labeling.preference import PreferenceLabeler

        if len(sources.files) != 2:
            raise ConfigError(f"--task judges two files of samples, and {len(sources.files)} are named")
        ledger = ledger or sources.out.parent / "ledger.sqlite"
        how = asdict(thinking) | asdict(reading) | {"preamble": preamble}
        settings["labeler"] = PreferenceLabeler(task, model.open(task, ledger), **how)
        settings |= {"out": sources.out, "ledger": ledger}
    with resumable():
        show(run(sources.files, **settings), sources.out)


@app.command(
    "harmless-rate",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif evaluate harmless-rate rl.jsonl sft.jsonl --task harmlessness --llm openai:gpt-4.1-mini "
    "--out outputs/harmless\n\n"
    "rlaif evaluate harmless-rate outputs/harmless/labels --threshold 0.8 --out outputs/strict\n\n"
    "rlaif evaluate harmless-rate --people outputs/audit/people.jsonl --out outputs/by-people",
)
@grouped
@reporting
def harmless_rate(
    sources: Sources,
    model: Model,
    reading: Reading,
    task: Task = None,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, max=1, help="P(yes) from which a response counts as harmless.")
    ] = 0.5,
    failures: Annotated[
        HarmlessFailuresName, typer.Option("--failures", help="What could not be judged: drop, or harmful.")
    ] = HarmlessFailuresName.drop,
    ledger: Ledger = None,
    resamples: Resamples = 2000,
) -> None:
    """How many responses are harmless, one by one.

    SOURCE is a run folder or a file with harmless; or, with --task, files of samples or responses, one a policy, which
    are judged now.
    """
    from rlaif.cli.evaluate import show
    from rlaif.stages.rates import harmless_rate as run

    settings = sources.settings | {"threshold": threshold, "failures": failures.value, "resamples": resamples}
    settings["seed"] = reading.seed
    if task is not None:
        from rlaif.labeling.harmlessness import HarmlessJudge

        ledger = ledger or sources.out.parent / "ledger.sqlite"
        settings["judge"] = HarmlessJudge(task, model.open(task, ledger), **asdict(reading))
        settings |= {"out": sources.out, "ledger": ledger}
    with resumable():
        show(run(sources.files, **settings), sources.out)


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif evaluate ratings outputs/tournament --out outputs/ratings\n\n"
    "rlaif evaluate ratings matches.csv --map model_1=a model_2=b preference=a_won --ties drop --out outputs/ratings"
)
@grouped
@reporting
def ratings(
    sources: Sources,
    ties: Ties = TiesName.half,
    seed: Annotated[int, typer.Option("--seed", help="Of resamples and of the orders of matches.")] = 0,
    resamples: Resamples = 1000,
) -> None:
    """Elo and Bradley-Terry ratings of many models, from who won against whom (model_1, model_2, preference)."""
    from rlaif.cli.evaluate import show
    from rlaif.stages.rates import ratings as run

    show(run(sources.files, **sources.settings, ties=ties.value, seed=seed, resamples=resamples), sources.out)
