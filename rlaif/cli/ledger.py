"""`rlaif ledger`: look at or clear a ledger of stored answers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Look at or clear a ledger of stored answers.")


@app.command("info")
def info(path: Annotated[Path, typer.Argument(help="A ledger.sqlite.")]) -> None:
    """What a ledger holds, model by model, and which batch jobs wait to be collected."""
    from datetime import datetime

    from rlaif.llm.jobs import Jobs

    for name, count, size, first, last in _ledger(path).info():
        days = " to ".join(datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") for at in (first, last))
        typer.echo(f"{name}: {count:,} exchanges, {size / 1e6:.1f} MB of answers, {days}")
    for name, remote, created, left, size in Jobs(path).waiting():
        since = datetime.fromtimestamp(created).strftime("%Y-%m-%d %H:%M")
        job = f"batch job {remote}" if remote else "a batch job that may not have been submitted"
        typer.echo(f"{name}: {job} of {since}, {left:,} of {size:,} requests not collected")
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


def _ledger(path: Path) -> Any:
    from rlaif.llm.ledger import Ledger

    if not path.is_file():
        raise ConfigError(f"{path}: no such ledger")
    return Ledger(path)
