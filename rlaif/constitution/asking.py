"""What a model reads when it is asked by a constitution: for a critique, a revision, or a comparison.

The layouts are templates in `constitutions/prompts/`. What is the same for every item of a run, preamble and
exemplars, comes first (for prompt caches), then the conversation with its responses, and what is drawn for the item.

Texts that come from data or from a model are indented behind a label (`rlaif.prompting.as_data`), and a critique stands
in one line: none can imitate a request, an option or an exemplar. Requests and questions are the constitution's own.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, Final

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rlaif.constitution.principles import PARTS_OF, ComparisonPrinciple, Constitution, Draws, Principle
from rlaif.errors import ConfigError
from rlaif.prompting import PLACEHOLDERS, Prompt, as_data, layout_sha256, packaged_folder
from rlaif.records import Turn

_HEADING: Final = "### Example {number}"
_SAMPLE_HEADING: Final = "### Your turn"
_BEFORE: Final = r"[\s*_`\"':(\[]*"
_BEHIND: Final = r"*_`\"')\].:;,"
# Behind the ending, with markdown around it: alone in its line, or closed by a sign. Not "A response that", which has
# an article, and neither "A or B" nor "(A), (B)", which choose nothing.
_OPTION: Final = re.compile(
    rf"better option is{_BEFORE}(?:[Oo]ption{_BEFORE})?([AB])"
    rf"(?=[{_BEHIND}]*(?:\s*(?:$|\n)|(?<=[)\].:;,])\s))"
    rf"(?![ \t{_BEHIND}]*+(?:[/&-]|[*_`\"'(\[]*[AB]\b))"
    rf"(?![\s{_BEHIND}]*+(?:or\b|and\b{_BEFORE}[AB]\b))"
)


def texts_sha256(constitution: Constitution, kind: Draws) -> str:
    """The hash of everything that can change what is revised or compared by a constitution; its titles cannot.

    Args:
        constitution: any.
        kind: of which principles and exemplars. In which order the principles stand changes nothing.
    """
    section, worked = PARTS_OF[kind]
    principles = sorted((one.model_dump() for one in getattr(constitution, section)), key=lambda one: str(one["id"]))
    texts = [principles, [one.model_dump() for one in getattr(constitution, worked)]]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


@cache
def _environment() -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(packaged_folder("constitutions") / "prompts"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def _render(part: str, **data: Any) -> str:
    return _environment().get_template(f"{part}.j2").render(data).strip("\n")


def _turns(query: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": as_data(turn.content)} for turn in query]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shared(preamble: str, worked: Sequence[str]) -> str:
    """Preamble and worked examples, and the heading over what is asked."""
    blocks = [preamble]
    for number, one in enumerate(worked, 1):
        blocks += [_HEADING.format(number=number), one]
    return "\n\n".join([*blocks, *([_SAMPLE_HEADING] if worked else [])]) + "\n\n"


def _enough(constitution: Constitution, section: str, wanted: int) -> Any:
    have = getattr(constitution, section)
    if not 0 <= wanted <= len(have):
        raise ConfigError(f"constitution {constitution.title}: has {len(have)} {section}; {wanted} were asked for")
    return have[:wanted]


class RevisionPrompter:
    """Asks for critiques and revisions (arXiv:2212.08073, section 3.1), or for revisions without a critique.

    Attributes:
        about: what is asked, in words, for messages.
        ends: where a model stops that would go on with the layout by itself. A heading of its own, such as
            "### Example", is no end.
    """

    def __init__(self, constitution: Constitution, exemplars: int = 0, critique: bool = True) -> None:
        """Render what all prompts share.

        Args:
            constitution: has the exemplars.
            exemplars: how many worked rounds come before the question.
            critique: whether a critique comes before each revision.

        Raises:
            ConfigError: the constitution has fewer exemplars.
        """
        self.shared = ""
        what = "critique and revision" if critique else "revision without critique"
        self.about = f"constitution {constitution.title}, {what}, {exemplars} exemplars"
        by_id = {one.id: one for one in constitution.principles}
        worked = []
        for one in _enough(constitution, "revision_exemplars", exemplars):
            asked = self.revision(one.query, one.response, by_id[one.principle], one.critique if critique else None)
            worked.append(f"{asked.question}\n\n{asked.continuation} {as_data(one.revision)}")
        headings = (_HEADING.format(number=exemplars + 1), _SAMPLE_HEADING) if worked else ()
        self.ends = tuple(f"\n{start}" for start in ("Critique request:", "Revision request:", *headings))
        self.shared = _shared(_render("revision_preamble", critical=critique), worked)

    def critique(self, query: Sequence[Turn], response: str, principle: Principle) -> Prompt:
        """The prompt for a critique of a response.

        Args:
            query: the conversation, oldest turn first.
            response: to its last turn.
            principle: whose critique request is asked.
        """
        return self._prompt("critique", query, response, critique_request=_one_line(principle.critique_request))

    def revision(self, query: Sequence[Turn], response: str, principle: Principle, critique: str | None) -> Prompt:
        """The prompt for a revision of a response.

        Args:
            query: the conversation, oldest turn first.
            response: to its last turn.
            principle: whose revision request is asked.
            critique: what was written of the response, or None where none is wanted.
        """
        return self._prompt(
            "revision",
            query,
            response,
            critique_request=_one_line(principle.critique_request),
            critique=None if critique is None else _one_line(critique),
            revision_request=_one_line(principle.revision_request),
        )

    def _prompt(self, part: str, query: Sequence[Turn], response: str, **requests: str | None) -> Prompt:
        text = _render(part, query=_turns(query), response=as_data(response), **requests)
        question, _, continuation = text.rpartition("\n")
        return Prompt(self.shared, question.rstrip(), continuation)

    @cached_property
    def sha256(self) -> str:
        """The hash of everything that is neither data nor the constitution's."""
        principle = Principle(id="p", critique_request="C", revision_request="R")
        turns = (Turn(role="user", content="U1"), Turn(role="assistant", content="A1"))
        asked = [self.critique(turns, "R1", principle), self.revision(turns, "R1", principle, "W")]
        asked.append(self.revision(turns, "R1", principle, None))
        return hashlib.sha256("\0".join(one.text for one in asked).encode()).hexdigest()


