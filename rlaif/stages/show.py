"""Rendered prompts, for people to read."""

from collections.abc import Iterator
from itertools import islice

from rlaif.columns import ColumnMap
from rlaif.config import build
from rlaif.constitution.asking import RevisionPrompter
from rlaif.constitution.compare import PrincipleConfig, Questions
from rlaif.constitution.files import load_constitution
from rlaif.constitution.principles import draw
from rlaif.conventions import Format, read_comparisons, read_drafts, read_responses
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


def revision_prompts(
    constitution: str,
    data: str,
    show: int,
    *,
    columns: ColumnMap | None = None,
    exemplars: int = 0,
    critique: bool = True,
    principles: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, str]]:
    """Render the first round of the first rows as `rlaif revise` asks it.

    Args:
        constitution: a name or a path.
        data: a path, of responses, samples or queries.
        show: how many rows.
        columns: which column holds which field.
        exemplars: how many.
        critique: whether a critique comes before the revision.
        principles: draw from so many of the first only; from all if None.
        seed: of the run, by which principles are drawn.

    Yields:
        A heading and a prompt; what is not there yet is marked with `<response>` and `<critique>`.
    """
    loaded = load_constitution(constitution)
    if principles is not None:
        loaded = loaded.first(principles, "revision")
    prompter = RevisionPrompter(loaded, exemplars, critique)
    for where, item in islice(read_drafts(data, columns), show):
        if isinstance(item, RowError):
            yield where, f"(rejected: {item})"
            continue
        (principle,) = draw(loaded, "revision", seed, item.drawn_by, 1)
        response = item.response if item.response is not None else "<response>"
        row = f"{where} · {item.id}"
        if critique:
            yield f"{principle.id}, critique · {row}", prompter.critique(item.query, response, principle).text
        said = "<critique>" if critique else None
        yield f"{principle.id}, revision · {row}", prompter.revision(item.query, response, principle, said).text


def comparison_prompts(
    constitution: str,
    data: str,
    show: int,
    *,
    columns: ColumnMap | None = None,
    exemplars: int = 0,
    rationale: bool = False,
    principles: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, str]]:
    """Render the first rows as `rlaif label --constitution` asks them, in the first order.

    Args:
        constitution: a name or a path.
        data: a path, of pairs.
        show: how many rows.
        columns: which column holds which field.
        exemplars: how many.
        rationale: whether the model is asked to think first.
        principles: draw from so many of the first only; from all if None.
        seed: of the run, by which principles are drawn.

    Yields:
        A heading and a prompt; a rationale's place is marked with `<rationale>`.
    """
    settings = {"exemplars": exemplars, "rationale": rationale, "principles": principles, "seed": seed}
    questions = Questions(constitution, build(PrincipleConfig, settings, "prompts"))
    for where, item in islice(read_comparisons(data, columns=columns), show):
        if isinstance(item, RowError):
            yield where, f"(rejected: {item})"
            continue
        for principle, prompter in questions.of(item.id).items():
            first = prompter.ask(item.query, item.response_1, item.response_2)
            text = (prompter.conclude(first, "<rationale>") if rationale else first).text
            yield f"{principle} · {where} · {item.id}", text
