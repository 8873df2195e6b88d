"""Labels and people's judgements from files, joined and evaluated."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, read_fields
from rlaif.errors import InputError, RowError
from rlaif.evaluation.aligned import alignment
from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.items import Gathering
from rlaif.evaluation.policy import Policy, Ties, Unreadable
from rlaif.evaluation.report import Report
from rlaif.evaluation.verdicts import VerdictReading
from rlaif.io import is_path
from rlaif.stages.labels import is_run, read_labels
from rlaif.statistics.intervals import Estimate


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of somebody's, and how to read them.

    Attributes:
        source: a path, a DataFrame, a Dataset or an iterable.
        format: whose convention the rows follow.
        columns: which column holds which field.
    """

    source: Any
    format: Format = "auto"
    columns: ColumnMap | None = None

    def rows(self) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        """Stream the rows under our names."""
        return read_fields(self.source, self.format, self.columns)

    @property
    def name(self) -> str:
        """What to call it: a file without its suffixes."""
        return Path(self.source).name.split(".")[0] if is_path(self.source) else type(self.source).__name__


@dataclass(slots=True)
class _Sources:
    """Everything that is read before it is evaluated."""

    gathering: Gathering
    names: set[str] = field(default_factory=set)
    paths: set[Path] = field(default_factory=set)
    repeats: list[tuple[str, Estimate, float]] = field(default_factory=list)

    def add(self, table: Table) -> None:
        if is_path(table.source):
            if (path := Path(table.source).resolve()) in self.paths:
                raise InputError(f"{table.source}: is named twice; once is enough")
            self.paths.add(path)
        if not is_path(table.source) or not is_run(Path(table.source)):
            self.gathering.add_labels(self._free(table.name, table.name), table.rows())
            return
        folder = Path(table.source)
        manifest = _manifest(folder)
        if manifest.get("stage") == "panel":
            self._take(folder, "mean of the panel")
            for llm, member in manifest["members"].items():
                self._take(folder / member, llm)
        else:
            self._take(folder, str(manifest.get("llm", folder.name)))

    def _take(self, folder: Path, llm: str) -> None:
        name = self._free(llm, folder.name)
        self.gathering.add_labels(name, ((str(folder), row) for row in read_labels(folder)))
        if (again := _manifest(folder).get("reliability")) is not None:
            same = Estimate(again["value"], again["low"], again["high"], again["n"], again["n"], "wilson")
            self.repeats.append((name, same, again["difference"]))

    def _free(self, name: str, folder: str) -> str:
        """Two runs of one model are told apart by their folders."""
        taken = name if name not in self.names else f"{name} ({folder})"
        if taken in self.names:
            raise InputError(f"{folder}: two sources have this name; rename one of them")
        self.names.add(taken)
        return taken


def evaluate_alignment(
    sources: Sequence[Any],
    *,
    people: Any = None,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    people_format: Format = "auto",
    people_columns: ColumnMap | None = None,
    verdict_pattern: str | None = None,
    ties: Ties = "drop",
    unreadable: Unreadable = "drop",
    by: Sequence[str] = (),
    cluster: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Report:
    """Evaluate labels against people's: `rlaif evaluate alignment`.

    Args:
        sources: run folders of `rlaif label`, or files or tables with anybody's soft labels (`preference`), verdicts
            (`verdict`, or `verdict_12` and `verdict_21`) or raw completions (`completion`, …); with a column
            `labeler` one of them holds several labelers.
        people: a file or table with `id` and `human_preference` or `annotations`; what stands beside the labels if
            None.
        format: whose convention the sources follow that are no run folders.
        columns: which of their columns holds which field, and what a verdict's values mean.
        people_format: the same of `people`.
        people_columns: the same.
        verdict_pattern: a regular expression with a group for the verdict in a completion.
        ties: what is done where somebody is undecided.
        unreadable: what is done where a verdict could not be read.
        by: columns by whose values agreement is sliced.
        cluster: the column that says which comparisons belong together; the query if None.
        resamples: how many resamples intervals are drawn from.
        seed: of what is drawn.

    Returns:
        The report; `rlaif.evaluation.writing.write_report` writes it down.

    Raises:
        InputError: a file cannot be read, holds no judgements, or does not fit the others.
        ConfigError: no such policy, or a pattern that will not do.
    """
    policy = Policy(ties, unreadable)
    reading = VerdictReading.of(verdict_pattern, columns.values if columns else {})
    gathering = Gathering(reading, people_beside=people is None)
    found = _Sources(gathering)
    for source in sources:
        found.add(Table(source, format, columns))
    about = {"Labels": ", ".join(_shown(source) for source in sources)}
    if people is not None:
        table = Table(people, people_format, people_columns)
        gathering.add_people(_shown(people), table.rows())
        about["People"] = _shown(people)
    if gathering.unusable:
        about["Rows that cannot be read"] = ", ".join(f"{n:,} of {name}" for name, n in gathering.unusable.items())
    items = gathering.items(cluster)
    weights = {item.columns.get("weight") for item in items.items if item.human is not None}
    if len(weights - {None}) > 1:
        about["Sampled unevenly"] = (
            "people labeled some strata more than others (column weight), and figures are of the pairs they labeled; "
            "of all labels rlaif audit collect tells the agreement"
        )
    return alignment(
        items,
        policy=policy,
        by=by,
        resampling=Resampling(resamples, seed),
        about=about,
        repeats=found.repeats,
    )


def _shown(source: Any) -> str:
    return str(source) if is_path(source) else type(source).__name__


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not JSON ({error})") from error
    return content if isinstance(content, dict) else {}
