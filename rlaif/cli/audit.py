"""`rlaif audit`: people check a labeler."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.options import Format, FormatName, Map, columns
from rlaif.cli.say import print_table, say
from rlaif.errors import ConfigError

if TYPE_CHECKING:
    from rlaif.stages.collect import Collected
    from rlaif.stages.sheets import Sheets

app = typer.Typer(
    no_args_is_help=True,
    help="Let people check a labeler: which pairs, on blind sheets, and what their answers say.",
)


class KindName(StrEnum):
    """What people are asked."""

    preference = "preference"
    win_rate = "win-rate"
    harmless = "harmless"


@app.command(
    "plan",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif audit plan outputs/labels --within .05 --out outputs/audit\n\n"
    "rlaif audit plan labels.jsonl --within .03 --expect .7 --seed 1 --out outputs/audit",
)
def plan(
    source: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder of rlaif label, or a file with id and preference.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder for plan.jsonl and plan.json.")],
    within: Annotated[float, typer.Option("--within", help="Half the width of the 95 % interval.")] = 0.05,
    expect: Annotated[
        float, typer.Option("--expect", help="Count on this agreement at most, however sure the labeler is.")
    ] = 0.8,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn; the order of rows does not matter.")] = 0,
) -> None:
    """How many and which pairs should people label, to know how far they agree with the labeler?

    More of those on which the labeler is unsure; how likely each was drawn is made good for by `collect`.
    """
    from rlaif.stages.audit import plan_audit

    done = plan_audit(source, out, within=within, expect=expect, seed=seed)
    rows = [[one.name, f"{one.pairs:,}", f"{one.to_label:,}", f"{one.expected:.3f}"] for one in done.strata]
    rows.append(["all", f"{done.pairs:,}", f"{done.to_label:,}", f"{done.expected:.3f}"])
    print_table(["stratum", "pairs", "to label", "expected agreement"], rows)
    if done.failed:
        typer.echo(f"{done.failed:,} items have no label and are not in the plan")
    if done.claimed - done.expected > 0.0005:
        typer.echo(f"the labeler itself expects {done.claimed:.3f}; planned with {done.expected:.3f} (--expect)")
    if done.to_label == done.pairs:
        typer.echo(f"people label all {done.pairs:,}: fewer would not tell the agreement to ± {within:g}")
    else:
        typer.echo(
            f"{done.to_label:,} pairs tell the agreement to ± {done.half_width:.3f} (95 %), if it is as expected; "
            f"a simple random sample would need {done.simple:,}"
            + ("" if done.simple > done.to_label else ": strata save nothing here")
        )
    if not done.has_texts:
        say.print("the labels hold no texts: sheets need query, response_1 and response_2", markup=False)
    typer.echo(f"{done.path}: what people should label")


@app.command(
    "sheet",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif audit sheet outputs/audit --annotators 3\n\n"
    "rlaif audit sheet a/samples.jsonl b/samples.jsonl --kind win-rate --out outputs/versus\n\n"
    "rlaif audit sheet samples.jsonl --kind harmless --annotators 2 --out outputs/harm\n\n"
    "rlaif audit sheet data.csv --map query=prompt response_1=a response_2=b --out outputs/people",
)
def sheet(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A plan's folder, or a file of pairs, samples or responses.")
    ],
    more: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OTHER] [FIELD=COLUMN]...",
            help="The other policy's samples (win-rate); more pairs for --map.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[KindName, typer.Option("--kind", help="What people are asked.")] = KindName.preference,
    annotators: Annotated[int, typer.Option("--annotators", min=1, help="How many sheets.")] = 3,
    out: Annotated[Path | None, typer.Option("--out", help="The folder for the sheets; the plan's own.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of orders and item numbers.")] = 0,
    format: Format = FormatName.auto,
    map: Map = None,
) -> None:
    """Write a blind sheet (CSV) for each annotator, for a spreadsheet.

    Rows and responses are in an order of each annotator's own; key.jsonl knows which, and stays with you. A text
    that a spreadsheet would take for a formula has an apostrophe before it.
    """
    from rlaif.stages.sheets import PLAN, write_sheets

    words = list(more or [])
    other = words.pop(0) if words and (map is None or "=" not in words[0]) else None
    if out is None:
        if not (source / PLAN).is_file():
            raise ConfigError("--out is missing: where do the sheets go?")
        out = source
    done = write_sheets(
        source,
        out,
        kind.value,
        other=Path(other) if other is not None else None,
        annotators=annotators,
        seed=seed,
        format=format.value,
        columns=columns(map, words),
    )
    _print_sheets(done, kind)


def _print_sheets(done: "Sheets", kind: KindName) -> None:
    for path in done.paths:
        typer.echo(f"{path}: {done.items:,} items")
    typer.echo(f"{done.key}: ids, order and models; nobody who answers should see it")
    for reason, count in done.rejected.most_common():
        typer.echo(f"rejected {count:,}: {reason}")
    if kind is KindName.win_rate and any("identical" in reason for reason in done.rejected):
        typer.echo("identical responses are not in the sheets: a win rate over all queries counts them as ties")
    if done.duplicates:
        typer.echo(f"{done.duplicates:,} rows are the same as an earlier one and were read once")
    if any(done.unmatched):
        one, other = done.unmatched
        typer.echo(f"left out: {one:,} rows whose id only the first file has, {other:,} only the second")
    if done.long:
        typer.echo(f"{done.long:,} items have a text that is too long for a cell of Excel; use LibreOffice")


@app.command(
    "collect",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif audit collect outputs/audit\n\n"
    "rlaif audit collect outputs/audit back/anna.csv back/ben.csv",
)
def collect(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the sheets were written, with key.jsonl.")],
    sheets: Annotated[
        list[Path] | None, typer.Argument(help="The filled sheets; all of the folder's if none is named.")
    ] = None,
) -> None:
    """Read filled sheets back: what people prefer, how far they agree, and how far the labeler agrees with them.

    people.jsonl is what `rlaif evaluate … --people` takes. Sheets may be separated by comma, semicolon or tab.
    """
    from rlaif.stages.collect import collect as run

    done = run(folder, sheets or ())
    rows = [[one.name, f"{one.answered:,}", f"{one.items - one.answered:,}"] for one in done.annotators]
    print_table(["sheet", "answered", "unanswered"], rows)
    between = [
        [f"{one} and {other}", str(found.same_side), f"{found.same_side.n:,}"] for one, other, found in done.pairs
    ]
    if between:
        print_table(["annotators", "agree", "n"], between)
    _print_people(done)
    _print_labeler(done)
    typer.echo(f"{done.path}: {done.items:,} items answered by people")


def _print_people(done: "Collected") -> None:
    if done.kind != "harmless":
        typer.echo(f"what was shown first is chosen: {done.first}, n = {done.first.n:,} ({done.ties:,} ties apart)")
    typer.echo(f"{done.undecided:,} of {done.items:,} items are undecided (a tie, or no majority)")


def _print_labeler(done: "Collected") -> None:
    if done.labeler is None:
        return
    rows = [
        [one.name, f"{one.pairs:,}", f"{one.planned:,}", f"{one.agreement.n:,}", str(one.agreement)]
        for one in done.strata
    ]
    print_table(["stratum", "pairs", "planned", "answered", "labeler agrees"], rows)
    covered = [one for one in done.strata if one.agreement.n]
    pairs = sum(one.pairs for one in covered)
    typer.echo(
        f"the labeler agrees with people: {done.labeler}, n = {done.labeler.n:,}, over {pairs:,} pairs by strata; "
        "an item that people leave undecided counts half"
    )
    if unanswered := [one for one in done.strata if not one.agreement.n]:
        names = ", ".join(f"{one.name} ({one.pairs:,} pairs)" for one in unanswered)
        say.print(f"warning: without an answer, and so not in this estimate: {names}", markup=False)
