"""Chains of revisions, read back: what became of their rounds, and what a policy learns from them (SL-CAI)."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rlaif.conventions import read_responses
from rlaif.errors import ConfigError, InputError, RowError
from rlaif.io import read_rows, write_rows
from rlaif.records import RevisionChain, parse
from rlaif.stages.labels import records_file

Taken = Literal["all", "last"]


@dataclass(slots=True)
class Rounds:
    """What became of the rounds of chains.

    Attributes:
        chains: how many.
        rounds: of all chains.
        kept: rounds whose revision was gone on from.
        flags: how many rounds have each.
        unrevised: chains without any revision.
        sampled: chains whose first response was sampled, since their rows had none.
        cut_off: chains whose first response was sampled and reached the token limit.
    """

    chains: int = 0
    rounds: int = 0
    kept: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    unrevised: int = 0
    sampled: int = 0
    cut_off: int = 0


def read_chains(source: Path) -> Iterator[RevisionChain]:
    """Stream chains.

    Args:
        source: a run folder of `rlaif revise`, or its `revisions.jsonl`.

    Raises:
        InputError: there is no such file, or a row is no chain.
    """
    path = records_file(source)
    if path.name.endswith((".csv", ".csv.gz")):
        raise InputError(f"{path}: CSV has no rounds within a row; chains are read from .jsonl or .parquet")
    for where, row in read_rows(path):
        try:
            if isinstance(row, RowError):
                raise row
            yield parse(RevisionChain, row)
        except RowError as error:
            raise InputError(f"{where}: {error}; it is no chain of rlaif revise") from error


def count_rounds(source: Path) -> Rounds:
    """Count the rounds of chains, and their flags.

    Args:
        source: as in `read_chains`.

    Raises:
        InputError: as there.
    """
    found = Rounds()
    for chain in read_chains(source):
        kept = sum(step.kept for step in chain.steps)
        found.chains += 1
        found.rounds += len(chain.steps)
        found.kept += kept
        found.unrevised += not kept
        found.sampled += chain.sampled
        found.cut_off += chain.initial_cut_off
        found.flags.update(flag for step in chain.steps for flag in step.flags)
    return found


class Demonstrations(NamedTuple):
    """What was written for `rlaif train sft`, and what was not.

    Attributes:
        path: the file.
        revisions: in it.
        helpful: responses in it.
        unrevised: chains that gave no revision.
        cut_off: helpful responses that had reached their token limit.
    """

    path: Path
    revisions: int
    helpful: int
    unrevised: int
    cut_off: int


def sft_data(
    chains: Sequence[Path],
    out: Path,
    *,
    helpful: Path | None = None,
    ratio: float | None = None,
    take: Taken = "all",
    seed: int = 0,
) -> Demonstrations:
    """Write what SL-CAI learns: revisions, mixed with helpful responses (arXiv:2212.08073, section 3.2).

    A round whose revision was flagged gives nothing to learn, nor does one that changed nothing: whether the response
    was good already, or the model had only copied it, nobody knows. Helpful responses that were cut off are left out.

    Args:
        chains: run folders of `rlaif revise`.
        out: a file of `query` and `response`, with `source`, and of revisions also `principle` and `round`.
        helpful: samples or responses of the helpful policy; without them there are revisions only.
        ratio: helpful responses for each revision, drawn without replacement; one if None.
        take: `all` good revisions of a chain, or the `last` one.
        seed: of what is drawn.

    Returns:
        What was written.

    Raises:
        ConfigError: a run is named twice, or a ratio without helpful responses.
        InputError: a file cannot be read, there are no revisions, or too few helpful responses.
    """
    if len({records_file(source).resolve() for source in chains}) < len(chains):
        raise ConfigError(f"{', '.join(map(str, chains))}: the same chains are named twice")
    if ratio is not None and helpful is None:
        raise ConfigError("ratio is of helpful responses for each revision; name them too (--helpful), or leave it out")
    ratio = 1.0 if ratio is None else ratio
    revisions, unrevised = list[dict[str, Any]](), 0
    for number, source in enumerate(chains):
        for chain in read_chains(source):
            rows = list(_revisions(chain, f"{number}/" if number else ""))
            unrevised += not rows
            revisions += rows if take == "all" else rows[-1:]
    if not revisions:
        raise InputError(f"{chains[0]}: holds no revision that was kept; there is nothing to learn")
    wanted = round(ratio * len(revisions)) if helpful is not None else 0
    found = [] if helpful is None else list(_helpful(helpful))
    responses = [row for row in found if row is not None]
    if wanted > len(responses):
        most = len(responses) / len(revisions)
        raise InputError(
            f"{helpful}: has {len(responses):,} responses, and {ratio:g} for each of {len(revisions):,} revisions are "
            f"{wanted:,}; sample more, or take a ratio of at most {int(most * 1000) / 1000:g}"
        )
    drawn = sorted(random.Random(f"sft-data/{seed}").sample(range(len(responses)), wanted))
    rows = [*revisions, *(responses[number] for number in drawn)]
    write_rows(out, lambda: iter(rows))
    return Demonstrations(out, len(revisions), wanted, unrevised, len(found) - len(responses))


def _revisions(chain: RevisionChain, run: str) -> Iterator[dict[str, Any]]:
    for number, step in enumerate(chain.steps, 1):
        if step.kept:
            yield {
                "id": f"{run}{chain.id}/{chain.response_index}/{number}",
                "query": [turn.model_dump() for turn in chain.query],
                "response": step.revision,
                "source": "revision",
                "principle": step.principle,
                "round": number,
            }


def _helpful(source: Path) -> Iterator[dict[str, Any] | None]:
    """Responses as demonstrations; None for one that was cut off, where samples say so."""
    for where, row in read_responses(records_file(source)):
        if isinstance(row, RowError):
            raise InputError(f"{where}: {row}")
        reasons = (row.model_extra or {}).get("finish_reasons")
        if reasons and reasons[row.response_index] == "length":
            yield None
        elif row.response.strip():
            turns = [turn.model_dump() for turn in row.query]
            name = f"helpful/{row.id}/{row.response_index}"
            yield {"id": name, "query": turns, "response": row.response, "source": "helpful"}
