"""The commands that judge and pass on judgements: label, score, rank, prompt, export."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.asked import Labelers, Model
from rlaif.cli.options import (
    DataFile,
    Exemplars,
    Format,
    FormatName,
    Map,
    PreambleName,
    Principles,
    Rationale,
    Reading,
    Run,
    Thinking,
    Words,
    columns,
    grouped,
)
from rlaif.cli.say import is_paid, print_table, resumable, say
from rlaif.errors import ConfigError

if TYPE_CHECKING:
    from rlaif.stages.judge import Judge, PairJudge, Summary

app = typer.Typer()


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif label pairs.jsonl --task helpfulness --out outputs/pairs\n\n"
    "rlaif label test.jsonl.gz --format hh-rlhf --task harmlessness --sample 200 --out outputs/hh\n\n"
    "rlaif label pairs.jsonl --task helpfulness --llm openai:gpt-4.1-mini --limit 200 --out outputs/try\n\n"
    "rlaif label pairs.jsonl --task helpfulness --llm openai:gpt-4.1-mini --llm openai:gpt-4o --out outputs/panel\n\n"
    "rlaif label pairs.jsonl --constitution harmless --principles-per-label 2 --out outputs/principled\n\n"
    "rlaif label data.csv --map query=prompt response_1=a response_2=b human_preference=label "
    "--task helpfulness --llm transformers:path/to/model --exemplars 2 --out outputs/mine"
)
@grouped
def label(
    run: Run,
    labelers: Labelers,
    thinking: Thinking,
    reading: Reading,
    principles: Principles,
    format: Format = FormatName.auto,
    preamble: PreambleName = "detailed",
    one_order: Annotated[bool, typer.Option("--one-order", help="Ask one order only, drawn by the seed.")] = False,
    allow_one_order: Annotated[
        bool, typer.Option("--allow-one-order", help="Keep a label whose other order failed.")
    ] = False,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, help="Ask a tenth of the items so often in all: how far do labels move?")
    ] = 1,
) -> None:
    """Give soft preference labels to comparisons: P(response 1 preferred), in both orders.

    By the prompts of a task, or by a constitution: each label by a comparison principle of its own, drawn by the seed.
    With --llm more than once a panel labels: the mean is kept, and each one's own.
    """
    settings = asdict(thinking) | asdict(reading) | principles.settings(run.named_task, preamble)
    settings |= {"orders": "one" if one_order else "both", "allow_one_order": allow_one_order}
    model = labelers.for_constitution(principles.constitution is not None)
    opened = _labelers(run, model, principles.constitution, settings)
    if len(opened) > 1:
        if repeat > 1:
            raise ConfigError("--repeat asks one labeler again; leave it out, or name one --llm")
        _judge_by_panel(opened, run, format)
        return
    _judge(opened[0], run, format)
    if repeat > 1:
        from rlaif.stages.repeat import ask_again

        with resumable():
            found = ask_again(opened[0], run.out, repeat, ledger=run.ledger_file)
        if found is not None:
            typer.echo(
                f"asked {repeat} times: the same side {found.same_side}, n = {found.same_side.n:,} repetitions; "
                f"the label moves by {found.difference:.4f} on average"
            )


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif score responses.jsonl --task helpfulness --out outputs/scores\n\n"
    "rlaif score pairs.parquet --task harmlessness --llm transformers:path/to/model --limit 100 --out outputs/try\n\n"
    "rlaif score responses.jsonl --reward-model outputs/reward/model --out outputs/rewards"
)
@grouped
def score(
    run: Run,
    model: Model,
    thinking: Thinking,
    reading: Reading,
    format: Format = FormatName.auto,
    reward_model: Annotated[
        str | None, typer.Option("--reward-model", help="Score with this model folder; no labeler is asked.")
    ] = None,
) -> None:
    """Give expected scores from 1 to 10 to responses (or to both responses of comparisons).

    With --reward-model the scores are that model's: any number, mean 0 and variance 1 on what it was normalised on.
    """
    from rlaif.labeling.score import Scorer

    if reward_model is not None:
        _score_by_reward_model(reward_model, run, format)
        return

    _judge(Scorer(run.task, model.open(run.task, run.ledger_file), **asdict(thinking), **asdict(reading)), run, format)


@app.command(
    epilog="[bold]Example[/bold]\n\nrlaif rank samples.jsonl --task helpfulness --mode tournament --out outputs/ranks"
)
@grouped
def rank(
    run: Run,
    model: Model,
    reading: Reading,
    mode: Annotated[
        str, typer.Option("--mode", help="all-pairs, or tournament (fewer comparisons, no scores).")
    ] = "all-pairs",
    preamble: PreambleName = "detailed",
    exemplars: Exemplars = 0,
    rationale: Rationale = False,
) -> None:
    """Rank the 2 to 9 responses of each query (fields query, responses) by pairwise preferences."""
    from rlaif.labeling.ranking import Ranker

    settings = asdict(reading) | {"preamble": preamble, "exemplars": exemplars, "rationale": rationale}
    _judge(Ranker(run.task, model.open(run.task, run.ledger_file), mode=mode, **settings), run)  # type: ignore[arg-type]


@app.command(epilog="[bold]Example[/bold]\n\nrlaif prompt harmlessness pairs.jsonl --exemplars 2 --show 3")
def prompt(
    task: Annotated[str, typer.Argument(help="A task's name or folder.")],
    data: DataFile,
    more: Words = None,
    show: Annotated[int, typer.Option("--show", min=1, help="How many rows to render.")] = 1,
    as_score: Annotated[
        bool, typer.Option("--score", help="The prompt that scores, not the one that compares.")
    ] = False,
    format: Format = FormatName.auto,
    map: Map = None,
    preamble: PreambleName = "detailed",
    exemplars: Exemplars = 0,
    rationale: Rationale = False,
) -> None:
    """Print rendered prompts, so that one can read what the model reads. No model is loaded."""
    from rlaif.stages.show import rendered_prompts

    asked = rendered_prompts(
        task, data, show, as_score, format.value, columns(map, more), preamble, exemplars, rationale
    )
    for heading, text in asked:
        say.rule(heading)
        typer.echo(text)


@app.command(
    epilog="[bold]Examples[/bold]\n\nrlaif export outputs/hh hh-trl.jsonl --as trl\n\n"
    "rlaif export outputs/hh hh.parquet\n\nrlaif export outputs/hh hh-dataset"
)
def export(
    source: Annotated[Path, typer.Argument(help="A run folder, or a file of records.")],
    out: Annotated[Path, typer.Argument(help=".jsonl, .csv, .parquet; without a suffix a folder for datasets.")],
    shape: Annotated[str, typer.Option("--as", help="records, or trl (prompt, chosen, rejected).")] = "records",
    margin: Annotated[str | None, typer.Option("--margin", help="Copy this column to TRL's margin.")] = None,
) -> None:
    """Write records in the form that other libraries read."""
    from rlaif.stages.export import export as run

    if shape not in ("records", "trl"):
        raise ConfigError(f"--as {shape}: known are records and trl")
    done = run(source, out, shape, margin)  # type: ignore[arg-type]
    ties = f"; {done.ties:,} ties dropped" if shape == "trl" else ""
    typer.echo(f"{done.path}: {done.rows:,} rows{ties}")


def _labelers(run: Run, model: Model, constitution: str | None, settings: dict[str, Any]) -> list["PairJudge"]:
    if constitution is None:
        from rlaif.labeling.preference import PreferenceLabeler

        return [PreferenceLabeler(run.task, llm, **settings) for llm in model.open_each(run.task, run.ledger_file)]
    from rlaif.constitution.compare import PrincipleLabeler
    from rlaif.constitution.files import load_constitution

    # Before any model is loaded: a wrong word costs no second.
    loaded = load_constitution(constitution)
    return [PrincipleLabeler(loaded, llm, **settings) for llm in model.open_each(None, run.ledger_file)]


def _judge(judge: "Judge", run: Run, format: FormatName = FormatName.auto) -> None:
    from rlaif.stages.judge import judge_file

    with resumable():
        summary = judge_file(judge, run.data, run.out, **_options(run, format))
    print_summary(summary, judge.llm.name)
    if summary.count == 0 and summary.failures:
        raise typer.Exit(1)


def _score_by_reward_model(reward_model: str, run: Run, format: FormatName) -> None:
    from rlaif.stages.reward_scores import score_by_reward_model

    if run.named_task is not None:
        raise ConfigError("--task is a labeler's; a reward model has none, so leave --task or --reward-model out")
    options = {name: value for name, value in _options(run, format).items() if name not in ("ledger", "retry_failures")}
    with resumable():
        done = score_by_reward_model(reward_model, run.data, run.out, **options)
    failures = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.failures.items())) or "no failures"
    typer.echo(f"{done.records}: {done.count:,} of {done.index.selected:,} rows ({failures}); {done.seconds:.1f} s")
    if done.shortened:
        typer.echo(f"{done.shortened:,} queries were too long and lost tokens from their left")


def _judge_by_panel(labelers: list["PairJudge"], run: Run, format: FormatName) -> None:
    from rlaif.stages.panel import label_by_panel

    with resumable():
        panel = label_by_panel(labelers, run.data, run.out, **_options(run, format))
    for name, summary in panel.members.items():
        print_summary(summary, name)
    failures = ", ".join(f"{count:,} {kind}" for kind, count in sorted(panel.failures.items())) or "no failures"
    typer.echo(f"{panel.records}: the mean of {len(labelers)} labelers, {panel.count:,} rows ({failures})")
    rows = [
        [f"{one} and {other}", str(found.same_side), f"{found.same_side.n:,}", f"{found.difference:.3f}"]
        for one, other, found in panel.pairs
    ]
    print_table(["agreement", "same side", "n", "mean difference"], rows)
    if panel.count == 0 and panel.failures:
        raise typer.Exit(1)


def _options(run: Run, format: FormatName) -> dict[str, Any]:
    return run.options | {"format": format.value}


def print_summary(summary: "Summary", llm: str) -> None:
    """Say what a run came to.

    Args:
        summary: of `judge_file`.
        llm: who was asked.
    """
    index, totals = summary.index, summary.totals
    failures = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.failures.items())) or "no failures"
    typer.echo(f"{summary.records}: {summary.count:,} of {index.selected:,} rows ({failures})")
    if summary.failures:
        typer.echo(f"{summary.out / 'failures.jsonl'}: why, row by row")
    if index.duplicates:
        typer.echo(f"{index.duplicates:,} rows are the same as an earlier one and were read once")
    spent = totals.usage.cost_usd
    cost = f", ${spent:,.4f}" if spent is not None else ", price not known" if is_paid(llm) and totals.asked else ""
    billed = f", {totals.usage.possibly_billed:,} tries possibly billed" if totals.usage.possibly_billed else ""
    typer.echo(
        f"asked {totals.asked:,} now ({totals.tokens:,} tokens{cost}{billed}), {totals.from_ledger:,} from the ledger, "
        f"{index.done_before:,} rows were done before; {summary.seconds:.1f} s"
    )
