"""Recorded judgements: from the fields of a row to what a labeler said, in each order. Pure.

A row may hold a soft label of ours (`preference`, `preference_12`, `preference_21`), anybody's verdict (`verdict`, or
`verdict_12` and `verdict_21`: which *response* won), or the raw text of a completion (`completion`, or
`completion_12` and `completion_21`: which *position* won, since the model saw no more than that).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from rlaif.errors import ConfigError, RowError
from rlaif.records import Order

Side = Literal[0, 1, 2, 3, 4]
SECOND, TIE, FIRST, UNREAD, ABSENT = 0, 1, 2, 3, 4
"""Sides of a comparison, as codes: response 2, neither, response 1, asked for but not read, not asked for."""

FIELDS = ("preference", "verdict", "completion")
MEANINGS: Mapping[str, float] = {
    **dict.fromkeys(("1", "a", "first"), 1.0),
    **dict.fromkeys(("2", "b", "second"), 0.0),
    **dict.fromkeys(("tie", "draw", "c"), 0.5),
}
"""What a verdict says, in any case, where the user does not say it."""

VERDICT = re.compile(
    r"""(?ix:
        \A [\s\W]*                                                       # nothing but the verdict
        (?: (?:output|response|answer|assistant|option|summary|model) \s* )?
        [(\[*#"'`]* (?: a\ (?=tie) )? (1|2|a|b|c|tie) [)\]*"'`.:]* \s* \Z
      |
        (?<!whether\ )(?<!if\ )(?<!n't\ think\ )(?<!not\ think\ )(?<!n't\ say\ )(?<!not\ say\ )(?<!n't\ mean\ )
        (?<!n't\ think\ that\ )(?<!not\ think\ that\ )(?<!wrong\ to\ say\ )(?<!wrong\ to\ say\ that\ )
        \b (?:output|response|answer|assistant|option|summary|model)
        \s* [(\[*"'`]* (1|2|a|b) [)\]*"'`]* \s+ is \s+
        (?: (?:clearly|therefore|thus|overall|slightly|much|far|definitely|the) \s+ )*
        (?: better | best | preferred | superior | preferable ) \b (?! \s*\? )
      |
        \b (?:better|best|preferred|final\ verdict|verdict|winner)
        (?: \s+ (?:output|response|answer|assistant|option|summary|model) )?
        \s* (?: [:=] | \b is \b ) [\s*"'`]*
        (?: (?:output|response|answer|assistant|option|summary|model) \s* )?
        [(\[*"'`]* (?: a\ (?=tie) )? (?! (?-i: a\ +[a-z]) )              # but not the article
        (1|2|a|b|tie) (?![^\W_]|[.,]\d)
      |
        \[\[ (a|b|c) \]\]
    )"""
)
"""A completion that is nothing but a verdict, or that states one: "Output (a) is better", "Better response: 2"."""


@dataclass(frozen=True, slots=True)
class VerdictReading:
    """How recorded verdicts are read.

    Attributes:
        pattern: what states a verdict in a completion; the last match counts, and its last group that took part.
        meanings: what a verdict or a match says, in lower case: P(response 1, or the one shown first, is preferred).
    """

    pattern: re.Pattern[str] = VERDICT
    meanings: Mapping[str, float] = field(default_factory=lambda: MEANINGS)

    @classmethod
    def of(cls, pattern: str | None, values: Mapping[str, Mapping[str, Any]]) -> "VerdictReading":
        """Take a user's own pattern and meanings.

        Args:
            pattern: a regular expression with at least one group; the default one if None.
            values: a column map's; those of `verdict` or `completion` count.

        Raises:
            ConfigError: it is no regular expression, or a meaning is no number in [0, 1].
        """
        try:
            compiled = VERDICT if pattern is None else re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"the verdict pattern {pattern!r} is not a regular expression ({error})") from error
        if not compiled.groups:
            raise ConfigError(f"the verdict pattern {pattern!r} has no group; put one around the verdict")
        own: dict[str, float] = {}
        for name, meanings in values.items():
            for value, meaning in meanings.items() if name.startswith(("verdict", "completion")) else ():
                if isinstance(meaning, bool) or not isinstance(meaning, int | float) or not 0 <= meaning <= 1:
                    raise ConfigError(f"{name}: {value} means {meaning!r}; write 1 (the first), 0 (the second) or 0.5")
                own[value.casefold()] = float(meaning)
        return cls(compiled, own or MEANINGS)

    def stated(self, text: str) -> float | None:
        """What a completion states.

        Args:
            text: the whole completion.

        Returns:
            P(the response shown first is preferred) by the *last* statement, since earlier ones may be quoted; None
            where there is none, or one that means nothing here.
        """
        last = None
        for last in self.pattern.finditer(text):  # noqa: B007  (the last one counts)
            pass
        return None if last is None else self.meant(last.group(last.lastindex or 0))

    def meant(self, verdict: object) -> float | None:
        """What a recorded verdict means.

        Args:
            verdict: a text or a number.

        Returns:
            P(response 1 preferred); None where the value is not known.
        """
        if isinstance(verdict, float) and verdict.is_integer():
            verdict = int(verdict)
        return None if isinstance(verdict, bool) else self.meanings.get(str(verdict).strip().casefold())


class Judgement(NamedTuple):
    """What a labeler said of one comparison: P(response 1 preferred).

    Attributes:
        preference: over what was asked; None where it was asked and could not be read.
        orders: the same for each order that was asked, by its name.
        failure: the kind of failure, where there is no preference.
    """

    preference: float | None
    orders: Mapping[Order, float | None]
    failure: str | None

    def swapped(self) -> "Judgement":
        """The same judgement where response 1 is called response 2."""
        other: dict[Order, Order] = {"12": "21", "21": "12"}
        orders = {other[order]: _complement(said) for order, said in self.orders.items()}
        return Judgement(_complement(self.preference), orders, self.failure)


def _complement(preference: float | None) -> float | None:
    return None if preference is None else 1 - preference


def side(preference: float | None) -> int:
    """The code of a preference: FIRST, TIE, SECOND, or UNREAD for none."""
    if preference is None:
        return UNREAD
    return TIE if preference == 0.5 else FIRST if preference > 0.5 else SECOND


def is_judged(fields: Mapping[str, Any]) -> bool:
    """Whether a row has a field that a judgement is read from."""
    return "failure" in fields or any(name in fields for base in FIELDS for name in (base, f"{base}_12", f"{base}_21"))


def read_judgement(fields: Mapping[str, Any], reading: VerdictReading) -> Judgement:
    """Read what a labeler said from the fields of one row.

    Args:
        fields: the row, under our names.
        reading: how verdicts are read.

    Returns:
        The judgement; one that cannot be read is a failure, `unreadable`.

    Raises:
        RowError: a preference is no number in [0, 1].
    """
    names: tuple[Order, ...] = ("12", "21")
    orders = {order: _of_order(fields, order, reading) for order in names if _was_asked(fields, order)}
    if fields.get("failure"):
        # Where one order did succeed, it was the other one that failed.
        orders = {order: orders.get(order) for order in names} if orders else orders
        return Judgement(None, orders, str(fields["failure"]))
    if "preference" in fields:
        said = _probability("preference", fields["preference"])
    elif "verdict" in fields:
        said = reading.meant(fields["verdict"])
    elif "completion" in fields:
        said = _stated(fields["completion"], reading)
    else:
        read = [one for one in orders.values() if one is not None]
        said = math.fsum(read) / len(read) if read and len(read) == len(orders) else None
    return Judgement(said, orders, "unreadable" if said is None else None)


def _was_asked(fields: Mapping[str, Any], order: Order) -> bool:
    return any(f"{base}_{order}" in fields for base in FIELDS)


def _of_order(fields: Mapping[str, Any], order: Order, reading: VerdictReading) -> float | None:
    if (soft := fields.get(f"preference_{order}")) is not None:
        return _probability(f"preference_{order}", soft)
    if f"verdict_{order}" in fields:
        return reading.meant(fields[f"verdict_{order}"])
    first = _stated(fields.get(f"completion_{order}"), reading)
    return first if order == "12" else _complement(first)


def _stated(text: object, reading: VerdictReading) -> float | None:
    return reading.stated(text) if isinstance(text, str) else None


def _probability(name: str, value: object) -> float | None:
    """A number in [0, 1]; None, or an empty cell, is a label that is missing."""
    if value is None or value == "":
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise RowError(f"{name} is {value!r}; it must be a number in [0, 1], P(response 1 preferred)")
    return number
