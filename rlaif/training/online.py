"""What PPO and REINFORCE do alike around their mathematics: draw, judge, score, step, save, go on.

Shapes: B responses of this process (the global batch is cut by place over the processes), T tokens of the longest.
Everything that is drawn is seeded by step and place, so that a resumed training needs no state of a generator; the
judgements of a step are in `judgements.jsonl` before they count, so that no step is judged twice.
"""

import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedTokenizerBase

from rlaif.errors import TrainingError
from rlaif.generation import by_length
from rlaif.rewards import Candidate
from rlaif.training import checkpoint
from rlaif.training.advantages import kl_estimate, masked_mean
from rlaif.training.fitting import processes
from rlaif.training.judged_steps import JudgedSteps
from rlaif.training.judging import Failures, Judge, resolve
from rlaif.training.online_settings import Drawing, Saving, Stepping
from rlaif.training.policy_value import PolicyAndValue
from rlaif.training.rollout import Query, Rollout, Rows, batch_places, pad_rows, response_seed
from rlaif.training.step_metrics import labeler_metrics, response_metrics
from rlaif.training.watching import SaveAtTheEnd


class Drawn(NamedTuple):
    """A step's responses in this process, with what was said of them.

    Attributes:
        places: (B) in the global batch.
        queries: (B) ids.
        responses: (B) ids, with the end token where there is one.
        mask: (B, T) tokens that count; none of a response whose judgement is masked.
        logprobs: (B, T) of the policy as it drew.
        sampled_logprobs: (B, T) the same as the sampler had them.
        ref_logprobs: (B, T) of the reference.
        values: (B, T) V before each token.
        entropies: (B, T).
        scores: (B,) with the penalty of those that were cut; 0 where masked.
    """

    places: list[int]
    queries: list[Sequence[int]]
    responses: list[list[int]]
    mask: torch.Tensor
    logprobs: torch.Tensor
    sampled_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    values: torch.Tensor
    entropies: torch.Tensor
    scores: torch.Tensor


