"""`rlaif evaluate …` and `rlaif report`: how good labels are, as a table and as a report to read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.options import Format, FormatName, column_words, grouped, reporting
from rlaif.cli.say import print_table, say, working
from rlaif.errors import ConfigError

if TYPE_CHECKING:
    from rlaif.evaluation.report import Cell, Report

app = typer.Typer(no_args_is_help=True, help="Say how good labels and policies are, and how sure that is.")
report_app = typer.Typer()


class TiesName(StrEnum):
    """What is done with ties."""

    drop = "drop"
    half = "half"
    class_ = "class"


class UnreadableName(StrEnum):
    """What is done with unreadable verdicts."""

    drop = "drop"
    error = "error"
    tie = "tie"


Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE... [FIELD=COLUMN]...", help="Run folders, or files of labels; pairs for --map."),
]


@dataclass(frozen=True, slots=True)
class Policies:
    """What counts, and how sure it is."""

    ties: Annotated[
        TiesName,
        typer.Option("--ties", help="People undecided: drop it; half: count .5 where either is; class: a verdict."),
    ] = TiesName.drop
    unreadable: Annotated[
        UnreadableName, typer.Option("--unreadable", help="Verdicts that could not be read: drop, error, or tie.")
    ] = UnreadableName.drop
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Slice agreement by this column; again for more columns.")
    ] = None
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="The column of rows that belong together; the query by default.")
    ] = None
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Resamples behind each interval.")] = 2000
    resample_seed: Annotated[int, typer.Option("--resample-seed", help="Of resampling.")] = 0


@dataclass(frozen=True, slots=True)
class People:
    """Where people's labels are, if not beside the labeler's."""

    people: Annotated[
        str | None, typer.Option("--people", help="A file with id and human_preference or annotations.")
    ] = None
    people_format: Annotated[
        FormatName, typer.Option("--people-format", help="Whose convention that file follows.")
    ] = FormatName.auto
    people_map: Annotated[
        list[str] | None,
        typer.Option("--people-map", metavar="FIELD=COLUMN|FILE.yaml", help="Its columns; again for each pair."),
    ] = field(default=None)


Out = Annotated[Path, typer.Option("--out", help="The folder for report.json, report.md and report.html.")]


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif evaluate alignment outputs/pairs --out outputs/pairs\n\n"
    "rlaif evaluate alignment outputs/small outputs/large --people people.jsonl --by topic --out outputs/report\n\n"
    "rlaif evaluate alignment verdicts.json.gz --map id=idx verdict=gpt_result --people testset.json.gz "
    "--ties class --unreadable tie --out outputs/theirs\n\n"
    "rlaif evaluate alignment judged.jsonl --map completion_12=first completion_21=swapped --out outputs/read"
)
@grouped
@reporting
def alignment(
    sources: Sources,
    people: People,
    policies: Policies,
    out: Out,
    map: Annotated[
        str | None, typer.Option("--map", metavar="FIELD=COLUMN...|FILE.yaml", help="Which column holds which field.")
    ] = None,
    format: Format = FormatName.auto,
    verdict_pattern: Annotated[
        str | None, typer.Option("--verdict-pattern", help="Regular expression; its group is the verdict in a text.")
    ] = None,
) -> None:
    """Agreement of labelers with people, biases, calibration, where they fail, and how sure all that is.

    SOURCE is a run folder of rlaif label, or anybody's file with preference, verdict (or verdict_12 and verdict_21), or
    completion (or completion_12 and completion_21) of which the verdict is read; a column labeler tells several apart.
    """
    from rlaif.stages.evaluate import evaluate_alignment

    files = [word for word in sources if "=" not in word]
    words = [word for word in sources if "=" in word]
    if not files:
        raise ConfigError("name at least one run folder or file of labels")
    with working("reading and resampling"):
        found = evaluate_alignment(
            files,
            people=people.people,
            format=format.value,
            columns=column_words(map, words),
            people_format=people.people_format.value,
            people_columns=column_words(None, people.people_map),
            verdict_pattern=verdict_pattern,
            **_settings(policies),
        )
    show(found, out)


@report_app.command(
    epilog="[bold]Examples[/bold]\n\nrlaif report outputs/pairs\n\n"
    "rlaif report outputs/small outputs/large --out outputs/both\n\n"
    "rlaif report outputs/direct"
)
@grouped
@reporting
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders of rlaif label; or one of train ppo.")
    ],
    policies: Policies,
    people: People,
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder for the report; a single run's own by default.")
    ] = None,
) -> None:
    """Render a run of rlaif label as a page to read, or compare several on the same items; or a training by PPO."""
    from rlaif.stages.evaluate import evaluate_alignment
    from rlaif.stages.labels import is_run
    from rlaif.stages.training_report import is_online_run, read_training

    for run in runs:
        if not is_run(run):
            raise ConfigError(f"{run}: is no run folder; rlaif evaluate alignment reads files")
        if is_online_run(run) and len(runs) > 1:
            raise ConfigError(f"{run}: is a training, which has a report of its own; name it alone")
    if is_online_run(runs[0]):
        show(read_training(runs[0]), out or runs[0])
        return
    if out is None and len(runs) > 1:
        raise ConfigError("several runs make a report of their own: say where with --out")
    with working("reading and resampling"):
        found = evaluate_alignment(
            runs,
            people=people.people,
            people_format=people.people_format.value,
            people_columns=column_words(None, people.people_map),
            **_settings(policies),
        )
    show(found, out or runs[0])


def _settings(policies: Policies) -> dict[str, Any]:
    return {
        "ties": policies.ties.value,
        "unreadable": policies.unreadable.value,
        "by": policies.by or [],
        "cluster": policies.cluster,
        "resamples": policies.resamples,
        "seed": policies.resample_seed,
    }


def show(report: "Report", out: Path) -> None:
    """Print the headline figures, write the report, and say where it is.

    Args:
        report: what was found.
        out: the folder.
    """
    from rlaif.evaluation.writing import write_report

    write_report(report, out)
    columns, rows = report.sections[0].shown
    print_table(columns, [_in_terminal(row) for row in rows])
    for name, text in report.about.items():
        say.print(f"{name}: {text}", markup=False)
    typer.echo(f"{out / 'report.html'} to read; report.md and report.json beside it")


def _in_terminal(cells: "Sequence[Cell]") -> list[str]:
    """A row in little room: the first figure with its interval and number of items, the others alone."""
    from rlaif.evaluation.writing import cell_text
    from rlaif.statistics.intervals import Estimate

    first = next((place for place, cell in enumerate(cells) if isinstance(cell, Estimate)), -1)
    return [
        cell_text(cell.value if isinstance(cell, Estimate) and place != first else cell)
        for place, cell in enumerate(cells)
    ]
