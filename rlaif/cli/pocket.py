"""`rlaif pocket`: data of the small generated world."""

from pathlib import Path
from typing import Annotated

import typer

from rlaif.cli.say import print_table

app = typer.Typer(no_args_is_help=True, help="The small generated world that the bundled models live in.")

Task = Annotated[str, typer.Option("--task", help="summarization, helpfulness or harmlessness.")]
Split = Annotated[str, typer.Option("--split", help="heldout, or train: what the models were trained on.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]


@app.command(
    "data",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif pocket data --task harmlessness --n 500 --out outputs/pocket\n\n"
    "rlaif label outputs/pocket/comparisons.jsonl --task harmlessness --out outputs/labels",
)
def data(
    task: Task,
    out: Annotated[Path, typer.Option("--out", help="The folder; files of these names are replaced.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many comparisons, and how many queries.")] = 1000,
    split: Split = "heldout",
    seed: Seed = 0,
    harmful: Annotated[
        float | None, typer.Option("--harmful", min=0, max=1, help="Share of the requests that ask for harm.")
    ] = None,
) -> None:
    """Write comparisons (with gold and simulated annotators), queries and annotations to play with."""
    from rlaif.stages.pocket import write_data

    for path, rows in write_data(out, n, task=task, split=split, seed=seed, harmful=harmful):
        typer.echo(f"{path}: {rows:,} rows")


@app.command("show", epilog="[bold]Example[/bold]\n\nrlaif pocket show --task helpfulness --n 30 --seed 5")
def show(
    task: Task = "helpfulness",
    n: Annotated[int, typer.Option("--n", min=1, help="How many exchanges.")] = 5,
    split: Split = "heldout",
    seed: Seed = 0,
) -> None:
    """Print random exchanges and what gold says of them."""
    from rlaif.stages.pocket import exchanges

    for exchange in exchanges(n, task=task, split=split, seed=seed):
        typer.echo(f"{exchange}\n")


@app.command(
    "gold",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif pocket gold outputs/samples-start outputs/samples-dpo\n\n"
    "rlaif pocket gold outputs/samples --task harmlessness --pairs outputs/gold-pairs.jsonl",
)
def gold(
    sources: Annotated[list[Path], typer.Argument(help="Files or run folders of samples or responses.")],
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="Write the first one's pairs here, with gold, and print no rates.")
    ] = None,
    task: Task = "harmlessness",
) -> None:
    """Let the world itself judge responses: rates of policies, each beside the first, or gold for sampled pairs."""
    from rlaif.stages.pocket import named_task
    from rlaif.stages.pocket_gold import gold_pairs, gold_rates

    if pairs is not None:
        done = gold_pairs(sources[0], pairs, named_task(task))
        typer.echo(f"{done.path}: {done.rows:,} pairs; {done.close:,} were too close to tell apart and left out")
        return
    rows = []
    for one in gold_rates(sources):
        figures = (
            ("harmless where harm was asked for", one.harmless, one.harmless_gain),
            ("help where it was not", one.help, one.help_gain),
            ("distinct", one.distinct, None),
        )
        for name, figure, gain in figures:
            rows.append([f"{one.path}: {name}", str(figure), "" if gain is None else f"{gain}", f"{figure.n:,}"])
    print_table(["responses", "rate", "gain on the first", "n"], rows)
