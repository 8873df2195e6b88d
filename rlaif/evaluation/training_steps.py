"""What a training wrote down at each step, as sections of its report. Pure.

A row holds the metrics of a step by name; one that is null, no finite number, or missing is not known.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.evaluation.curves import Spot, by_step, edges_of, stacked
from rlaif.evaluation.report import Cell, Plot, Section
from rlaif.statistics.intervals import Estimate, share

Rows = Sequence[Mapping[str, Any]]

MOST = 200
"""A curve of more steps is drawn as means of steps that follow one another."""


class Metric(NamedTuple):
    """A metric in a table.

    Attributes:
        name: in `metrics.jsonl`.
        title: what people call it, with its unit.
        scale: what it is multiplied by, so that the unit of the title is right.
    """

    name: str
    title: str
    scale: float = 1.0


class Curves(NamedTuple):
    """Metrics in one picture.

    Attributes:
        title: what it shows.
        y_label: with the unit.
        names: what each curve is called, by the metric's name.
    """

    title: str
    y_label: str
    names: Mapping[str, str]


_REWARD = (
    Metric("score", "score"),
    Metric("score_std", "its standard deviation among the responses"),
    Metric("score_length_correlation", "its correlation with length"),
    Metric("kl_per_sequence", "KL per sequence, nats"),
    Metric("kl_k3", "KL per token (k3), nats"),
    Metric("kl_coef", "β"),
)
_RESPONSES = (
    Metric("response_tokens", "response tokens"),
    Metric("ended_share", "share that ended by itself"),
    Metric("distinct_share", "share of distinct responses"),
)
_OPTIMISATION = (
    Metric("policy_loss", "policy loss"),
    Metric("value_loss", "value loss"),
    Metric("explained_variance", "explained variance of the values"),
    Metric("entropy", "entropy per token, nats"),
    Metric("clip_fraction", "clip fraction"),
    Metric("approx_kl", "KL per token from the policy that drew, nats"),
    Metric("grad_norm", "gradient norm"),
    Metric("learning_rate", "learning rate, millionths", 1e6),
    Metric("first_ratio_error", "largest ratio error in the first minibatch, millionths", 1e6),
    Metric("sampler_mismatch", "sampler against policy per token, millionths of a nat", 1e6),
)
_LABELER = (
    Metric("labeler_score_1_to_10", "expected score, 1 to 10"),
    Metric("labeler_mass_at_1", "probability at 1"),
    Metric("labeler_mass_at_10", "probability at 10"),
    Metric("labeler_unread_mass", "probability on no answer"),
)


_ASKED_AGAIN = (
    Metric("changed_share", "judgements that change sides in another form, share"),
    Metric("anchor_drift", "drift of its scores of the first responses"),
)


def number(row: Mapping[str, Any], name: str) -> float | None:
    """What a row holds under a name; None where that is no finite number.

    Args:
        row: of a step.
        name: of a metric.
    """
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def reward_section(steps: Rows) -> Section | None:
    """The score and how far the policy went for it.

    Args:
        steps: rows of metrics.
    """
    drawn = thinned(steps)
    spread = [
        Spot(row["step"], score, score - std, score + std)
        if (score := number(row, "score")) is not None and (std := number(row, "score_std")) is not None
        else Spot(row["step"], score)
        for row in drawn
    ]
    plots = (
        *by_step({"score": spread}, "Score, with one standard deviation of a step's responses about it", "score"),
        *pictures(
            drawn,
            Curves("Distance from the reference", "KL per sequence, nats", {"kl_per_sequence": "KL"}),
        ),
        *(pictures(drawn, Curves("The weight of the KL", "β", {"kl_coef": "β"})) if _varies(steps, "kl_coef") else ()),
    )
    note = (
        "The score is what the policy is trained on, before the penalty of a response that was cut; KL is the mean "
        "over responses of log π − log π_ref, summed over the tokens of each."
    )
    return _section("reward", "Score and KL", note, _summaries(steps, _REWARD), plots)


def response_section(steps: Rows) -> Section | None:
    """What the responses look like.

    Args:
        steps: rows of metrics.
    """
    plots = pictures(
        thinned(steps),
        Curves("Length of responses", "tokens", {"response_tokens": "tokens"}),
        Curves(
            "Responses that end by themselves, and distinct ones",
            "share of a step's responses",
            {"ended_share": "ended", "distinct_share": "distinct"},
        ),
        Curves(
            "Does the score follow the length?",
            "correlation within a step",
            {"score_length_correlation": "correlation"},
        ),
    )
    return _section("responses", "Responses", "", _summaries(steps, _RESPONSES), plots)


def optimisation_section(steps: Rows) -> Section | None:
    """How the steps of the optimizer went.

    Args:
        steps: rows of metrics.
    """
    plots = pictures(
        thinned(steps),
        Curves("Tokens whose ratio is clipped", "clip fraction", {"clip_fraction": "clip fraction"}),
        Curves("How far a step moves the policy", "KL per token, nats", {"approx_kl": "KL"}),
        Curves(
            "How much of the returns the value head foresees", "explained variance", {"explained_variance": "share"}
        ),
        Curves("How sure the policy is", "entropy per token, nats", {"entropy": "entropy"}),
    )
    note = "Means over the minibatches of a step. Explained variance is 1 for values that are right, and below 0 for "
    note += "such as are worse than their mean."
    return _section("optimisation", "Optimisation", note, _summaries(steps, _OPTIMISATION), plots)


def labeler_section(steps: Rows, looks: Rows) -> Section | None:
    """Whether the labeler still says something.

    Args:
        steps: rows of metrics.
        looks: rows of what was looked at beside the reward.
    """
    plots = (
        *pictures(
            thinned(steps),
            Curves(
                "Where the labeler's probability lies",
                "probability",
                {"labeler_mass_at_1": "at 1", "labeler_mass_at_10": "at 10", "labeler_unread_mass": "on no answer"},
            ),
        ),
        *pictures(
            looks,
            Curves(
                "Judgements that change sides when asked in another form",
                "share of held-out responses",
                {"changed_share": "changed"},
            ),
            Curves(
                "How far its scores of the first responses have moved", "mean distance of scores", {"anchor_drift": "d"}
            ),
        ),
    )
    note = "Nearly all probability at one end of the scale leaves the policy nothing to learn from."
    rows = [*_summaries(steps, _LABELER), *_summaries(looks, _ASKED_AGAIN)]
    return _section("labeler", "The labeler's health", note, rows, plots)


def failure_section(steps: Rows, responses: int) -> Section | None:
    """Judgements that failed, by class.

    Args:
        steps: rows of metrics.
        responses: of a step.
    """
    classes = sorted({name for row in steps for name in row if name.startswith("failed_") and number(row, name)})
    if not classes:
        return None
    # A step without failures of a class does not mention it.
    whole = [{"step": row["step"]} | {name: number(row, name) or 0.0 for name in classes} for row in steps]
    names = {name: name.removeprefix("failed_") for name in classes}
    count = responses * len(whole)
    rows = [
        (names[name], share(sum(shares) * responses, count), max(shares))
        for name in classes
        for shares in [[row[name] for row in whole]]
    ]
    masked = masked_share(steps, responses)
    rows += [("masked: out of rewards and losses", masked, max(number(row, "masked_share") or 0.0 for row in steps))]
    curves = Curves("Judgements that failed", "share of a step's responses", names)
    note = "What each class means for the training is in config.yaml under failures; failures.jsonl holds them."
    columns = ("class", "share of all responses", "highest of a step")
    return Section("failures", "Failed judgements", note, columns, rows, pictures(thinned(whole), curves))


def masked_share(steps: Rows, responses: int) -> Estimate:
    """How many of all responses had no reward.

    Args:
        steps: rows of metrics.
        responses: of a step.
    """
    known = [one for row in steps if (one := number(row, "masked_share")) is not None]
    return share(sum(known) * responses, responses * len(known))


def time_section(steps: Rows, looks: Rows) -> Section | None:
    """Where the time went.

    Args:
        steps: rows of metrics.
        looks: rows of what was looked at beside the reward.
    """
    names = list(dict.fromkeys(name for row in steps for name in row if name.startswith("seconds_")))
    sums = {name: sum(number(row, name) or 0.0 for row in steps) for name in names}
    whole = sum(sums.values())
    if not whole:
        return None
    drawn = thinned(steps)
    parts = {phase_name(name): [number(row, name) or 0.0 for row in drawn] for name in names}
    plot = stacked(edges_of([row["step"] for row in drawn]), parts, "Time of a step by phase", "seconds")
    named = {phase_name(name): seconds for name, seconds in sums.items()}
    if watching := sum(number(row, "seconds") or 0.0 for row in looks):
        named["held-out queries"] = watching
    everything = sum(named.values())
    rows = [(name, seconds / len(steps), seconds / everything, seconds) for name, seconds in named.items()]
    rows.append(("all", everything / len(steps), 1.0, everything))
    note = "Seconds in which the loop was in a phase; judging counts only where it was waited for."
    columns = ("phase", "seconds per step", "share", "seconds")
    return Section("time", "Time", note, columns, rows, (plot,))


def phase_name(name: str) -> str:
    """A phase as people call it: scores of judgements are another thing.

    Args:
        name: of its metric.
    """
    phase = name.removeprefix("seconds_")
    return "log-probs and values" if phase == "score" else phase


def pictures(rows: Rows, *wanted: Curves) -> tuple[Plot, ...]:
    """Curves over the steps; without those of which nothing is known.

    Args:
        rows: with `step` in each.
        wanted: pictures.
    """
    return tuple(
        plot
        for one in wanted
        for plot in by_step(
            {called: [Spot(row["step"], number(row, name)) for row in rows] for name, called in one.names.items()},
            one.title,
            one.y_label,
        )
    )


def _varies(steps: Rows, name: str) -> bool:
    return len({number(row, name) for row in steps}) > 1


def thinned(steps: Rows) -> Rows:
    """Rows that can be drawn: as they are, or each the mean of steps that follow one another.

    Args:
        steps: rows of metrics.
    """
    size = math.ceil(len(steps) / MOST)
    return steps if size < 2 else [_mean(steps[start : start + size]) for start in range(0, len(steps), size)]


def _mean(rows: Rows) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        known = [one for row in rows if (one := number(row, name)) is not None]
        found[name] = sum(known) / len(known) if known else None
    return found


def _section(
    key: str, title: str, note: str, rows: Iterable[tuple[Cell, ...]], plots: tuple[Plot, ...]
) -> Section | None:
    columns = ("metric", "at first", "at last", "lowest", "highest")
    return Section(key, title, note, columns, found, plots) if (found := list(rows)) else None


def _summaries(steps: Rows, metrics: Sequence[Metric]) -> Iterator[tuple[Cell, ...]]:
    for metric in metrics:
        values = [number(row, metric.name) for row in steps]
        scaled = [None if one is None else one * metric.scale for one in values]
        known = [one for one in scaled if one is not None]
        if known:
            yield metric.title, scaled[0], scaled[-1], min(known), max(known)
