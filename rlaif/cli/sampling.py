"""`rlaif sample`: responses of a policy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlaif.cli.asked import Policy
from rlaif.cli.judging import print_summary
from rlaif.cli.options import Drawing, Rows, grouped
from rlaif.cli.say import resumable

app = typer.Typer()


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif sample queries.jsonl --llm pocket:policy --n 2 --out outputs/samples\n\n"
    "rlaif sample queries.jsonl --llm outputs/dpo/model --temperature 0.9 --top-p 0.95 --out outputs/after\n\n"
    "rlaif sample queries.csv --map query=question --llm openai:gpt-4.1-mini --limit 20 --out outputs/try"
)
@grouped
def sample(
    rows: Rows,
    policy: Policy,
    drawing: Drawing,
    n: Annotated[int, typer.Option("--n", min=1, help="Responses for each query.")] = 1,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The most tokens of a response.")] = 256,
) -> None:
    """Draw responses of a policy, or of any model, to queries."""
    from rlaif.sampling import Sampler
    from rlaif.stages.judge import judge_file

    sampler = Sampler(policy.open(None, rows.ledger_file), n=n, max_tokens=max_tokens, **asdict(drawing))
    with resumable():
        summary = judge_file(sampler, rows.data, rows.out, **rows.options)
    print_summary(summary, sampler.llm.name)
    if empty := _count_empty(summary.records):
        typer.echo(f"{empty:,} of {summary.count * n:,} responses are empty")
    if summary.count == 0 and summary.failures:
        raise typer.Exit(1)


def _count_empty(records: Path) -> int:
    with records.open(encoding="utf-8") as lines:
        return sum(not text.strip() for line in lines for text in json.loads(line)["responses"])
