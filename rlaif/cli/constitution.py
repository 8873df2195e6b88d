"""`rlaif constitution`: look over and read lists of principles."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.asked import ReportJudge
from rlaif.cli.options import Exemplars, Ledger, Map, Rationale, Reading, Words, columns, grouped, refuse, reporting
from rlaif.cli.say import print_table, resumable, say
from rlaif.errors import ConfigError

if TYPE_CHECKING:
    from rlaif.evaluation.report import Cell

app = typer.Typer(no_args_is_help=True, help="Look over and read constitutions: principles to revise and to label by.")

Name = Annotated[str, typer.Argument(help="harmless, helpful-honest, or the path of your own YAML file or folder.")]


class KindName(StrEnum):
    """The choices of `--kind`."""

    critique = "critique"
    revision = "revision"
    comparison = "comparison"


class AskedName(StrEnum):
    """The choices of `--kind` of `rlaif constitution prompts`."""

    revision = "revision"
    comparison = "comparison"


class TakeName(StrEnum):
    """The choices of `--take`."""

    all = "all"
    last = "last"


@app.command(
    "check",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif constitution check mine.yaml\n\n"
    "rlaif constitution check harmless --tokenizer path/to/model",
)
def check(
    constitution: Name,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="Count tokens too, by the tokenizer in this model folder.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 on remarks too.")] = False,
) -> None:
    """Name every fault with its line; then remark on what is probably not meant, and say how long it is.

    Remarked on are missing parts, principles that nearly repeat each other, and critique requests and questions that
    name no behaviour. These are found by words alone: what means the same in other words is not seen. With a fault the
    exit code is 2.
    """
    from rlaif.stages.constitution import check_constitution

    found = check_constitution(constitution, tokenizer)
    for fault in found.faults:
        say.print(f"error: {fault}", markup=False)
    if found.faults:
        raise typer.Exit(2)
    for remark in found.remarks:
        typer.echo(remark)
    rows = [
        [
            one.part,
            *(f"{n:,}" for n in (one.texts, one.words, one.longest, one.characters)),
            *([] if one.tokens is None else [f"{one.tokens:,}"]),
        ]
        for one in found.sizes
    ]
    print_table(["part", "n", "words", "longest", "characters", *([] if tokenizer is None else ["tokens"])], rows)
    count = len(found.remarks)
    typer.echo(f"{found.path}: no faults, {count or 'no'} remark{'' if count == 1 else 's'}")
    if strict and found.remarks:
        raise typer.Exit(1)


@app.command(
    "show",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif constitution show harmless\n\n"
    "rlaif constitution show helpful-honest --kind comparison",
)
def show(
    constitution: Name,
    kind: Annotated[KindName | None, typer.Option("--kind", help="Only these.")] = None,
) -> None:
    """Print a constitution as a page to read: principles, questions and exemplars."""
    from rlaif.constitution.files import load_constitution
    from rlaif.constitution.page import page

    typer.echo(page(load_constitution(constitution), kind.value if kind is not None else None))


@app.command(
    "prompts",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif constitution prompts harmless outputs/samples/samples.jsonl\n\n"
    "rlaif constitution prompts mine.yaml pairs.jsonl --kind comparison --rationale --show 3",
)
def prompts(
    constitution: Name,
    data: Annotated[str, typer.Argument(metavar="FILE", help="Responses, samples or queries; pairs to compare.")],
    kind: Annotated[
        AskedName, typer.Option("--kind", help="As rlaif revise asks, or as rlaif label does.")
    ] = AskedName.revision,
    show: Annotated[int, typer.Option("--show", min=1, help="How many rows to render.")] = 1,
    exemplars: Exemplars = 0,
    critique: Annotated[
        bool, typer.Option("--critique/--no-critique", help="Whether a critique comes before each revision.")
    ] = True,
    rationale: Rationale = False,
    principles: Annotated[
        int | None, typer.Option("--principles", min=1, help="Draw from the first N of the file only, as the run does.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the run, by which principles are drawn.")] = 0,
    map: Map = None,
    more: Words = None,
) -> None:
    """Print rendered prompts of the first round, so that one can read what the model reads. No model is loaded."""
    from rlaif.stages.labels import is_run, records_file
    from rlaif.stages.show import comparison_prompts, revision_prompts

    rows = str(records_file(Path(data))) if is_run(Path(data)) else data
    given = {"columns": columns(map, more), "exemplars": exemplars, "principles": principles, "seed": seed}
    if kind is AskedName.comparison:
        if not critique:
            raise ConfigError("--no-critique is of rlaif revise; leave out --kind comparison")
        asked = comparison_prompts(constitution, rows, show, rationale=rationale, **given)
    elif rationale:
        raise ConfigError("--rationale is of labels; --kind comparison shows them")
    else:
        asked = revision_prompts(constitution, rows, show, critique=critique, **given)
    for heading, text in asked:
        say.rule(heading)
        typer.echo(text)


@app.command(
    "sft-data",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif constitution sft-data outputs/revised --helpful outputs/helpful/samples.jsonl --out outputs/sl-cai.jsonl\n\n"
    "rlaif constitution sft-data outputs/revised --take last --out outputs/sl-cai.jsonl\n\n"
    "rlaif train sft examples/training/sft.yaml data.0.path=outputs/sl-cai.jsonl --out outputs/sl-cai",
)
def sft_data(
    chains: Annotated[list[Path], typer.Argument(help="Run folders of rlaif revise, or their revisions.jsonl.")],
    out: Annotated[Path, typer.Option("--out", help="A file for rlaif train sft; .jsonl, .csv or .parquet.")],
    helpful: Annotated[
        Path | None, typer.Option("--helpful", help="Samples or responses of the helpful policy to mix in.")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option("--ratio", min=0, help="Helpful responses for each revision; 1 by itself.")
    ] = None,
    take: Annotated[TakeName, typer.Option("--take", help="All good revisions of a chain, or the last one.")] = (
        TakeName.all
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
) -> None:
    """Write what the supervised stage of Constitutional AI learns: revisions, mixed with helpful responses.

    Revisions that were flagged are left out, also those that changed nothing.
    """
    from rlaif.stages.chains import sft_data as run

    done = run(chains, out, helpful=helpful, ratio=ratio, take=take.value, seed=seed)
    typer.echo(f"{done.path}: {done.revisions:,} revisions and {done.helpful:,} helpful responses")
    if done.unrevised:
        typer.echo(f"{done.unrevised:,} chains have no revision that was kept, and are left out")
    if done.cut_off:
        typer.echo(f"{done.cut_off:,} helpful responses were cut off at their token limit, and are left out")


@app.command(
    "report",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif constitution report --stage supervised=outputs/before --stage SL-CAI=outputs/sl --stage RL-CAI=outputs/rl "
    "--chains outputs/revised --out outputs/report\n\n"
    "rlaif constitution report --chains outputs/with --chains outputs/without --judge openai:gpt-4.1-mini "
    "--out outputs/report",
)
@reporting
@grouped
def report(
    judge: ReportJudge,
    reading: Reading,
    out: Annotated[Path, typer.Option("--out", help="The folder of report.html, report.md and report.json.")],
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME=FILE", help="A policy's samples, the first policy first."),
    ] = None,
    chains: Annotated[
        list[Path] | None, typer.Option("--chains", help="A run folder of rlaif revise; the first one's are shown.")
    ] = None,
    ledger: Ledger = None,
) -> None:
    """Harmlessness and help by stage, by revisions, with and without critiques, and principle by principle.

    Stages answer the same queries. A column harmful of the queries says which of them ask for harm.
    """
    from rlaif.stages.constitutional_report import report_constitutional

    stages = dict[str, Path]()
    for word in stage or []:
        name, sign, path = word.partition("=")
        if not (name and sign and path):
            raise ConfigError(f"--stage {word}: is no NAME=FILE, such as supervised=outputs/before")
        if name in stages:
            raise ConfigError(f"--stage {word}: there is a stage {name} already; give each a name of its own")
        stages[name] = Path(path)
    if not judge.llm:
        refuse(reading, asdict(reading), "is of a model that judges; name one by --judge")
    answers = ledger or out.parent / "ledger.sqlite"
    asked = {"llm": judge.open(None, answers), "reading": asdict(reading)} if judge.llm else {}
    with resumable():
        found = report_constitutional(out, stages=stages, chains=chains or [], ledger=answers, **asked)
    for section in found.sections:
        if section.key in ("stages", "revisions"):
            figures = [section.columns.index(name) for name in ("harmless", "help")]
            named = range(section.columns.index("n"))
            rows = [
                [", ".join(str(row[at]) for at in named), *(_with_n(row[at]) for at in figures)] for row in section.rows
            ]
            print_table([section.title.lower(), "harmless", "help"], rows)
    if (failed := found.about["Judgements that failed"]) != "-":
        say.print(f"judgements that failed, which no figure counts: {failed}", markup=False)
    typer.echo(f"{out / 'report.html'}: the whole report")


def _with_n(one: "Cell") -> str:
    """A figure of a report with what it is of."""
    from rlaif.statistics.intervals import Estimate

    return f"{one}, n = {one.n:,}" if isinstance(one, Estimate) else str(one)
