"""What is looked at beside the reward while a policy is trained: its labeler's health, and what others say.

Every so many steps the policy answers the same held-out queries with the same seeds. `watch.jsonl` then has a line of
means: of the labeler that rewards, of a second one and of gold, by which reward hacking shows; how many judgements
change when the labeler is asked in another form; and how far it has drifted on the first responses (the anchors).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlaif.config import Config
from rlaif.errors import RowError
from rlaif.labeling.score import scale
from rlaif.pocket.data import gold
from rlaif.records import Failure, Turn
from rlaif.rewards import Candidate, FromScores, Reward, RewardFn, rewards
from rlaif.stages.labels import records_file
from rlaif.stages.tracker import Tracker
from rlaif.training import checkpoint
from rlaif.training.data import read_online_queries
from rlaif.training.online import Online
from rlaif.training.rollout import Query, response_seed
from rlaif.training.tokens import Tokenizer


class Watch(Config):
    """What is looked at beside the reward; what is above a limit is warned of.

    Attributes:
        queries: a file or run folder of queries that are not trained on; no query is answered if None.
        limit: so many of them.
        every_steps: how often; also before the first step.
        second_labeler: `provider:model`, another opinion on the same task.
        gold: what the pocket world itself says by this task, where the queries are of it.
        harmless_from: the score, 1 to 10, from which the report counts an answer as harmless: 5.5, the middle, if None
            and the task is called harmlessness, and else no rate is given.
        tracker: send each step's metrics to Weights & Biases or trackio too, which is installed by itself.
        max_mass_at_end: of the labeler's probability at 1, and at 10.
        max_unread_mass: of its probability on no answer.
        max_length_correlation: between score and response length, either way.
        min_distinct_share: of the responses of a step.
        stop: end the training with a checkpoint at the first warning.
    """

    queries: Path | None = None
    limit: int = Field(default=64, ge=1)
    every_steps: int = Field(default=20, ge=1)
    second_labeler: str | None = None
    gold: Literal["harmlessness", "helpfulness", "summarization"] | None = None
    harmless_from: float | None = Field(default=None, ge=1, le=10)
    tracker: Tracker | None = None
    max_mass_at_end: float = Field(default=0.9, gt=0, le=1)
    max_unread_mass: float = Field(default=0.3, gt=0, le=1)
    max_length_correlation: float = Field(default=0.8, gt=0, le=1)
    min_distinct_share: float = Field(default=0.2, ge=0, le=1)
    stop: bool = False

    @model_validator(mode="after")
    def _what_answers_is_there(self) -> Self:
        for name in ("second_labeler", "gold"):
            if self.queries is None and getattr(self, name) is not None:
                raise ValueError(f"watch.{name} judges answers to held-out queries: name them in watch.queries")
        return self


def complaints(metrics: Mapping[str, float | None], limits: Watch) -> dict[str, str]:
    """What is wrong with a step, by the name of the metric.

    Args:
        metrics: of the step.
        limits: the section.
    """
    checks: dict[str, tuple[float, str]] = {
        "labeler_mass_at_1": (limits.max_mass_at_end, "nearly all of the labeler's probability is at 1"),
        "labeler_mass_at_10": (limits.max_mass_at_end, "nearly all of the labeler's probability is at 10"),
        "labeler_unread_mass": (limits.max_unread_mass, "much of the labeler's probability is on no answer"),
        "score_length_correlation": (limits.max_length_correlation, "the score follows the response's length"),
    }
    found = {}
    for name, (limit, text) in checks.items():
        value = metrics.get(name)
        if value is not None and abs(value) > limit:
            found[name] = f"{text} ({name} is {value:.2f})"
    distinct = metrics.get("distinct_share")
    if distinct is not None and distinct < limits.min_distinct_share:
        found["distinct_share"] = f"the policy says the same again and again (distinct_share is {distinct:.2f})"
    return found


class Watchers:
    """Looks at a training from beside."""

    def __init__(
        self,
        settings: Watch,
        run: Online,
        tokenizer: Tokenizer,
        others: Mapping[str, RewardFn],
        warn: Callable[[str], None],
    ) -> None:
        """Read the held-out queries.

        Args:
            settings: the section.
            run: the training.
            tokenizer: the policy's.
            others: reward functions by name; the training's own may be among them only if it has no state, which must
                not change here. `labeler` and `other_form` are compared with one another.
            warn: told of what is wrong.

        Raises:
            InputError: the queries cannot be read.
        """
        self._settings, self._run, self._tokenizer, self._warn = settings, run, tokenizer, warn
        self._others = dict(others)
        if settings.gold is not None:
            self._others["gold"] = FromScores(lambda exchanges: gold_scores(exchanges, settings.gold))
        self._queries: list[Query] = []
        if settings.queries is not None:
            path, most = records_file(settings.queries), run.drawing.query_tokens
            self._queries = read_online_queries(path, tokenizer, most, settings.limit)[0]
        self._warned: set[str] = set()

    def look(self, step: int, metrics: Mapping[str, float | None]) -> dict[str, Any]:
        """Look at a step that is done.

        Args:
            step: how many are done; 0 before the first.
            metrics: of the step.

        Returns:
            What is said of the held-out queries, where they are answered.
        """
        is_time = step % self._settings.every_steps == 0 or step == self._run.steps
        return self._answer(step, metrics) if self._queries and is_time else {}

    def complain(self, step: int, metrics: Mapping[str, float | None]) -> str | None:
        """Warn of what is wrong with a step that is done, once of each.

        Args:
            step: how many are done.
            metrics: of the step.

        Returns:
            Why training is to end, if that is wanted and something is wrong.
        """
        found = complaints(metrics, self._settings)
        for name, text in found.items():
            if name not in self._warned:
                self._warned.add(name)
                self._warn(f"step {step}: {text}")
        if not found or not self._settings.stop:
            return None
        return f"step {step}: {next(iter(found.values()))}, and watch.stop is set; a checkpoint is kept"

    def _answer(self, step: int, metrics: Mapping[str, float | None]) -> dict[str, Any]:
        started = time.monotonic()
        seeds = [response_seed(self._run.stepping.seed, -1, place) for place in range(len(self._queries))]
        written = self._run.rollout.generate([one.tokens for one in self._queries], seeds)
        texts = [self._tokenizer.tokenizer.decode(one.tokens, skip_special_tokens=True) for one in written]
        candidates = [
            Candidate(query.id, query.turns, text, tuple(one.tokens), query.columns)
            for query, text, one in zip(self._queries, texts, written, strict=True)
        ]
        said = {name: rewards(fn, candidates) for name, fn in self._others.items()}
        row: dict[str, Any] = {
            "step": step,
            "n": len(candidates),
            "kl_per_sequence": metrics.get("kl_per_sequence", 0.0),
        }
        row |= {name: mean(found) for name, found in said.items()}
        row |= {f"{name}_failed": sum(isinstance(one, Failure) for one in found) for name, found in said.items()}
        row["response_tokens"] = sum(len(one.tokens) for one in written) / len(written)
        row["distinct_share"] = len(set(texts)) / len(texts)
        if "other_form" in said:
            row["changed_share"] = changed_share(said["labeler"], said["other_form"])
        if "labeler" in said:
            row["anchor_drift"] = self._drift(step, candidates, said["labeler"])
        row["seconds"] = round(time.monotonic() - started, 3)
        checkpoint.append(self._run.out / "watch.jsonl", row)
        for place, (candidate, text) in enumerate(zip(candidates, texts, strict=True)):
            shown = {"step": step, "id": candidate.id, "response": text}
            shown |= {"query": [turn.model_dump() for turn in candidate.query]}
            scores = {name: None if isinstance(one := found[place], Failure) else one for name, found in said.items()}
            checkpoint.append(self._run.out / "watched.jsonl", {**shown, "scores": scores})
        return row

    def _drift(self, step: int, candidates: Sequence[Candidate], now: Sequence[Reward]) -> float | None:
        """How far the labeler's scores of the first responses have moved, on average."""
        rows = [row for row in checkpoint.read(self._run.out / "watched.jsonl") if row["step"] == 0]
        if not rows or step == 0:
            return None if step else 0.0
        anchors = [
            Candidate(row["id"], tuple(Turn.model_validate(turn) for turn in row["query"]), row["response"])
            for row in rows
        ]
        again = rewards(self._others["labeler"], anchors)
        moved = [
            abs(one - before)
            for one, row in zip(again, rows, strict=True)
            if not isinstance(one, Failure) and (before := row["scores"]["labeler"]) is not None
        ]
        return sum(moved) / len(moved) if moved else None


def mean(found: Sequence[Reward]) -> float | None:
    """Of what is known; None where nothing is.

    Args:
        found: rewards and failures.
    """
    known = [one for one in found if not isinstance(one, Failure)]
    return sum(known) / len(known) if known else None


def changed_share(found: Sequence[Reward], other: Sequence[Reward]) -> float | None:
    """How many judgements are on the other side of the scale's middle when asked in another form.

    Args:
        found: rewards in [−1, 1].
        other: of the same responses, asked otherwise.
    """
    both = [
        (one, two)
        for one, two in zip(found, other, strict=True)
        if not isinstance(one, Failure) and not isinstance(two, Failure)
    ]
    return sum((one > 0) != (two > 0) for one, two in both) / len(both) if both else None


def gold_scores(exchanges: Sequence[tuple[tuple[Turn, ...], str]], task: Any) -> list[float | RowError]:
    """What the pocket world says of responses, mapped to [−1, 1] as a labeler's scores are.

    Args:
        exchanges: queries of the world, with responses.
        task: what is judged.
    """
    found: list[float | RowError] = []
    for query, response in exchanges:
        try:
            found.append(scale(gold(task, query, response)))
        except RowError as error:
            found.append(error)
    return found
