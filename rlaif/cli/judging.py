"""The commands that judge and pass on judgements: label, score, rank, prompt, export."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.options import (
    DataFile,
    Exemplars,
    Format,
    FormatName,
    Map,
    Model,
    PreambleName,
    Rationale,
    Reading,
    Run,
    Thinking,
    Words,
    columns,
    grouped,
)
from rlaif.cli.say import say
from rlaif.errors import ConfigError

if TYPE_CHECKING:
    from rlaif.stages.judge import Judge, Summary

app = typer.Typer()


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif label pairs.jsonl --task helpfulness --out outputs/pairs\n\n"
    "rlaif label test.jsonl.gz --format hh-rlhf --task harmlessness --sample 200 --out outputs/hh\n\n"
    "rlaif label pairs.jsonl --task helpfulness --llm openai:gpt-4.1-mini --limit 200 --out outputs/try\n\n"
    "rlaif label data.csv --map query=prompt response_1=a response_2=b human_preference=label "
    "--task helpfulness --llm transformers:path/to/model --exemplars 2 --out outputs/mine"
)
@grouped
def label(
    run: Run,
    model: Model,
    thinking: Thinking,
    reading: Reading,
    format: Format = FormatName.auto,
    preamble: PreambleName = "detailed",
    one_order: Annotated[bool, typer.Option("--one-order", help="Ask one order only, drawn by the seed.")] = False,
    allow_one_order: Annotated[
        bool, typer.Option("--allow-one-order", help="Keep a label whose other order failed.")
    ] = False,
) -> None:
    """Give soft preference labels to comparisons: P(response 1 preferred), in both orders."""
    from rlaif.labeling.preference import PreferenceLabeler

    settings = asdict(thinking) | asdict(reading)
    settings |= {"preamble": preamble, "orders": "one" if one_order else "both", "allow_one_order": allow_one_order}
    _judge(PreferenceLabeler(run.task, model.open(run.task, run.ledger_file), **settings), run, format)


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif score responses.jsonl --task helpfulness --out outputs/scores\n\n"
    "rlaif score pairs.parquet --task harmlessness --llm transformers:path/to/model --limit 100 --out outputs/try"
)
@grouped
def score(run: Run, model: Model, thinking: Thinking, reading: Reading, format: Format = FormatName.auto) -> None:
    """Give expected scores from 1 to 10 to responses (or to both responses of comparisons)."""
    from rlaif.labeling.score import Scorer

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


def _judge(judge: "Judge", run: Run, format: FormatName = FormatName.auto) -> None:
    from rlaif.stages.judge import judge_file

    try:
        summary = judge_file(
            judge,
            run.data,
            run.out,
            format=format.value,
            columns=columns(run.map, run.more),
            limit=run.limit,
            sample=run.sample,
            ledger=run.ledger_file,
            strict=run.strict,
            retry_failures=run.kinds_to_retry,
        )
    except KeyboardInterrupt:
        command = shlex.join(["rlaif", *sys.argv[1:]])
        say.print(f"\nInterrupted; everything answered is kept. To go on:\n  {command}", markup=False)
        raise typer.Exit(130) from None
    _print_summary(summary, judge.llm.name)
    if summary.count == 0 and summary.failures:
        raise typer.Exit(1)


def _print_summary(summary: "Summary", llm: str) -> None:
    from rlaif.llm.catalog import catalog

    index, totals = summary.index, summary.totals
    failures = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.failures.items())) or "no failures"
    typer.echo(f"{summary.records}: {summary.count:,} of {index.selected:,} rows ({failures})")
    if summary.failures:
        typer.echo(f"{summary.out / 'failures.jsonl'}: why, row by row")
    if index.duplicates:
        typer.echo(f"{index.duplicates:,} rows are the same as an earlier one and were read once")
    is_paid, spent = llm.partition(":")[0] in catalog(), totals.usage.cost_usd
    cost = f", ${spent:,.4f}" if spent is not None else ", price not known" if is_paid and totals.asked else ""
    billed = f", {totals.usage.possibly_billed:,} tries possibly billed" if totals.usage.possibly_billed else ""
    typer.echo(
        f"asked {totals.asked:,} now ({totals.tokens:,} tokens{cost}{billed}), {totals.from_ledger:,} from the ledger, "
        f"{index.done_before:,} rows were done before; {summary.seconds:.1f} s"
    )
