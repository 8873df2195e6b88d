"""Options that several commands take, in groups: a command names a group once and receives it filled."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from rlaif.errors import ConfigError, did_you_mean

_KIND, _EMPTY = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Spread a command's dataclass parameters into options, one for each field.

    Args:
        command: some of its parameters are annotated with dataclasses of Typer options.

    Returns:
        What Typer takes for a command with all these options.
    """
    flat: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            hints = get_type_hints(parameter.annotation, include_extras=True)
            flat += [
                inspect.Parameter(
                    one.name,
                    _KIND,
                    default=_default(one),
                    annotation=hints[one.name],
                )
                for one in fields(parameter.annotation)
            ]
        else:
            flat.append(parameter.replace(kind=_KIND))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        command(**given)

    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run


def _default(one: "Field[Any]") -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return _EMPTY if one.default is MISSING else one.default


def refuse(group: Any, names: Collection[str], why: str) -> None:
    """Raise a `ConfigError` for the first option of a group that is not as it is by itself, and is no use here.

    Args:
        group: a filled dataclass of options.
        names: of its fields that are of no use.
        why: behind the option's name, what it belongs to and what to do.
    """
    for one in fields(group):
        given = getattr(group, one.name)
        if one.name in names and given != _default(one):
            flag = f"--{'no-' if given is False else ''}{one.name.replace('_', '-')}"
            raise ConfigError(f"{flag} {why}")


class FormatName(StrEnum):
    """Conventions of rows that can be read."""

    auto = "auto"
    comparisons = "comparisons"
    hh_rlhf = "hh-rlhf"
    trl = "trl"
    alpaca_eval = "alpaca-eval"
    pandalm = "pandalm"
    samples = "samples"


def panel(name: str, *flags: str, **about: Any) -> Any:
    """An option that `--help` shows in a panel of its own.

    Args:
        name: of the panel.
        *flags: as `typer.Option` takes them.
        **about: likewise.
    """
    return typer.Option(*flags, rich_help_panel=name, **about)


DataFile = Annotated[
    str, typer.Argument(metavar="FILE", help="JSONL, JSON, CSV (also .gz), Parquet, or a datasets folder.")
]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FIELD=COLUMN]...", help="More pairs for --map.", show_default=False),
]
Format = Annotated[FormatName, typer.Option("--format", help="Whose convention the rows follow.")]
Map = Annotated[
    str | None,
    typer.Option("--map", metavar="FIELD=COLUMN...|FILE.yaml", help="Which column holds which field."),
]
TASK = typer.Option("--task", help="summarization, helpfulness, harmlessness, or a task folder.")
TaskName = Annotated[str, TASK]
CONSTITUTION = typer.Option("--constitution", help="harmless, helpful-honest, or your own file or folder.")
Ledger = Annotated[
    Path | None, typer.Option("--ledger", envvar="RLAIF_LEDGER", help="Stored answers; ledger.sqlite beside --out.")
]
Exemplars = Annotated[int, typer.Option("--exemplars", min=0, help="Worked examples in the prompt.")]
Rationale = Annotated[bool, typer.Option("--rationale", help="Let the model think first (chain of thought).")]
PreambleName = Annotated[str, typer.Option("--preamble", help="base or detailed.")]


