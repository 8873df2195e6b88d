"""What a server's status and headers mean, whatever its protocol."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rlaif.llm.gate import Fault

TRY_AGAIN = frozenset({408, 409, 425})
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_WAIT_S = 600.0


def fault_of(status: int, headers: Mapping[str, str], detail: str) -> Fault | None:
    """What may be tried again, with what the server asks for.

    Args:
        status: of the response.
        headers: of the response.
        detail: what is said of it.

    Returns:
        A fault for 429, 5xx and the few others that pass by themselves, else None.
    """
    overloaded = status == 429 or status >= 500
    if not overloaded and status not in TRY_AGAIN:
        return None
    milliseconds = headers.get("retry-after-ms")
    wait = retry_after_s(f"{milliseconds}ms" if milliseconds else headers.get("retry-after"))
    return Fault(detail, overloaded=overloaded, retry_after_s=wait)


def retry_after_s(text: str | None) -> float | None:
    """How long a header asks to wait.

    Args:
        text: seconds, a date (of HTTP or ISO 8601), or a duration such as `6m0s` or `20ms`.

    Returns:
        Seconds in [0, 600]; None where there is nothing that can be read.
    """
    if not text:
        return None
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    elif re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    else:
        date = _date(text)
        if date is None or date.tzinfo is None:
            return None
        seconds = (date - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def start_of(body: object) -> str:
    """The first characters of a response, for a person to see what came instead of an answer.

    Args:
        body: as JSON values.
    """
    return repr(json.dumps(body, ensure_ascii=False)[:80])


def _date(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text)
        except ValueError:
            continue
    return None
