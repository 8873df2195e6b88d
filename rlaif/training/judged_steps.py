"""What a training's labeler said, step by step, in files that outlive a kill.

A step's judgements are in `judgements-N.jsonl` (N the process) before they count. A resumed training, which does the
steps since its checkpoint again, takes them from there: it pays for nothing twice, and ends where it would have ended.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.errors import TrainingError
from rlaif.records import Failure
from rlaif.rewards import Candidate, Reward, RewardFn
from rlaif.training import checkpoint


def name_of_response(step: int, place: int) -> str:
    """What a response is called in messages and files.

    Args:
        step: from 1.
        place: in the global batch.
    """
    return f"step-{step}-{place}"


class JudgedSteps:
    """The judgements of one process."""

    def __init__(self, out: Path, process: int, samples: int) -> None:
        """Take a run folder.

        Args:
            out: the run folder.
            process: its number.
            samples: how many of a step's responses are kept to be read, where they are.
        """
        self._out, self._samples = out, samples
        self._path = out / f"judgements-{process}.jsonl"
        self._replaying = True
        self._rationales: Mapping[str, Sequence[str]] = {}

    def known(
        self, step: int, places: Sequence[int], reward: RewardFn
    ) -> tuple[list[Reward], dict[str, float | None]] | None:
        """Judgements of a step that an earlier try came so far with; None where they must be asked for.

        Args:
            step: from 1.
            places: of the responses in the global batch.
            reward: is given the state that it had behind that step.

        Returns:
            The judgements, and the metrics that were kept with them.

        Raises:
            TrainingError: another number of processes judged the step.
        """
        # Behind the first step that is not there, none is.
        for row in checkpoint.read(self._path) if self._replaying else ():
            if row["step"] == step:
                if row["places"] != list(places):
                    raise TrainingError(f"{self._path}: step {step} was judged by another number of processes")
                reward.load_state_dict(row["state"])
                self._rationales = row.get("rationales", {})
                said = [one if isinstance(one, float) else Failure.model_validate(one) for one in row["rewards"]]
                return said, row["metrics"]
        self._replaying = False
        return None

    def has(self, step: int) -> bool:
        """Whether an earlier try came so far.

        Args:
            step: from 1.
        """
        return self._replaying and any(row["step"] == step for row in checkpoint.read(self._path))

    def state_behind(self, step: int) -> dict[str, Any] | None:
        """The state that this process's reward had behind a step; None where it did not judge that step.

        Each process has a reward of its own, which has seen other responses than those of the others.

        Args:
            step: from 1.
        """
        return next((row["state"] for row in checkpoint.read(self._path) if row["step"] == step), None)

    def forget_failures(self) -> None:
        """Leave out of `failures.jsonl` what a kill kept from being judged; it is for one process to do.

        Failures are written before the step's judgements, so that none is lost; those of a step without judgements
        come again when it is judged again.
        """
        known = {
            name_of_response(row["step"], place)
            for path in self._out.glob("judgements-*.jsonl")
            for row in checkpoint.read(path)
            for place in row["places"]
        }
        checkpoint.keep_lines(self._out / "failures.jsonl", lambda row: row["id"] in known)

    def keep(
        self,
        step: int,
        places: Sequence[int],
        candidates: Sequence[Candidate],
        rewards: Sequence[Reward],
        metrics: Mapping[str, float | None],
        reward: RewardFn,
    ) -> None:
        """Write a step's judgements down, and its failures once more for people.

        Args:
            step: from 1.
            places: of the responses in the global batch.
            candidates: the responses.
            rewards: what was said of them.
            metrics: of the judging, which nobody could measure again.
            reward: who said it; has `rationales` by candidate, if it writes any.

        Raises:
            StorageError: they cannot be written.
        """
        for candidate, one in zip(candidates, rewards, strict=True):
            if isinstance(one, Failure):
                failed = one.model_copy(update={"id": candidate.id}).model_dump(mode="json", exclude_none=True)
                checkpoint.append(self._out / "failures.jsonl", {"step": step, **failed, **_texts(candidate)})
        said = [one.model_dump(mode="json", exclude_none=True) if isinstance(one, Failure) else one for one in rewards]
        row: dict[str, object] = {"step": step, "places": list(places), "rewards": said, "state": reward.state_dict()}
        row["metrics"] = dict(metrics)
        written = getattr(reward, "rationales", None)
        if isinstance(written, Mapping):
            self._rationales = {one.id: written[one.id] for one in candidates[: self._samples] if one.id in written}
            row |= {"rationales": self._rationales} if self._rationales else {}
        checkpoint.append(self._path, row)

    def keep_samples(self, step: int, candidates: Sequence[Candidate], rewards: Sequence[Reward]) -> None:
        """Write down some of a step's responses to be read, with the rationales of who judged them.

        Args:
            step: from 1.
            candidates: the responses.
            rewards: what was said of them.

        Raises:
            StorageError: they cannot be written.
        """
        for candidate, one in list(zip(candidates, rewards, strict=True))[: self._samples]:
            said: dict[str, object] = {"failure": one.failure} if isinstance(one, Failure) else {"score": one}
            if candidate.id in self._rationales:
                said["rationales"] = list(self._rationales[candidate.id])
            checkpoint.append(self._out / "samples.jsonl", {"step": step, **_texts(candidate), **said})


def _texts(candidate: Candidate) -> dict[str, object]:
    return {"query": [turn.model_dump() for turn in candidate.query], "response": candidate.response}