@dataclass(slots=True)
class Online:
    """An online training under way.

    Attributes:
        model: policy, value head and reference.
        rollout: draws.
        judge: gives rewards.
        queries: what is answered.
        tokenizer: the policy's.
        pad: the padding id.
        drawing: the section.
        stepping: the section.
        saving: the section.
        failures: the section.
        steps: in all.
        out: the run folder.
        overlap: judge while the reference and the values are computed; not for a labeler that runs on the same cores.
        watch: told of each step's metrics.
        keeper: hears the signals that ask for an end.
        step: how many steps are done.
        optimizer: of all that is trained.
        facts: what else a checkpoint must hold, set by the loop.
        seconds: of the step's phases.
    """

    model: PolicyAndValue
    rollout: Rollout
    judge: Judge
    queries: Sequence[Query]
    tokenizer: PreTrainedTokenizerBase
    pad: int
    drawing: Drawing
    stepping: Stepping
    saving: Saving
    failures: Failures
    steps: int
    out: Path
    overlap: bool = False
    watch: Callable[[int, Mapping[str, float | None]], None] = lambda step, metrics: None
    keeper: SaveAtTheEnd = field(default_factory=SaveAtTheEnd)
    step: int = 0
    optimizer: torch.optim.AdamW = field(init=False)
    facts: dict[str, float] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _updates: int = 0
    _judged: JudgedSteps = field(init=False)
    _board: SummaryWriter | None = None

    def __post_init__(self) -> None:
        self._judged = JudgedSteps(self.out, processes().process_index, self.saving.samples)
        trained = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=self.stepping.learning_rate, eps=self.stepping.eps, weight_decay=0.0
        )

    # Draw, judge, score

    def draw(self) -> tuple[Drawn, dict[str, float | None]]:
        """Draw a step's responses, have them judged, and let the models say what they think of them.

        Returns:
            The responses, and metrics of them.

        Raises:
            TrainingError: the labeler fails too often, or in a way that is to stop the training.
        """
        state = processes()
        every = batch_places(len(self.queries), self.drawing.batch, self.step, self.stepping.seed)
        places = list(range(self.drawing.batch))[state.process_index :: state.num_processes]
        asked = [self.queries[every[place]] for place in places]
        with self.timing("generate"):
            seeds = [response_seed(self.stepping.seed, self.step, place) for place in places]
            written = self.rollout.generate([one.tokens for one in asked], seeds)
        responses = [one.tokens + ([one.end] if one.end is not None else []) for one in written]
        texts = [self.tokenizer.decode(one.tokens, skip_special_tokens=True) for one in written]
        candidates = [
            Candidate(f"step-{self.step + 1}-{place}", query.turns, text, tuple(response), query.columns)
            for place, query, text, response in zip(places, asked, texts, responses, strict=True)
        ]
        lists = [list(one.tokens) for one in asked]
        with self._saved_at_an_end():
            known = self._judged.known(self.step + 1, places, self.judge.reward)
            future = self.judge.ask(candidates) if known is None else None
            if future is not None and not self.overlap:
                with self.timing("judge"):
                    future.exception()
            with self.timing("score"):
                found = self._score(lists, responses)
            waited = 0.0
            if future is not None:
                with self.timing("judge"):
                    known, waited = self.judge.wait(future, candidates, lambda: int(self.keeper.signal or 0))
            assert known is not None
            scores, counts = resolve(known, self.failures)
        if future is not None:
            self._judged.keep(self.step + 1, places, candidates, known, self.judge.reward)
        is_time = self.step == 0 or (self.step + 1) % self.saving.samples_every_steps == 0
        if state.is_main_process and is_time:
            self._judged.keep_samples(self.step + 1, candidates, known)
        ended = [one.ended for one in written]
        metrics = response_metrics(texts, [len(one) for one in responses], ended, scores, counts)
        metrics |= labeler_metrics(self.judge.reward) | {"waited_s": waited}
        return self._drawn(places, lists, responses, scores, ended, found, written), metrics

    @contextmanager
    def _saved_at_an_end(self) -> Iterator[None]:
        """Where judging ends the training, by whatever is raised, write a checkpoint of the steps before."""
        before = self.judge.reward.state_dict()
        try:
            yield
        except BaseException:
            self.judge.reward.load_state_dict(before)
            self.save()
            raise

    @torch.no_grad()
    def _score(self, queries: list[list[int]], responses: list[list[int]]) -> dict[str, torch.Tensor]:
        """(B, T) log-probabilities, entropies and values of the policy, and log-probabilities of the reference."""
        longest = max(1, *map(len, responses))
        names = ("logprobs", "entropies", "values", "ref_logprobs")
        device = self.model.value_head.weight.device
        found = {name: torch.zeros(len(responses), longest, device=device) for name in names}
        lengths = [len(query) + len(response) for query, response in zip(queries, responses, strict=True)]
        for indices in by_length(lengths, 0, self.stepping.micro_batch * max(lengths)):
            rows = self._rows([queries[i] for i in indices], [responses[i] for i in indices])
            scored = self.model(rows, self.drawing.temperature, entropy=True)
            reference = self.model.reference_logprobs(rows, self.drawing.temperature)
            width = rows.response_mask.shape[1]
            for name, value in zip(names, (*scored, reference), strict=True):
                found[name] = found[name].to(value.dtype)
                found[name][indices, :width] = value
        return {name: found[name] for name in names}

    def _rows(self, queries: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Rows:
        return pad_rows(queries, responses, self.pad, self.model.value_head.weight.device)

    def _drawn(
        self,
        places: list[int],
        queries: list[list[int]],
        responses: list[list[int]],
        scores: Sequence[float | None],
        ended: Sequence[bool],
        found: Mapping[str, torch.Tensor],
        written: Sequence[Any],
    ) -> Drawn:
        longest = found["logprobs"].shape[1]
        device = found["logprobs"].device
        kept = [len(one) if score is not None else 0 for one, score in zip(responses, scores, strict=True)]
        mask = torch.arange(longest, device=device) < torch.tensor(kept, device=device)[:, None]
        sampled = torch.zeros_like(found["logprobs"])
        for row, one in enumerate(written):
            sampled[row, : len(one.logprobs)] = torch.tensor(one.logprobs, dtype=sampled.dtype)
        penalised = [
            0.0 if score is None else score - (0.0 if end else self.drawing.missing_eos_penalty)
            for score, end in zip(scores, ended, strict=True)
        ]
        numbers = torch.tensor(penalised, dtype=found["logprobs"].dtype, device=device)
        return Drawn(places, [*queries], responses, mask, sampled_logprobs=sampled, scores=numbers, **found)

    def kl_metrics(self, drawn: Drawn) -> dict[str, float]:
        """How far the policy is from the reference, how sure it is, and how far the sampler is from the policy.

        Args:
            drawn: the step's responses.

        Returns:
            Of all processes together: `kl_per_sequence` (k1 summed over a response, nats) and per token `kl_k3`,
            `entropy` and `sampler_mismatch` (mean distance of log-probabilities, nats).
        """
        k1, k3 = (kl_estimate(drawn.logprobs, drawn.ref_logprobs, name) for name in ("k1", "k3"))
        mismatch = (drawn.logprobs - drawn.sampled_logprobs).abs()
        counted = drawn.mask.any(1)
        return {
            "kl_per_sequence": float(masked_mean(k1.masked_fill(~drawn.mask, 0.0).sum(1), counted, self.reduce)),
            "kl_k3": float(masked_mean(k3, drawn.mask, self.reduce)),
            "entropy": float(masked_mean(drawn.entropies, drawn.mask, self.reduce)),
            "sampler_mismatch": float(masked_mean(mismatch, drawn.mask, self.reduce)),
        }

    # Steps of the optimizer

    def minibatches(self, drawn: Drawn, size: int, epoch: int) -> Iterator[list[int]]:
        """Rows of this process's responses, minibatch by minibatch of the global batch, in a seeded order.

        Args:
            drawn: the step's responses.
            size: responses of a minibatch, over all processes.
            epoch: from 0.
        """
        generator = torch.Generator().manual_seed(response_seed(self.stepping.seed, self.step, -1 - epoch) % 2**63)
        order = torch.randperm(self.drawing.batch, generator=generator).tolist()
        mine = {place: row for row, place in enumerate(drawn.places)}
        for start in range(0, len(order), size):
            yield [mine[place] for place in order[start : start + size] if place in mine]

    def parts(self, drawn: Drawn, rows: Sequence[int]) -> Iterator[tuple[list[int], Rows]]:
        """A minibatch in micro-batches of responses of like length.

        Args:
            drawn: the step's responses.
            rows: which of them.

        Yields:
            Indices into `drawn`, and their rows for the model.
        """
        lengths = [len(drawn.queries[row]) + len(drawn.responses[row]) for row in rows]
        order = [rows[place] for place in sorted(range(len(rows)), key=lambda place: -lengths[place])]
        for start in range(0, len(order), self.stepping.micro_batch):
            some = order[start : start + self.stepping.micro_batch]
            yield some, self._rows([drawn.queries[row] for row in some], [drawn.responses[row] for row in some])

    def reduce(self, sums: torch.Tensor) -> torch.Tensor:
        """Add up over all processes.

        Args:
            sums: of this process.
        """
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return sums

    def update(self) -> float:
        """One step of the optimizer with the gradients that are there, added up over all processes.

        Returns:
            The gradient's norm before it was clipped.

        Raises:
            TrainingError: it is no number.
        """
        trained = self.optimizer.param_groups[0]["params"]
        for one in trained:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
            self.reduce(one.grad)
        norm = torch.nn.utils.clip_grad_norm_(trained, self.stepping.max_grad_norm)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"step {self.step + 1}: the gradient is no number; the last checkpoint is kept: lower "
                "optimisation.learning_rate, or look at the rewards in judgements-*.jsonl"
            )
        self._updates += 1
        group = self.optimizer.param_groups[0]
        group["lr"] = self.learning_rate
        if self.stepping.tf1_eps:
            # Adam there divides by √v + ε before the bias is corrected: ε grows by 1/√(1 − β₂ᵗ) as torch has it.
            group["eps"] = self.stepping.eps / math.sqrt(1 - group["betas"][1] ** self._updates)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    @property
    def learning_rate(self) -> float:
        """Of the step under way: up along a line, and then down to 0."""
        warm = self.stepping.warmup_share * self.steps
        rising = min(1.0, (self.step + 1) / warm) if warm else 1.0
        return self.stepping.learning_rate * rising * (1 - self.step / self.steps)

    @property
    def warming_values(self) -> bool:
        """Whether only the value head learns in the step under way."""
        return self.step < self.stepping.value_warmup_steps

    @contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Count the seconds of a phase of the step.

        Args:
            phase: its name.
        """
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] += time.monotonic() - started

    # Save and go on

    def go_on(self) -> None:
        """Take up the last checkpoint of the run folder, if there is one."""
        state = checkpoint.last(self.out)
        if state is not None:
            self.step, self._updates, self.facts = state["step"], state["updates"], dict(state["facts"])
            checkpoint.load_weights(self.model, state["trained"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.judge.reward.load_state_dict(state["reward"])
        self.rollout.load_weights(self.model.policy)
        if processes().is_main_process:
            for name in ("metrics", "samples", "watch", "watched"):
                # Nothing is done: what was seen before the first step is seen again.
                checkpoint.forget_after(self.out / f"{name}.jsonl", self.step if self.step else -1)

    def save(self) -> None:
        """Write a checkpoint: every number that a resumed training could not make again."""
        state = {
            "step": self.step,
            "updates": self._updates,
            "facts": self.facts,
            "trained": checkpoint.trained_weights(self.model),
            "optimizer": self.optimizer.state_dict(),
            "reward": self.judge.reward.state_dict(),
        }
        if processes().is_main_process:
            checkpoint.save(self.out, self.step, state, self.saving.keep)

    def end_step(self, metrics: Mapping[str, float | None]) -> None:
        """Write down what the step came to, save where it is time, and end where the process was asked to.

        Args:
            metrics: of the step, of this process or of all.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when a checkpoint is written.
            SystemExit: after SIGTERM (143), likewise.
        """
        self.step += 1
        shared = _mean_over(gather_object([dict(metrics)]))
        if processes().is_main_process:
            seconds = {f"seconds_{name}": round(value, 3) for name, value in self.seconds.items()}
            checkpoint.append(self.out / "metrics.jsonl", {"step": self.step, **shared, **seconds})
            for name, value in {**shared, **seconds}.items():
                if self._board is not None and value is not None:
                    self._board.add_scalar(name, value, self.step)
        self.seconds.clear()
        self.watch(self.step, shared)
        heard = self.heard()
        if heard or self.step % self.saving.every_steps == 0 or self.step == self.steps:
            self.save()
        if heard and self.step < self.steps:
            raise KeyboardInterrupt if heard == signal.SIGINT else SystemExit(128 + heard)

    @contextmanager
    def tensorboard(self) -> Iterator[None]:
        """Write each step's metrics for TensorBoard too, in `tensorboard/` of the run folder, while the block runs."""
        if not processes().is_main_process:
            yield
            return
        with SummaryWriter(str(self.out / "tensorboard")) as self._board:
            yield

    def heard(self) -> int:
        """The signal that asks for an end, in any of the processes; 0 for none."""
        number = torch.tensor(int(self.keeper.signal or 0), device=self.model.value_head.weight.device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)


def _mean_over(found: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Metrics of all processes; a class of failures that one has not seen is 0 there."""
    means: dict[str, float | None] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        known = [value for one in found if (value := one.get(name, 0.0)) is not None and math.isfinite(value)]
        means[name] = sum(known) / len(known) if known else None
    return means
