"""The report on win rates: how often one policy's responses are preferred to another's. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import get_args

from rlaif.evaluation import plots
from rlaif.evaluation.contests import Contests, Kind
from rlaif.evaluation.matchups import FAILURES, TIES, Counting, Failures, Matchup, Ties
from rlaif.evaluation.report import Cell, Report, Section


def win_rate(
    contests: Contests,
    *,
    policy: str | None = None,
    baseline: str | None = None,
    ties: Ties = "half",
    failures: Failures = "drop",
    resamples: int = 2000,
    seed: int = 0,
    about: Mapping[str, str] | None = None,
) -> Report:
    """Report win rates of policies over baselines.

    Args:
        contests: what was said of pairs of responses (see `contests.read_contests`).
        policy: the model whose wins are counted; the first of each two names if neither is given.
        baseline: the model it is compared with.
        ties: what a tie counts: an exact .5, or no majority of people.
        failures: what a pair counts that a labeler could not judge.
        resamples: how many resamples of queries intervals are drawn from.
        seed: of what is drawn.
        about: sources, for the report.

    Returns:
        The report: one row of its first section for each two models and each judge.

    Raises:
        ConfigError: no such policy for ties or failures.
        InputError: nobody is compared with such a model.
    """
    counting = Counting(ties, failures)
    found = {
        (way, kind, judge): Matchup(of_judge, resamples, seed)
        for way, judges in contests.matchups(policy, baseline).items()
        for (kind, judge), of_judge in judges.items()
    }
    main = {key: matchup for key, matchup in found.items() if key[1] != "annotator"}
    people = {key: matchup for key, matchup in found.items() if key[1] == "annotator"}
    sections = [
        _headline(main, counting),
        _length_section(main, counting),
        _policy_section(main),
        _order_section(main),
        _annotator_section(people, counting),
    ]
    return Report(
        "Win rate",
        {
            **(about or {}),
            **contests.about,
            "Ties": f"{ties}: {TIES[ties]}",
            "Failures": f"{failures}: {FAILURES[failures]}",
            "Intervals": f"95 %, from {resamples:,} resamples of queries (BCa), seed {seed}",
        },
        [section for section in sections if section.rows],
        contests.pairs,
    )


Key = tuple[tuple[str, str], Kind, str]


def _title(key: Key) -> str:
    (policy, baseline), _, judge = key
    return f"{policy} over {baseline}, by {judge}"


def _headline(found: Mapping[Key, Matchup], counting: Counting) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, matchup in found.items():
        hard, consistent, soft = matchup.rates(counting)
        equal = matchup.lengths(counting)[0].equal
        rows.append((_title(key), hard, consistent, soft, equal, _counted(matchup.failures)))
    return Section(
        "win_rate",
        "Win rates",
        "Win rate: the share of pairs in which the policy's response is preferred. Consistent: a win is one in both "
        "orders, and what flips with the order is a tie. Preference: the mean probability that it is preferred (of "
        "people, their mean vote). Equal lengths: the win rate where both responses are equally long (see Lengths).",
        ("policy", "win rate", "consistent", "preference", "equal lengths", "not judged"),
        rows,
        plots.forest_of(rows, "Win rates", "share", 0.5),
    )


def _counted(failures: Counter[str]) -> str | None:
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(failures.items())) or None


def _length_section(found: Mapping[Key, Matchup], counting: Counting) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, matchup in found.items():
        if not matchup.measured.any():
            continue
        for outcome, lengths in zip(("wins", "preference"), matchup.lengths(counting), strict=True):
            mean = matchup.mean_words()
            rows.append(
                (f"{_title(key)}: {outcome}", lengths.plain, lengths.equal, lengths.effect, matchup.longer(), *mean)
            )
    return Section(
        "lengths",
        "Lengths",
        "At equal lengths: a logistic model of the outcome on an intercept and the difference of lengths, divided by "
        "its standard deviation and squashed by tanh, read off at no difference; its interval is robust to clusters. "
        "After Dubois et al. (arXiv:2404.04475), without their difficulty of each query and their regularisation, and "
        "with words for characters. Without a value where lengths alone tell who wins. Effect: in logits, of a "
        "response that is much longer.",
        ("outcome", "as it is", "at equal lengths", "effect of length", "policy longer", "words", "words of baseline"),
        rows,
    )


def _policy_section(found: Mapping[Key, Matchup]) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, matchup in found.items():
        for ties in get_args(Ties):
            for failures in get_args(Failures) if matchup.failures else ("drop",):
                hard, consistent, soft = matchup.rates(Counting(ties, failures))
                rows.append((_title(key), ties, failures, hard, consistent, soft))
    return Section(
        "policies",
        "Under other policies",
        "Ties: half a win, or left out. Pairs that a labeler could not judge: left out, half a win, or a loss for the "
        "policy. A mean preference has no ties.",
        ("policy", "ties", "failures", "win rate", "consistent", "preference"),
        rows,
    )


def _order_section(found: Mapping[Key, Matchup]) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, matchup in found.items():
        if matchup.both.any():
            flips, first, second = matchup.orders()
            rows.append((_title(key), flips, first, second))
    return Section(
        "orders",
        "Order of the responses",
        "Flips: pairs in which each order has another winner. Then the policy's win rate where its response is shown "
        "first, and where it is shown second; ties count half.",
        ("policy", "flips", "shown first", "shown second"),
        rows,
    )


def _annotator_section(found: Mapping[Key, Matchup], counting: Counting) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, matchup in found.items():
        rows.append((_title(key), matchup.win_rate(counting)))
    return Section("annotators", "Each annotator", "", ("policy", "win rate"), rows)
