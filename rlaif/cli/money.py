"""`rlaif quote` and `rlaif pilot`: what a run would take, and whether it is worth it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.asked import Model
from rlaif.cli.options import (
    TASK,
    Chain,
    DataFile,
    Format,
    FormatName,
    Ledger,
    Map,
    PreambleName,
    Principles,
    Reading,
    TaskName,
    Thinking,
    Words,
    columns,
    grouped,
    refuse,
)
from rlaif.cli.say import is_paid, print_table, resumable
from rlaif.errors import ConfigError

if TYPE_CHECKING:
    from rlaif.stages.quote import Quoted

app = typer.Typer()


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif quote pairs.jsonl --task helpfulness --llm openai:gpt-4.1-mini --llm openai:gpt-4.1\n\n"
    "rlaif quote pairs.jsonl --task helpfulness --llm anthropic:claude-haiku-4-5 --method sampled --draws 8\n\n"
    "rlaif quote pairs.jsonl --constitution harmless --principles-per-label 2 --llm openai:gpt-4.1-mini\n\n"
    "rlaif quote outputs/samples/samples.jsonl --constitution harmless --revisions 4 --llm openai:gpt-4.1-mini\n\n"
    "rlaif quote examples/direct.yaml steps=1000 --llm openai:gpt-4.1-mini"
)
@grouped
def quote(
    data: DataFile,
    thinking: Thinking,
    reading: Reading,
    principles: Principles,
    chain: Chain,
    named_task: Annotated[str | None, TASK] = None,
    llm: Annotated[
        list[str] | None, typer.Option("--llm", help="provider:model; again for each model to compare.")
    ] = None,
    more: Words = None,
    map: Map = None,
    format: Format = FormatName.auto,
    preamble: PreambleName = "detailed",
    as_score: Annotated[bool, typer.Option("--score", help="Quote rlaif score, not rlaif label.")] = False,
    one_order: Annotated[bool, typer.Option("--one-order", help="One order only.")] = False,
    revisions: Annotated[
        int | None, typer.Option("--revisions", min=1, help="Quote rlaif revise with so many rounds.")
    ] = None,
    sample: Annotated[int, typer.Option("--sample", min=2, help="Of how many rows prompts are rendered.")] = 200,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="YAML: provider:model to input, output, cached ($ a million).")
    ] = None,
) -> None:
    """Requests, tokens and dollars that a run would take. No key is needed, nothing is asked.

    FILE may be the config of rlaif train ppo or reinforce (YAML), with its settings behind it.
    """
    from rlaif.stages.quote import RATIONALE_TOKENS
    from rlaif.stages.quote import quote as run

    thought = f"of {RATIONALE_TOKENS} tokens or more"
    if Path(data).suffix in (".yaml", ".yml"):
        from rlaif.stages.quote_training import quote_training

        _show(quote_training(Path(data), more or [], models=llm or [], sample=sample, prices=prices), "response")
        return
    if revisions is not None:
        from rlaif.constitution.files import load_constitution
        from rlaif.stages.labels import is_run, records_file
        from rlaif.stages.quote_chains import SHORT, quote_chains

        why = "is of labels, and --revisions quotes rlaif revise; leave one of them out"
        for flag, is_given in (
            ("--task", named_task is not None),
            ("--score", as_score),
            ("--one-order", one_order),
            ("--preamble", preamble != "detailed"),
            ("--format", format is not FormatName.auto),
        ):
            if is_given:
                raise ConfigError(f"{flag} {why}")
        refuse(thinking, ("rationale", "self_consistency", "max_rationale_tokens"), why)
        refuse(reading, ("method", "draws", "max_unread_mass"), why)
        refuse(principles, ("principles_per_label", "clamp"), why)
        if principles.constitution is None or not llm:
            missing = "llm" if principles.constitution else "constitution"
            raise ConfigError(f"--{missing} is missing; --revisions quotes rlaif revise")
        asked = asdict(chain) | {"revisions": revisions, "exemplars": thinking.exemplars, "seed": reading.seed}
        options: dict[str, Any] = {"columns": columns(map, more), "sample": sample, "prices": prices, **asked}
        loaded = load_constitution(principles.constitution)
        if principles.principles is not None:
            loaded = loaded.first(principles.principles, "revision")
        rows = str(records_file(Path(data))) if is_run(Path(data)) else data
        lengths = [f"responses of 1/{SHORT} of --max-tokens or more", *[f"critiques {thought}"][: chain.critique]]
        _show(quote_chains(rows, loaded, llm, **options), "response", lengths)
        return
    refuse(chain, asdict(chain), "is of rlaif revise, which --revisions quotes; add that, or leave it out")
    settings = asdict(thinking) | asdict(reading) | principles.settings(named_task, preamble)
    settings["orders"] = "one" if one_order else "both"
    if not llm:
        raise ConfigError("--llm is missing; only a training's config names it")
    found = run(
        data,
        named_task,
        llm,
        constitution=principles.constitution,
        score=as_score,
        format=format.value,
        columns=columns(map, more),
        sample=sample,
        prices=prices,
        **settings,
    )
    _show(found, "row", [f"rationales {thought}"] if thinking.rationale else [])


def _show(found: "Quoted", what: str, lengths: Sequence[str] = ()) -> None:
    """Print quotes; `lengths` are what was assumed of what models write, in words."""
    from rlaif.stages.quoted_model import BYTES_PER_TOKEN

    rows = []
    for one in found.quotes:
        unpriced = "nobody is paid" if one.is_local else "price not known"
        tokens = _between(*one.input_tokens), _between(*one.output_tokens)
        by_batch = dollars(one.batch_usd) or "-"
        rows.append(
            [f"{one.llm} {one.method}", f"{one.requests:,}", *tokens, dollars(one.cost_usd) or unpriced, by_batch]
        )
    print_table(["model and method", "requests", "read", "written", "dollars", "--batch"], rows)
    rejected = f", {found.rejected:,} more cannot be used" if found.rejected else ""
    typer.echo(
        f"{found.items:,} {what}{'s'[: found.items != 1]}{rejected}; prompts of {found.sampled:,} were rendered."
    )
    thick, thin = BYTES_PER_TOKEN
    if found.unanswered:
        typer.echo(
            f"{found.unanswered:,} of them have no response: one is sampled first, which is counted "
            "(--map response=COLUMN names a column of responses)."
        )
    if lengths:
        typer.echo(f"Assumed: {', '.join(lengths)}.")
    typer.echo(f"Assumed where no tokenizer is here: {thin:g} to {thick:g} bytes a token.")
    typer.echo("The lowest counts what a prompt cache can serve, the highest nothing.")


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif pilot pairs.jsonl --task helpfulness --llm openai:gpt-4.1-mini --llm openai:gpt-4.1 --out outputs/pilot\n\n"
    "rlaif pilot test.jsonl.gz --task harmlessness --llm pocket:labeler-l --llm pocket:labeler-s --out outputs/pilot"
)
@grouped
def pilot(
    data: DataFile,
    model: Model,
    thinking: Thinking,
    reading: Reading,
    task: TaskName,
    out: Annotated[Path, typer.Option("--out", help="The folder for one run folder a model.")],
    more: Words = None,
    map: Map = None,
    format: Format = FormatName.auto,
    preamble: PreambleName = "detailed",
    n: Annotated[int, typer.Option("--n", min=1, help="How many random items.")] = 200,
    ledger: Ledger = None,
) -> None:
    """Try models on a sample: agreement with people where they labeled it, and what the rest would cost."""
    from rlaif.labeling.preference import PreferenceLabeler
    from rlaif.stages.pilot import pilot as run

    settings = asdict(thinking) | asdict(reading) | {"preamble": preamble}
    answers = ledger or out.parent / "ledger.sqlite"
    labelers = [PreferenceLabeler(task, llm, **settings) for llm in model.open_each(task, answers)]
    with resumable():
        found = run(labelers, data, out, n, format=format.value, columns=columns(map, more), ledger=answers)
    rows = []
    for trial, labeler in zip(found.trials, labelers, strict=True):
        unpriced = "price not known" if is_paid(trial.llm) else "nobody is paid"
        people = str(trial.with_people) if trial.with_people else "no labels"
        spent = unpriced if trial.cost_usd is None else f"{trial.cost_usd:,.4f}"
        done = f"{trial.labels:,}, {trial.failures:,}"
        rows.append(
            [
                f"{trial.llm} {labeler.config.method}",
                done,
                people,
                f"{trial.same_position.value:.3f}" if trial.same_position else "-",
                spent,
                dollars(trial.rest_usd) or "-",
            ]
        )
    names = ["model and method", "labels, failures", "agrees with people", "same position", "dollars", "for the rest"]
    print_table(names, rows)
    typer.echo(f"{found.sampled:,} random items, {found.rest:,} are left. In brackets: 95 % intervals.")
    if found.rest:
        typer.echo("A run over all items with the same ledger asks only for the rest.")


def dollars(interval: tuple[float, float] | None) -> str:
    """Lowest and highest in words; empty for none."""
    if interval is None:
        return ""
    low, high = interval
    return f"{low:,.2f}-{high:,.2f}" if high >= 1 else f"{low:.4f}-{high:.4f}"


def _between(low: float, high: float) -> str:
    unit, scale, digits = (" M", 1e6, 2) if high >= 1e5 else ("", 1, 0)
    first, last = f"{low / scale:,.{digits}f}", f"{high / scale:,.{digits}f}"
    return f"{last}{unit}" if first == last else f"{first}-{last}{unit}"
