"""`rlaif models`: what can judge, and how its verdicts are read."""

from typing import Annotated

import typer

from rlaif.cli.say import say

app = typer.Typer()


@app.command(epilog="[bold]Examples[/bold]\n\nrlaif models\n\nrlaif models --sources")
def models(
    sources: Annotated[bool, typer.Option("--sources", help="Where each line was read, and when.")] = False,
) -> None:
    """What hosted models can do today, and what to do where one gives no log-probabilities."""
    from rich.table import Table

    from rlaif.llm.catalog import catalog
    from rlaif.pocket.paths import bundled

    table = Table("models", "log-probs", "temperature", "batch", "read verdicts with", title="First match counts")
    for provider, entries in catalog().items():
        for one in entries:
            shown = f"top {one.top_logprobs}" if one.top_logprobs else "none"
            names = "\n".join(f"{provider}:{pattern}" for pattern in one.models)
            advice = f"{one.advice}\n{one.source} ({one.seen})" if sources else one.advice
            table.add_row(names, shown, "yes" if one.temperature else "no", "yes" if one.batch else "no", advice)
    labelers = [f"pocket:{name}" for name in bundled() if name.startswith("labeler")]
    local = "\n".join([*labelers, "transformers:FOLDER", "openai:MODEL on a vLLM server (--base-url)"])
    table.add_row(local, "exact", "yes", "no", "--method exact (the default)")
    say.print(table)
