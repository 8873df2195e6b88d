"""`rlaif calibrate`: how sure a labeler may be, learned from people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.say import print_table, say

if TYPE_CHECKING:
    from rlaif.stages.calibrate import Calibrated

app = typer.Typer()


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif calibrate outputs/hh\n\n"
    "rlaif calibrate outputs/pairs --people people.csv --method platt\n\n"
    "rlaif calibrate labels.jsonl --out outputs/calibrated.jsonl"
)
def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of label, or rows with id and preference.")],
    people: Annotated[
        Path | None,
        typer.Option("--people", help="Rows with id and human_preference, or annotations; without it those of RUN."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="platt, isotonic, or auto: the lower log loss on held-out items.")
    ] = "auto",
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts that items are held out in.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; calibrated.jsonl beside the labels.")
    ] = None,
) -> None:
    """Turn soft labels into probabilities that people's labels bear out, in a file of their own.

    Items that people labeled too (at least 30) teach how sure the labeler may be; every label is calibrated.
    """
    from rlaif.stages.calibrate import calibrate as run_stage

    found = run_stage(run, people, method=method, folds=folds, seed=seed, out=out)  # type: ignore[arg-type]
    measured = {"as labeled": found.before, **found.after}
    rows = [
        [
            f"{name} (written)" if name == (found.method if found.method != "identity" else "as labeled") else name,
            str(one.log_loss),
            str(one.brier),
            str(one.error),
            f"{found.n:,}",
        ]
        for name, one in measured.items()
    ]
    print_table(["held out", "log loss", "Brier score", "calibration error", "n"], rows)
    typer.echo(f"{found.path}: {found.labels:,} calibrated preferences ({found.method})")
    typer.echo(
        f"{found.report}: how they were made; {found.n:,} items of {found.clusters:,} queries, {found.folds} folds"
    )
    _remark(found)


def _remark(found: "Calibrated") -> None:
    """Say on standard error what one must not overlook."""
    from rlaif.stages.calibrate import FEW
    from rlaif.statistics.calibrators import STEEPEST, Platt

    if found.n < FEW:
        say.print(
            f"{found.n:,} items that people labeled are few; with {FEW} and more this can be relied on", markup=False
        )
    if found.clipped:
        say.print(f"{found.clipped:,} labels are surer than log loss counts (1 - 1e-6)", markup=False)
    gain = found.after[found.method].gain if found.method in found.after else None
    if gain is None:
        say.print(
            "no method does better on held-out items than the labels do: they are written as they are", markup=False
        )
    elif gain.value is None or gain.value <= 0:
        say.print(
            f"{found.method} does no better on held-out items than the labels do (log loss gain {gain})", markup=False
        )
    elif gain.low is None or gain.low <= 0:
        say.print(f"it is not certain that {found.method} helps (log loss gain {gain})", markup=False)
    slope = found.calibrator.slope if isinstance(found.calibrator, Platt) else None
    if slope is not None and slope < 0:
        say.print(
            f"the slope is {slope:.3g}: people prefer what this labeler rejects, and it is turned around", markup=False
        )
    if slope is not None and abs(slope) == STEEPEST:
        say.print(f"the slope is at its bound, {slope:g}: no item speaks against a steeper one", markup=False)
