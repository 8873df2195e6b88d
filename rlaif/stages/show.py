"""Rendered prompts, for people to read."""

from collections.abc import Iterator
from itertools import islice

from rlaif.columns import ColumnMap
from rlaif.config import build
from rlaif.conventions import Format, read_comparisons, read_responses
from rlaif.errors import RowError
from rlaif.labeling.preference import PreferenceConfig
from rlaif.prompting import Judgement, Prompter, load_task
from rlaif.records import Comparison


def rendered_prompts(
    task: str,
    data: str,
    show: int,
    score: bool = False,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    preamble: str = "detailed",
    exemplars: int = 0,
    rationale: bool = False,
) -> Iterator[tuple[str, str]]:
    """Render the first rows of a file as a model would read them.

    Args:
        task: a task's name or folder.
        data: a path.
        show: how many rows.
        score: the prompt that scores, not the one that compares.
        format: whose convention the rows follow.
        columns: which column holds which field.
        preamble: which preamble.
        exemplars: how many.
        rationale: whether the model is asked to think first.

    Yields:
        A heading and the prompt; a rationale's place is marked with `<rationale>`.
    """
    settings = {"preamble": preamble, "exemplars": exemplars, "rationale": rationale}
    config = build(PreferenceConfig, settings, "prompt")
    judgement: Judgement = "score" if score else "preference"
    prompter = Prompter(load_task(task), judgement, config.preamble, config.exemplars, config.rationale)
    rows = read_responses(data, format, columns) if score else read_comparisons(data, format, columns)
    for where, item in islice(rows, show):
        if isinstance(item, RowError):
            yield where, f"(rejected: {item})"
            continue
        texts = (item.response_1, item.response_2) if isinstance(item, Comparison) else (item.response,)
        first = prompter.ask(item.query, *texts)
        yield f"{where} · {item.id}", (prompter.conclude(first, "<rationale>") if rationale else first).text
