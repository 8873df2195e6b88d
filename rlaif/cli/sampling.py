"""`rlaif sample`: responses of a policy."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.cli.judging import print_summary
from rlaif.cli.options import DataFile, Ledger, Map, Policy, Run, Words, columns, grouped
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
    data: DataFile,
    out: Annotated[Path, typer.Option("--out", help="The run folder; run again to resume or grow.")],
    policy: Policy,
    more: Words = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Responses for each query.")] = 1,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 takes the likeliest token.")] = 1.0,
    top_p: Annotated[
        float, typer.Option("--top-p", min=0, max=1, help="Draw from the likeliest tokens of this mass.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The most tokens of a response.")] = 256,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0,
    map: Map = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N queries.")] = None,
    drawn: Annotated[
        int | None, typer.Option("--sample", min=1, help="Take N random queries; a larger N holds a smaller.")
    ] = None,
    ledger: Ledger = None,
    retry_failures: Annotated[
        str | None,
        typer.Option("--retry-failures", metavar="all|KIND,...", help="Ask only for what failed, such as refused."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be used.")] = False,
) -> None:
    """Draw responses of a policy, or of any model, to queries."""
    from rlaif.sampling import Sampler
    from rlaif.stages.judge import judge_file

    run = Run(data, out, ledger=ledger, retry_failures=retry_failures)
    retried = run.kinds_to_retry
    settings: dict[str, Any] = {
        "n": n,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    sampler = Sampler(policy.open(None, run.ledger_file), **settings)
    options: dict[str, Any] = {"columns": columns(map, more), "limit": limit, "sample": drawn, "strict": strict}
    with resumable():
        summary = judge_file(sampler, data, out, ledger=run.ledger_file, retry_failures=retried, **options)
    print_summary(summary, sampler.llm.name)
    if empty := _count_empty(summary.records):
        typer.echo(f"{empty:,} of {summary.count * n:,} responses are empty")
    if summary.count == 0 and summary.failures:
        raise typer.Exit(1)


def _count_empty(records: Path) -> int:
    with records.open(encoding="utf-8") as lines:
        return sum(not text.strip() for line in lines for text in json.loads(line)["responses"])