class ComparisonPrompter:
    """Asks which of two responses answers one principle's question better (arXiv:2212.08073, section 4.1).

    The options are (A), shown first, and (B). It has what a task's `Prompter` has for a verdict.
    """

    verdicts: tuple[str, ...] = ("A", "B")
    pattern = _OPTION

    def __init__(
        self, constitution: Constitution, principle: ComparisonPrinciple, exemplars: int = 0, rationale: bool = False
    ) -> None:
        """Render what all prompts share.

        Args:
            constitution: has the exemplars.
            principle: whose question is asked.
            exemplars: how many worked comparisons come before the question, each with a question of its own.
            rationale: whether the model first writes a rationale.

        Raises:
            ConfigError: the constitution has fewer exemplars.
        """
        self.principle, self.rationale, self.shared = principle, rationale, ""
        self.about = f"constitution {constitution.title}, comparison, {exemplars} exemplars"
        self.ending = _render("comparison_ending")
        by_id = {one.id: one for one in constitution.comparison_principles}
        worked = []
        for one in _enough(constitution, "comparison_exemplars", exemplars):
            asked = self._ask(by_id[one.principle], one.query, one.response_1, one.response_2)
            if rationale:
                asked = self.conclude(asked, one.rationale)
            worked.append(f"{asked.question}\n\n{asked.continuation}{self.verdicts[one.preferred - 1]})")
        self.shared = _shared(_render("comparison_preamble"), worked)

    def ask(self, query: Sequence[Turn], *responses: str) -> Prompt:
        """The first prompt for one item: for its rationale where one is wanted, else for its verdict.

        Args:
            query: the conversation, oldest turn first; may be empty.
            *responses: two texts in the order shown.
        """
        return self._ask(self.principle, query, *responses)

    def _ask(self, principle: ComparisonPrinciple, query: Sequence[Turn], *responses: str) -> Prompt:
        first, second = map(as_data, responses)
        question = _one_line(principle.question)
        text = _render("comparison", query=_turns(query), question=question, response_1=first, response_2=second)
        end = _render("comparison_rationale") if self.rationale else self.ending
        request, _, continuation = end.rpartition("\n")
        return Prompt(self.shared, "\n\n".join([text, *([request.rstrip()] if request else [])]), continuation)

    def conclude(self, prompt: Prompt, rationale: str) -> Prompt:
        """The second prompt: the first with the rationale that was written, in one line, then the ending.

        Args:
            prompt: what `ask` returned.
            rationale: the model's text.
        """
        thought = f"{prompt.continuation} {_one_line(rationale)}".rstrip()
        return Prompt(prompt.shared, prompt.question, f"{thought}\n\n{self.ending}")

    @cached_property
    def sha256(self) -> str:
        """The hash of everything that is neither data nor the principle's: exemplars are in there."""
        first = self._ask(ComparisonPrinciple(id="p", question="Q"), PLACEHOLDERS, "R1", "R2")
        return layout_sha256(first, self.conclude(first, "W"))
