"""Which prompt agrees best with people: the grid of arXiv:2309.00267 on a sample of one's own data, under a budget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, read_comparisons
from rlaif.errors import BudgetError, ConfigError, InputError, RowError
from rlaif.evaluation.aligned import alignment
from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.items import Gathering
from rlaif.evaluation.policy import Policy
from rlaif.evaluation.prompts import PromptSettings, effects, grid
from rlaif.evaluation.report import Report
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import LLM
from rlaif.prompting import Preamble
from rlaif.stages.judge import judge_file
from rlaif.stages.labels import read_labels
from rlaif.stages.panel import folder_name


@dataclass(frozen=True, slots=True)
class Grid:
    """What is varied; every combination is one prompt.

    Attributes:
        preambles: of the task.
        exemplars: how many.
        rationales: without and with.
        self_consistency: how many rationales are averaged; above 1 only with a rationale.
        temperature: of the rationales where several are averaged.
    """

    preambles: Sequence[Preamble] = ("base", "detailed")
    exemplars: Sequence[int] = (0, 1, 2)
    rationales: Sequence[bool] = (False, True)
    self_consistency: Sequence[int] = (1,)
    temperature: float = 0.7

    def prompts(self, llm: str) -> Iterator[PromptSettings]:
        """Every combination, the cheapest first.

        Args:
            llm: whose.
        """
        for several, rationale, count, preamble in product(
            sorted(self.self_consistency), sorted(self.rationales), sorted(self.exemplars), self.preambles
        ):
            if several == 1 or rationale:
                yield PromptSettings(llm, preamble, count, rationale, several)


def compare_prompts(
    task: str,
    llms: Sequence[LLM],
    data: Any,
    out: Path,
    choices: Grid | None = None,
    *,
    sample: int = 200,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    policy: Policy | None = None,
    by: Sequence[str] = (),
    cluster: str | None = None,
    resampling: Resampling | None = None,
    ledger: Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Report:
    """Label the same random items with every prompt of a grid, and compare agreement with people.

    Each prompt has a run folder of its own in `out`: run again to go on, and what was answered is not asked again.

    Args:
        task: a task's name or folder.
        llms: the models.
        data: a path, or a table that can be read again for each prompt; with people's labels.
        out: the folder for the run folders.
        choices: what is varied.
        sample: how many items.
        format: whose convention the rows follow.
        columns: which column holds which field.
        policy: what counts as agreement.
        by: columns by whose values agreement is sliced.
        cluster: the column that says which comparisons belong together; the query if None.
        resampling: how intervals are drawn.
        ledger: where answers are kept; `ledger.sqlite` in `out` if None.
        progress: show it on standard error.
        **settings: further fields of `PreferenceConfig`.

    Returns:
        The report. Where the money ran out, of the prompts that were done by then; it says which are missing.

    Raises:
        InputError: the data cannot be read, or people labeled none of it; nothing was asked.
        ConfigError: the grid is empty.
        BudgetError: not even one prompt could be paid for.
    """
    policy, resampling, choices = policy or Policy(), resampling or Resampling(), choices or Grid()
    _check_people(data, format, columns)
    wanted = [(one, llm) for llm in llms for one in choices.prompts(llm.name)]
    if not wanted:
        raise ConfigError("the grid is empty; self_consistency above 1 needs a rationale")
    # All of them are made before the first is asked: a wrong setting costs nothing.
    labelers = [(one, _labeler(task, llm, one, choices.temperature, settings)) for one, llm in wanted]
    gathering, done, missing = Gathering(), dict[str, PromptSettings](), list[str]()
    for number, (one, labeler) in enumerate(labelers):
        folder = out / folder_name(str(one))
        try:
            judge_file(
                labeler,
                data,
                folder,
                format=format,
                columns=columns,
                sample=sample,
                ledger=ledger or out / "ledger.sqlite",
                progress=progress,
            )
        except BudgetError:
            if not done:
                raise
            missing = [str(other) for other, _ in labelers[number:]]
            break
        gathering.add_labels(str(one), ((str(folder), row) for row in read_labels(folder)))
        done[str(one)] = one
    items = gathering.items(cluster)
    found = alignment(items, policy=policy, by=by, resampling=resampling)
    about = {"Data": str(data), "Sample": f"{sample:,} random items", **found.about}
    if missing:
        about["Not done, since the money ran out"] = ", ".join(missing)
    parts = effects(items, done, policy, resampling)
    first = [grid(items, done, policy, resampling), *([parts] if parts else [])]
    return Report("Prompts compared", about, [*first, *found.sections], found.pairs)


def _labeler(
    task: str, llm: LLM, one: PromptSettings, temperature: float, settings: dict[str, Any]
) -> PreferenceLabeler:
    return PreferenceLabeler(
        task,
        llm,
        preamble=one.preamble,
        exemplars=one.exemplars,
        rationale=one.rationale,
        self_consistency=one.self_consistency,
        temperature=temperature if one.self_consistency > 1 else 0.0,
        **settings,
    )


def _check_people(data: Any, format: Format, columns: ColumnMap | None) -> None:
    for _, item in read_comparisons(data, format, columns):
        if not isinstance(item, RowError) and (item.human_preference is not None or item.annotations):
            return
    raise InputError(f"{data}: people labeled none of it; prompts are compared by agreement with human_preference")
