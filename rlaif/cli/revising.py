"""`rlaif revise`: chains of critique and revision."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlaif.cli.asked import Reviewer
from rlaif.cli.judging import print_summary
from rlaif.cli.options import CONSTITUTION, Chain, Drawing, Exemplars, Rows, grouped
from rlaif.cli.say import print_table, resumable

app = typer.Typer()


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif revise outputs/samples --constitution harmless --llm pocket:reviser --out outputs/revised\n\n"
    "rlaif revise queries.jsonl --constitution mine.yaml --llm openai:gpt-4.1-mini --exemplars 3 --limit 20 "
    "--out outputs/try\n\n"
    "rlaif revise outputs/samples --constitution harmless --no-critique --out outputs/direct-revisions"
)
@grouped
def revise(
    rows: Rows,
    reviewer: Reviewer,
    drawing: Drawing,
    chain: Chain,
    constitution: Annotated[str, CONSTITUTION],
    revisions: Annotated[int, typer.Option("--revisions", min=1, help="Rounds, each with a principle drawn.")] = 4,
    exemplars: Exemplars = 0,
    principles: Annotated[
        int | None, typer.Option("--principles", min=1, help="Draw from the first N principles only.")
    ] = None,
    when_flagged: Annotated[
        str,
        typer.Option("--when-flagged", help="After a round without a revision: keep_last_good, end or fail."),
    ] = "keep_last_good",
) -> None:
    """Criticise and revise responses by a constitution, one principle a round; queries alone are answered first.

    FILE has queries, responses or samples, or is the folder of rlaif sample. Each round's principle is drawn by the
    seed and the item's id. What went wrong in a round (a critique that refuses, a revision that is empty, changes
    nothing, or only comments on the response) is flagged and counted.
    """
    from rlaif.constitution.files import load_constitution
    from rlaif.constitution.revise import Reviser
    from rlaif.stages.chains import count_rounds
    from rlaif.stages.judge import judge_file
    from rlaif.stages.labels import is_run, records_file

    loaded = load_constitution(constitution)
    loaded = loaded if principles is None else loaded.first(principles, "revision")
    reviser = Reviser(
        loaded,
        reviewer.open(None, rows.ledger_file),
        revisions=revisions,
        exemplars=exemplars,
        when_flagged=when_flagged,
        **asdict(chain),
        **asdict(drawing),
    )
    data = records_file(Path(rows.data)) if is_run(Path(rows.data)) else rows.data
    with resumable():
        summary = judge_file(reviser, data, rows.out, **rows.options)
    print_summary(summary, reviser.llm.name)
    if summary.count == 0 and summary.failures:
        raise typer.Exit(1)
    if summary.count:
        found = count_rounds(summary.records)
        typer.echo(
            f"{found.kept:,} of {found.rounds:,} rounds brought a revision; {found.unrevised:,} chains have none"
        )
        if found.sampled:
            typer.echo(
                f"{found.sampled:,} rows had no response, so {reviser.llm.name} answered them first "
                "(--map response=COLUMN names a column of responses)"
            )
        if found.cut_off:
            typer.echo(
                f"{found.cut_off:,} first responses were cut off at --max-tokens; their chains start from half a text"
            )
        if found.flags:
            print_table(["flag", "rounds"], [[flag, f"{count:,}"] for flag, count in found.flags.most_common()])
