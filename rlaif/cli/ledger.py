"""`rlaif ledger`: look at or clear a ledger of stored answers, and the batch jobs it waits for."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.errors import ConfigError, did_you_mean

app = typer.Typer(no_args_is_help=True, help="Look at or clear a ledger of stored answers.")


@app.command("info")
def info(path: Annotated[Path, typer.Argument(help="A ledger.sqlite.")]) -> None:
    """What a ledger holds, model by model, and which batch jobs wait to be collected."""
    from datetime import datetime

    from rlaif.llm.jobs import Jobs

    for name, count, size, first, last in _ledger(path).info():
        days = " to ".join(datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") for at in (first, last))
        typer.echo(f"{name}: {count:,} exchanges, {size / 1e6:.1f} MB of answers, {days}")
    for one in Jobs(path).waiting():
        since = datetime.fromtimestamp(one.created).strftime("%Y-%m-%d %H:%M")
        job = f"batch job {one.job}" if one.is_submitted else f"batch job {one.job} (may not have been submitted)"
        typer.echo(f"{one.llm}: {job} of {since}, {one.left:,} of {one.size:,} requests not collected")
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@app.command("purge")
def purge(
    path: Annotated[Path, typer.Argument(help="A ledger.sqlite.")],
    llm: Annotated[str | None, typer.Option("--llm", help="Only this model's exchanges.")] = None,
    older_than_days: Annotated[float | None, typer.Option("--older-than-days", help="Only older ones.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; answers paid for are gone afterwards.")] = False,
) -> None:
    """Delete stored answers; run folders keep their records."""
    import time

    ledger = _ledger(path)
    if not yes:
        typer.confirm(f"delete {'all' if llm is None else llm} exchanges from {path}?", abort=True)
    before = time.time() - 86_400 * older_than_days if older_than_days is not None else None
    typer.echo(f"{ledger.purge(llm, before):,} exchanges deleted")


@app.command("forget")
def forget(
    path: Annotated[Path, typer.Argument(help="A ledger.sqlite.")],
    job: Annotated[
        str, typer.Argument(help="A batch job that waits to be collected, as `rlaif ledger info` names it.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; the job's requests are handed in, and paid for, again.")
    ] = False,
) -> None:
    """Wait for a batch job no more: the next run hands its requests in again."""
    from rlaif.llm.jobs import Jobs

    _ledger(path)
    jobs = Jobs(path)
    waiting = {one.job: one for one in jobs.waiting()}
    if job not in waiting:
        raise ConfigError(f"{path}: no batch job {job} waits to be collected{did_you_mean(job, waiting)}")
    if not yes:
        left = waiting[job].left
        typer.confirm(f"forget {job}, and pay for its {left:,} requests again when they are asked again?", abort=True)
    typer.echo(f"{jobs.forget(job):,} requests are in no batch job any more")


def _ledger(path: Path) -> Any:
    from rlaif.llm.ledger import Ledger

    if not path.is_file():
        raise ConfigError(f"{path}: no such ledger")
    return Ledger(path)