@dataclass(frozen=True, slots=True)
class Rows:
    """What is read, and where it goes."""

    data: DataFile
    out: Annotated[Path, typer.Option("--out", help="The run folder; run again to resume or grow.")]
    more: Words = None
    map: Map = None
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N rows.")] = None
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Take N random rows; a larger N holds a smaller.")
    ] = None
    ledger: Ledger = None
    retry_failures: Annotated[
        str | None,
        typer.Option("--retry-failures", metavar="all|KIND,...", help="Ask only for what failed, such as refused."),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be used.")] = False

    @property
    def ledger_file(self) -> Path:
        """Where answers are kept."""
        return self.ledger or self.out.parent / "ledger.sqlite"

    @property
    def kinds_to_retry(self) -> tuple[Any, ...] | None:
        """The kinds of failures that `--retry-failures` names; None without it."""
        from rlaif.records import FailureKind

        known = tuple(kind for kind in get_args(FailureKind) if kind != "rejected")
        if self.retry_failures is None or self.retry_failures == "all":
            return None if self.retry_failures is None else known
        kinds = tuple(kind.strip() for kind in self.retry_failures.split(","))
        for kind in kinds:
            if kind not in known:
                raise ConfigError(f"--retry-failures {kind}: no such kind{did_you_mean(kind, known)}")
        return kinds

    @property
    def options(self) -> dict[str, Any]:
        """What `judge_file` takes of these."""
        return {
            "columns": columns(self.map, self.more),
            "limit": self.limit,
            "sample": self.sample,
            "ledger": self.ledger_file,
            "strict": self.strict,
            "retry_failures": self.kinds_to_retry,
        }


@dataclass(frozen=True, slots=True)
class Run(Rows):
    """What is judged by a task, and where it goes."""

    named_task: Annotated[str | None, TASK] = None

    @property
    def task(self) -> str:
        """The task, which a labeler cannot do without."""
        if self.named_task is None:
            raise ConfigError("--task is missing; name summarization, helpfulness, harmlessness or a task folder")
        return self.named_task


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a model writes; the names are those of the settings."""

    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 takes the likeliest token.")] = 1.0
    top_p: Annotated[
        float, typer.Option("--top-p", min=0, max=1, help="Draw from the likeliest tokens of this mass.")
    ] = 1.0
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """How verdicts are read; the names are those of the settings."""

    method: Annotated[
        str,
        panel(
            "Verdicts",
            "--method",
            help="exact (log-probabilities of whole answers), logprobs (of the likeliest tokens), sampled (a share of "
            "answers), or verbalized (the model says how probable, label only); auto is one of the first two.",
        ),
    ] = "auto"
    draws: Annotated[
        int, panel("Verdicts", "--draws", min=1, help="Sampled answers in each order, with --method sampled.")
    ] = 16
    max_unread_mass: Annotated[
        float,
        panel("Verdicts", "--max-unread-mass", min=0, max=1, help="More on no offered answer: unreadable."),
    ] = 0.5
    seed: Annotated[int, panel("Verdicts", "--seed", help="Of everything that is drawn.")] = 0


@dataclass(frozen=True, slots=True)
class Thinking:
    """The rationale before a verdict; the names are those of the settings."""

    exemplars: Exemplars = 0
    rationale: Rationale = False
    self_consistency: Annotated[int, typer.Option("--self-consistency", min=1, help="Average over N rationales.")] = 1
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="Of the rationale; 0 is greedy.")] = 0.0
    max_rationale_tokens: Annotated[
        int, typer.Option("--max-rationale-tokens", min=1, help="The most tokens of a rationale.")
    ] = 512


@dataclass(frozen=True, slots=True)
class Principles:
    """The constitution that labels are asked for by, in place of a task."""

    constitution: Annotated[
        str | None,
        panel("Constitution", "--constitution", help="Label by its principles: harmless, helpful-honest, or a file."),
    ] = None
    principles_per_label: Annotated[
        int | None,
        panel("Constitution", "--principles-per-label", min=1, help="Drawn for each label, which is their mean; 1."),
    ] = None
    principles: Annotated[
        int | None, panel("Constitution", "--principles", min=1, help="Draw from the first N of the file only.")
    ] = None
    clamp: Annotated[
        float | None,
        panel(
            "Constitution",
            "--clamp",
            help="0.4: no preference by a principle below 40 or above 60 %; 0: off. 0.4 with --rationale, else 0.",
        ),
    ] = None

    def settings(self, task: str | None, preamble: str) -> dict[str, Any]:
        """What labels are asked for by: the settings that belong to a task, or to a constitution.

        Args:
            task: what `--task` names.
            preamble: which preamble `--preamble` names; a constitution has one.
        """
        names = ("principles_per_label", "principles", "clamp")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if (task is None) == (self.constitution is None):
            both = "exclude one another; leave one out" if task is not None else "are missing; name one of them"
            raise ConfigError(f"--task and --constitution {both}")
        if self.constitution is None:
            for name in given:
                raise ConfigError(f"--{name.replace('_', '-')} belongs to a constitution; name one by --constitution")
            return {"preamble": preamble}
        if preamble != "detailed":
            raise ConfigError(f"--preamble {preamble} is a task's; a constitution has one preamble")
        return given


@dataclass(frozen=True, slots=True)
class Chain:
    """How long what is written in a chain may be, and whether there are critiques."""

    critique: Annotated[
        bool, typer.Option("--critique/--no-critique", help="Whether a critique comes before each revision.")
    ] = True
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The most tokens of a response.")] = 512
    max_critique_tokens: Annotated[
        int, typer.Option("--max-critique-tokens", min=1, help="The most tokens of a critique.")
    ] = 256


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that ends in a report begin with a look whether it can be drawn.

    Args:
        command: any.
    """

    @wraps(command)
    def run(*words: Any, **options: Any) -> None:
        from rlaif.evaluation.plots import check_installed

        check_installed()
        command(*words, **options)

    return run


def columns(first: str | None, more: list[str] | None) -> Any:
    """The column map that `--map` and the words behind it describe; None without."""
    if first is None and more:
        raise ConfigError(f"unexpected {more[0]}; pairs of field and column follow --map")
    return column_words(first, more)


def column_words(first: str | None, more: list[str] | None) -> Any:
    """The column map that words of the command line describe; None without.

    Args:
        first: a pair of field and column, or a YAML file.
        more: further pairs.
    """
    from rlaif.columns import ColumnMap

    words = [*([first] if first is not None else []), *(more or [])]
    return ColumnMap.from_words(words) if words else None
