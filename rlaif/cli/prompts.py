"""`rlaif compare-prompts`: which prompt agrees best with people."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.cli.asked import Model
from rlaif.cli.evaluate import Policies, show
from rlaif.cli.options import (
    DataFile,
    Format,
    FormatName,
    Ledger,
    Map,
    Reading,
    TaskName,
    Words,
    columns,
    grouped,
    reporting,
)
from rlaif.cli.say import resumable
from rlaif.errors import ConfigError, did_you_mean

app = typer.Typer()


@app.command(
    "compare-prompts",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif compare-prompts pairs.jsonl --task helpfulness --sample 200 --out outputs/prompts\n\n"
    "rlaif compare-prompts pairs.jsonl --task helpfulness --llm openai:gpt-4.1-mini --exemplars 0,2 --rationale no,yes "
    "--max-cost-usd 5 --out outputs/prompts",
)
@grouped
@reporting
def compare_prompts(
    data: DataFile,
    model: Model,
    reading: Reading,
    policies: Policies,
    task: TaskName,
    out: Annotated[Path, typer.Option("--out", help="The folder for a run folder a prompt, and the report.")],
    more: Words = None,
    map: Map = None,
    format: Format = FormatName.auto,
    sample: Annotated[int, typer.Option("--sample", min=1, help="How many random items.")] = 200,
    preamble: Annotated[str, typer.Option("--preamble", help="Those to compare.")] = "base,detailed",
    exemplars: Annotated[str, typer.Option("--exemplars", help="How many worked examples, each number.")] = "0,1,2",
    rationale: Annotated[str, typer.Option("--rationale", help="Without and with chain of thought.")] = "no,yes",
    self_consistency: Annotated[
        str, typer.Option("--self-consistency", help="How many rationales are averaged, each number.")
    ] = "1",
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="Of rationales where several are averaged.")
    ] = 0.7,
    ledger: Ledger = None,
) -> None:
    """Try every prompt of a grid on a sample that people labeled: preambles, exemplars, chain of thought, models."""
    from rlaif.evaluation.alignment import Resampling
    from rlaif.evaluation.policy import Policy
    from rlaif.stages.compare_prompts import Grid
    from rlaif.stages.compare_prompts import compare_prompts as run

    answers = ledger or out / "ledger.sqlite"
    choices = Grid(
        _each("--preamble", preamble, {"base": "base", "detailed": "detailed"}),
        _numbers("--exemplars", exemplars, 0),
        _each("--rationale", rationale, {"no": False, "yes": True}),
        _numbers("--self-consistency", self_consistency, 1),
        temperature,
    )
    with resumable():
        found = run(
            task,
            model.open_each(task, answers),
            data,
            out,
            choices,
            sample=sample,
            format=format.value,
            columns=columns(map, more),
            policy=Policy(policies.ties.value, policies.unreadable.value),
            by=policies.by or [],
            cluster=policies.cluster,
            resampling=Resampling(policies.resamples, policies.resample_seed),
            ledger=answers,
            **asdict(reading),
        )
    show(found, out)


def _each(option: str, words: str, known: dict[str, Any]) -> list[Any]:
    found = [word.strip() for word in words.split(",")]
    for word in found:
        if word not in known:
            raise ConfigError(f"{option} {word}: no such choice{did_you_mean(word, known)}")
    return [known[word] for word in dict.fromkeys(found)]


def _numbers(option: str, words: str, least: int) -> list[int]:
    found = [word.strip() for word in words.split(",")]
    if not all(word.isdecimal() and int(word) >= least for word in found):
        raise ConfigError(f"{option} {words}: write whole numbers from {least} on, such as 0,1,2")
    return sorted({int(word) for word in found})
