"""A constitution as a page of text, for people to read."""

import textwrap
from collections.abc import Iterator
from typing import Literal

from rlaif.constitution.principles import Constitution
from rlaif.records import Query

Kind = Literal["critique", "revision", "comparison"]

_WIDTH = 100


def page(constitution: Constitution, kind: Kind | None = None) -> str:
    """Lay out a constitution.

    Args:
        constitution: any.
        kind: only critique requests, revision requests or comparison questions, each with the exemplars that show it;
            everything if None.

    Returns:
        Lines of at most 100 characters, without a newline at the end.
    """
    blocks = [constitution.title.upper(), _wrapped(constitution.description, "")]
    if kind in (None, "critique", "revision"):
        blocks += _principles(constitution, kind)
    if kind in (None, "comparison"):
        blocks += _comparisons(constitution)
    return "\n\n".join(blocks)


def _principles(constitution: Constitution, kind: Kind | None) -> Iterator[str]:
    requests = {"critique": "critique requests", "revision": "revision requests"}.get(kind or "", "principles")
    yield _heading(requests, len(constitution.principles))
    for number, one in enumerate(constitution.principles, 1):
        fields = {"critique": one.critique_request, "revision": one.revision_request}
        yield _block(f"{number}. {one.id}", {name: text for name, text in fields.items() if kind in (None, name)})
    if constitution.revision_exemplars:
        yield _heading("exemplars of a revision", len(constitution.revision_exemplars))
    for number, each in enumerate(constitution.revision_exemplars, 1):
        fields = {"query": _query(each.query), "response": each.response, "critique": each.critique}
        if kind != "critique":
            fields["revision"] = each.revision
        yield _block(f"{number}. by {each.principle}", fields)


def _comparisons(constitution: Constitution) -> Iterator[str]:
    yield _heading("comparison questions", len(constitution.comparison_principles))
    for number, one in enumerate(constitution.comparison_principles, 1):
        yield _block(f"{number}. {one.id}", {"": one.question})
    if constitution.comparison_exemplars:
        yield _heading("exemplars of a comparison", len(constitution.comparison_exemplars))
    for number, each in enumerate(constitution.comparison_exemplars, 1):
        fields = {"query": _query(each.query), "response 1": each.response_1, "response 2": each.response_2}
        yield _block(
            f"{number}. by {each.principle}",
            fields | {"rationale": each.rationale, "preferred": f"response {each.preferred}"},
        )


def _heading(name: str, count: int) -> str:
    heading = f"{name[0].upper()}{name[1:]} ({count})"
    return f"{heading}\n{'-' * len(heading)}"


def _query(query: Query) -> str:
    if len(query) == 1 and query[0].role == "user":
        return query[0].content
    return "\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in query)


def _block(title: str, fields: dict[str, str]) -> str:
    return "\n".join([title, *(_wrapped(text, f"{name}: " if name else "", 3) for name, text in fields.items())])


def _wrapped(text: str, label: str, indent: int = 0) -> str:
    """The paragraphs of a text, the first behind its label."""
    lines = []
    for number, paragraph in enumerate(text.splitlines()):
        start = " " * indent + (label if number == 0 else "")
        rest = " " * (indent + (2 if label else 0))
        lines.append(textwrap.fill(paragraph, _WIDTH, initial_indent=start, subsequent_indent=rest))
    return "\n".join(lines)
