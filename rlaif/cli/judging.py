"""The commands that judge and pass on judgements: label, score, rank, prompt, export."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.say import say
from rlaif.errors import ConfigError

if TYPE_CHECKING:
    from rlaif.stages.judge import Judge, Summary

app = typer.Typer()


class FormatName(StrEnum):
    """Conventions of rows that can be read."""

    auto = "auto"
    comparisons = "comparisons"
    hh_rlhf = "hh-rlhf"
    trl = "trl"
    alpaca_eval = "alpaca-eval"
    pandalm = "pandalm"
    samples = "samples"


Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FIELD=COLUMN]...", help="More pairs for --map.", show_default=False),
]
DataFile = Annotated[
    str, typer.Argument(metavar="FILE", help="JSONL, JSON, CSV (also .gz), Parquet, or a datasets folder.")
]
TaskName = Annotated[str, typer.Option("--task", help="summarization, helpfulness, harmlessness, or a task folder.")]
ModelName = Annotated[str, typer.Option("--llm", help="provider:model, for example transformers:path/to/model.")]
Out = Annotated[Path, typer.Option("--out", help="The run folder; run again to resume or grow.")]
Format = Annotated[FormatName, typer.Option("--format", help="Whose convention the rows follow.")]
Map = Annotated[
    str | None,
    typer.Option("--map", metavar="FIELD=COLUMN...|FILE.yaml", help="Which column holds which field."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N rows.")]
Sample = Annotated[int | None, typer.Option("--sample", min=1, help="Take N random rows; a larger N holds a smaller.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
Exemplars = Annotated[int, typer.Option("--exemplars", min=0, help="Worked examples in the prompt.")]
Rationale = Annotated[bool, typer.Option("--rationale", help="Let the model think first (chain of thought).")]
SelfConsistency = Annotated[int, typer.Option("--self-consistency", min=1, help="Average over N rationales.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0, help="Of the rationale; 0 is greedy.")]
MaxRationale = Annotated[int, typer.Option("--max-rationale-tokens", min=1, help="The most tokens of a rationale.")]
MaxUnread = Annotated[
    float,
    typer.Option("--max-unread-mass", min=0, max=1, help="More probability on no offered answer: unreadable."),
]
LedgerPath = Annotated[
    Path | None,
    typer.Option("--ledger", envvar="RLAIF_LEDGER", help="Stored answers; ledger.sqlite beside --out."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be used.")]
DType = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16 (local models).")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, … (local models; CUDA where there is one).")]
BatchTokens = Annotated[int | None, typer.Option("--batch-tokens", min=1, help="The most tokens in a local batch.")]
MethodName = Annotated[
    str, typer.Option("--method", help="exact log-probabilities, or sampled answers (any model that can be sampled).")
]
Draws = Annotated[int, typer.Option("--draws", min=1, help="Sampled answers in each order, with --method sampled.")]
PreambleName = Annotated[str, typer.Option("--preamble", help="base or detailed.")]
OneOrder = Annotated[bool, typer.Option("--one-order", help="Ask one order only, drawn by the seed.")]
AllowOneOrder = Annotated[bool, typer.Option("--allow-one-order", help="Keep a label whose other order failed.")]


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif label pairs.jsonl --task helpfulness --out outputs/pairs\n\n"
    "rlaif label test.jsonl.gz --format hh-rlhf --task harmlessness --sample 200 --out outputs/hh\n\n"
    "rlaif label data.csv --map query=prompt response_1=a response_2=b human_preference=label "
    "--task helpfulness --llm transformers:path/to/model --exemplars 2 --out outputs/mine"
)
def label(
    data: DataFile,
    task: TaskName,
    out: Out,
    more: Words = None,
    llm: ModelName = "pocket:labeler-l",
    format: Format = FormatName.auto,
    map: Map = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    preamble: PreambleName = "detailed",
    exemplars: Exemplars = 0,
    rationale: Rationale = False,
    self_consistency: SelfConsistency = 1,
    temperature: Temperature = 0.0,
    max_rationale_tokens: MaxRationale = 512,
    method: MethodName = "exact",
    draws: Draws = 16,
    max_unread_mass: MaxUnread = 0.5,
    one_order: OneOrder = False,
    allow_one_order: AllowOneOrder = False,
    ledger: LedgerPath = None,
    strict: Strict = False,
    dtype: DType = "float32",
    device: Device = None,
    batch_tokens: BatchTokens = None,
) -> None:
    """Give soft preference labels to comparisons: P(response 1 preferred), in both orders."""
    from rlaif.labeling.preference import PreferenceLabeler

    settings = _settings(
        exemplars, rationale, self_consistency, temperature, max_rationale_tokens, method, draws, max_unread_mass, seed
    )
    settings |= {
        "preamble": preamble,
        "orders": "one" if one_order else "both",
        "allow_one_order": allow_one_order,
    }
    model = _open(llm, task, dtype, device, batch_tokens)
    _judge(
        PreferenceLabeler(task, model, **settings),
        data,
        out,
        format,
        map,
        more,
        limit,
        sample,
        ledger,
        strict,
    )


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif score responses.jsonl --task helpfulness --out outputs/scores\n\n"
    "rlaif score pairs.parquet --task harmlessness --llm transformers:path/to/model --limit 100 --out outputs/try"
)
def score(
    data: DataFile,
    task: TaskName,
    out: Out,
    more: Words = None,
    llm: ModelName = "pocket:labeler-l",
    format: Format = FormatName.auto,
    map: Map = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    exemplars: Exemplars = 0,
    rationale: Rationale = False,
    self_consistency: SelfConsistency = 1,
    temperature: Temperature = 0.0,
    max_rationale_tokens: MaxRationale = 512,
    method: MethodName = "exact",
    draws: Draws = 16,
    max_unread_mass: MaxUnread = 0.5,
    ledger: LedgerPath = None,
    strict: Strict = False,
    dtype: DType = "float32",
    device: Device = None,
    batch_tokens: BatchTokens = None,
) -> None:
    """Give expected scores from 1 to 10 to responses (or to both responses of comparisons)."""
    from rlaif.labeling.score import Scorer

    settings = _settings(
        exemplars, rationale, self_consistency, temperature, max_rationale_tokens, method, draws, max_unread_mass, seed
    )
    model = _open(llm, task, dtype, device, batch_tokens)
    _judge(Scorer(task, model, **settings), data, out, format, map, more, limit, sample, ledger, strict)


@app.command(
    epilog="[bold]Example[/bold]\n\nrlaif rank samples.jsonl --task helpfulness --mode tournament --out outputs/ranks"
)
def rank(
    data: DataFile,
    task: TaskName,
    out: Out,
    more: Words = None,
    mode: Annotated[
        str, typer.Option("--mode", help="all-pairs, or tournament (fewer comparisons, no scores).")
    ] = "all-pairs",
    llm: ModelName = "pocket:labeler-l",
    map: Map = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    preamble: PreambleName = "detailed",
    exemplars: Exemplars = 0,
    rationale: Rationale = False,
    method: MethodName = "exact",
    draws: Draws = 16,
    max_unread_mass: MaxUnread = 0.5,
    ledger: LedgerPath = None,
    strict: Strict = False,
    dtype: DType = "float32",
    device: Device = None,
    batch_tokens: BatchTokens = None,
) -> None:
    """Rank the 2 to 9 responses of each query (fields query, responses) by pairwise preferences."""
    from rlaif.labeling.ranking import Ranker

    model = _open(llm, task, dtype, device, batch_tokens)
    settings: dict[str, Any] = {"preamble": preamble, "exemplars": exemplars, "rationale": rationale}
    settings |= {"method": method, "draws": draws, "max_unread_mass": max_unread_mass, "seed": seed}
    ranker = Ranker(task, model, mode=mode, **settings)  # type: ignore[arg-type]
    _judge(ranker, data, out, FormatName.auto, map, more, limit, sample, ledger, strict)


@app.command(epilog="[bold]Example[/bold]\n\nrlaif prompt harmlessness pairs.jsonl --exemplars 2 --show 3")
def prompt(
    task: Annotated[str, typer.Argument(help="A task's name or folder.")],
    data: DataFile,
    more: Words = None,
    show: Annotated[int, typer.Option("--show", min=1, help="How many rows to render.")] = 1,
    as_score: Annotated[
        bool, typer.Option("--score", help="The prompt that scores, not the one that compares.")
    ] = False,
    format: Format = FormatName.auto,
    map: Map = None,
    preamble: PreambleName = "detailed",
    exemplars: Exemplars = 0,
    rationale: Rationale = False,
) -> None:
    """Print rendered prompts, so that one can read what the model reads. No model is loaded."""
    from rlaif.stages.show import rendered_prompts

    asked = rendered_prompts(
        task, data, show, as_score, format.value, _columns(map, more), preamble, exemplars, rationale
    )
    for heading, text in asked:
        say.rule(heading)
        typer.echo(text)


@app.command(
    epilog="[bold]Examples[/bold]\n\nrlaif export outputs/hh hh-trl.jsonl --as trl\n\n"
    "rlaif export outputs/hh hh.parquet\n\nrlaif export outputs/hh hh-dataset"
)
def export(
    source: Annotated[Path, typer.Argument(help="A run folder, or a file of records.")],
    out: Annotated[Path, typer.Argument(help=".jsonl, .csv, .parquet; without a suffix a folder for datasets.")],
    shape: Annotated[str, typer.Option("--as", help="records, or trl (prompt, chosen, rejected).")] = "records",
    margin: Annotated[str | None, typer.Option("--margin", help="Copy this column to TRL's margin.")] = None,
) -> None:
    """Write records in the form that other libraries read."""
    from rlaif.stages.export import export as run

    if shape not in ("records", "trl"):
        raise ConfigError(f"--as {shape}: known are records and trl")
    done = run(source, out, shape, margin)  # type: ignore[arg-type]
    ties = f"; {done.ties:,} ties dropped" if shape == "trl" else ""
    typer.echo(f"{done.path}: {done.rows:,} rows{ties}")


def _settings(
    exemplars: int,
    rationale: bool,
    self_consistency: int,
    temperature: float,
    tokens: int,
    method: str,
    draws: int,
    unread: float,
    seed: int,
) -> dict[str, Any]:
    return {
        "exemplars": exemplars,
        "rationale": rationale,
        "self_consistency": self_consistency,
        "temperature": temperature,
        "max_rationale_tokens": tokens,
        "method": method,
        "draws": draws,
        "max_unread_mass": unread,
        "seed": seed,
    }


def _open(llm: str, task: str, dtype: str, device: str | None, batch_tokens: int | None) -> Any:
    """Open the model, after the task was found to be there: a wrong word costs no second."""
    from rlaif.llm.open import open_llm
    from rlaif.prompting import load_task

    load_task(task)
    return open_llm(llm, dtype=dtype, device=device, batch_tokens=batch_tokens)


def _columns(first: str | None, more: list[str] | None) -> Any:
    from rlaif.columns import ColumnMap

    if first is None:
        if more:
            raise ConfigError(f"unexpected {more[0]}; pairs of field and column follow --map")
        return None
    return ColumnMap.from_words([first, *(more or [])])


def _judge(
    judge: "Judge",
    data: str,
    out: Path,
    format: FormatName,
    map: str | None,
    more: list[str] | None,
    limit: int | None,
    sample: int | None,
    ledger: Path | None,
    strict: bool,
) -> None:
    from rlaif.stages.judge import judge_file

    try:
        summary = judge_file(
            judge,
            data,
            out,
            format=format.value,
            columns=_columns(map, more),
            limit=limit,
            sample=sample,
            ledger=ledger,
            strict=strict,
        )
    except KeyboardInterrupt:
        command = shlex.join(["rlaif", *sys.argv[1:]])
        say.print(f"\nInterrupted; everything answered is kept. To go on:\n  {command}", markup=False)
        raise typer.Exit(130) from None
    _print_summary(summary)
    if summary.count == 0 and summary.failures:
        raise typer.Exit(1)


def _print_summary(summary: "Summary") -> None:
    index, totals = summary.index, summary.totals
    failures = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.failures.items())) or "no failures"
    typer.echo(f"{summary.records}: {summary.count:,} of {index.selected:,} rows ({failures})")
    if summary.failures:
        typer.echo(f"{summary.out / 'failures.jsonl'}: why, row by row")
    if index.duplicates:
        typer.echo(f"{index.duplicates:,} rows are the same as an earlier one and were read once")
    tokens = totals.usage.input_tokens + totals.usage.output_tokens
    typer.echo(
        f"asked {totals.asked:,} now ({tokens:,} tokens), {totals.from_ledger:,} from the ledger, "
        f"{index.done_before:,} rows were done before; {summary.seconds:.1f} s"
    )
