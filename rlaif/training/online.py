"""What PPO and REINFORCE do alike around their mathematics: draw, judge, score, step, save, go on.

Shapes: B responses of this process (the global batch is cut by place over the processes), T tokens of the longest.
Everything that is drawn is seeded by step and place, so that a resumed training needs no state of a generator; the
judgements of a step are in `judgements.jsonl` before they count, so that no step is judged twice.
"""

import math
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedTokenizerBase

from rlaif.errors import TrainingError
from rlaif.generation import Continuation
from rlaif.rewards import Reward
from rlaif.training import checkpoint
from rlaif.training.drawing import Asked, Drawn, candidate, score
from rlaif.training.fitting import processes
from rlaif.training.judged_steps import JudgedSteps
from rlaif.training.judging import Failures, Judge, resolve
from rlaif.training.online_settings import Drawing, Saving, Stepping
from rlaif.training.policy_value import PolicyAndValue
from rlaif.training.rollout import Query, Rollout, Rows, batch_places, pad_rows, response_seed
from rlaif.training.step_metrics import labeler_metrics, response_metrics
from rlaif.training.watching import SaveAtTheEnd


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
        overlap: judge while responses are drawn, and while the reference and the values are computed; not for a labeler
            that runs on the same cores.
        watch: told of each step's metrics; a text that it returns says why training is to end with a checkpoint.
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
    watch: Callable[[int, Mapping[str, float | None]], str | None] = lambda step, metrics: None
    keeper: SaveAtTheEnd = field(default_factory=SaveAtTheEnd)
    step: int = 0
    optimizer: torch.optim.AdamW = field(init=False)
    facts: dict[str, float] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _updates: int = 0
    _asked: dict[int, Asked] = field(default_factory=dict)
    _reward_state: dict[str, Any] = field(default_factory=dict)
    _judged: JudgedSteps = field(init=False)
    _board: SummaryWriter | None = None

    def __post_init__(self) -> None:
        self._reward_state = self.judge.reward.state_dict()
        self._judged = JudgedSteps(self.out, processes().process_index, self.saving.samples)
        trained = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=self.stepping.learning_rate, eps=self.stepping.eps, weight_decay=0.0
        )

    # Draw, judge, score

    def draw(self) -> tuple[Drawn, dict[str, float | None]]:
        """Draw a step's responses, have them judged, and let the models say what they think of them.

        With `one_step_off` the next step's responses are drawn while this step's are judged.

        Returns:
            The responses, and metrics of them.

        Raises:
            TrainingError: the labeler fails too often, or in a way that is to stop the training.
        """
        with self._saved_at_an_end():
            asked, ahead = self._written(self.step), None
            self._ask(asked)
            self._score(asked)
            if self.drawing.one_step_off and self.step + 1 < self.steps:
                ahead = self._written(self.step + 1)
                self._score(ahead)
            known, of_judging = self._judgements(asked)
            scores, counts = resolve(known, self.failures)
        is_time = self.step == 0 or (self.step + 1) % self.saving.samples_every_steps == 0
        if processes().is_main_process and is_time:
            self._judged.keep_samples(self.step + 1, asked.candidates, known)
        # Of all processes' responses: a mean of the processes' means would weigh a score by how many they masked.
        mine = [
            (one.response, len(response), written.ended, score)
            for one, response, written, score in zip(
                asked.candidates, asked.responses, asked.written, scores, strict=True
            )
        ]
        metrics = response_metrics(gather_object(mine), sum(gather_object([counts]), Counter())) | of_judging
        if ahead is not None:
            # Not before: a reward function that has a state sees one batch after the other.
            self._ask(ahead)
        return asked.drawn(scores, self.drawing.missing_eos_penalty), metrics

    def _written(self, step: int) -> Asked:
        """A step's responses. A labeler that runs elsewhere begins with each as soon as it is written."""
        if (before := self._asked.get(step)) is not None:
            return before
        places, queries = self._queries_of(step)

        def begin(row: int, one: Continuation) -> None:
            self.judge.begin(candidate(step, places[row], queries[row], one, self.tokenizer))

        early = self.overlap and not self._judged.has(step + 1)
        with self.timing("generate"):
            seeds = [response_seed(self.stepping.seed, step, place) for place in places]
            written = self.rollout.generate([one.tokens for one in queries], seeds, begin if early else None)
        return self._keep_asked(step, written)

    def _queries_of(self, step: int) -> tuple[list[int], list[Query]]:
        """Places of this process in a step's global batch, and what stands there."""
        state = processes()
        every = batch_places(len(self.queries), self.drawing.batch, step, self.stepping.seed)
        places = list(range(self.drawing.batch))[state.process_index :: state.num_processes]
        return places, [self.queries[every[place]] for place in places]

    def _keep_asked(
        self, step: int, written: list[Continuation], found: dict[str, torch.Tensor] | None = None
    ) -> Asked:
        places, queries = self._queries_of(step)
        candidates = [candidate(step, *one, self.tokenizer) for one in zip(places, queries, written, strict=True)]
        self._asked[step] = Asked(step, places, queries, written, candidates, found)
        return self._asked[step]

    def _ask(self, asked: Asked) -> None:
        """Begin to judge, unless that was done; a labeler on the same cores is waited for."""
        if asked.known is not None or asked.future is not None:
            return
        asked.known = self._judged.known(asked.step + 1, asked.places, self.judge.reward)
        if asked.known is None:
            asked.future = self.judge.ask(asked.candidates)
            if not self.overlap:
                with self.timing("judge"):
                    asked.future.exception()

    def _score(self, asked: Asked) -> None:
        if asked.found is None:
            with self.timing("score"):
                one = self.drawing.temperature, self.stepping.micro_batch
                asked.found = score(self.model, asked.tokens, asked.responses, self.pad, *one)

    def _judgements(self, asked: Asked) -> tuple[list[Reward], dict[str, float | None]]:
        """A step's judgements, in the folder before they count; and what was measured of judging."""
        if asked.known is None:
            assert asked.future is not None
            with self.timing("judge"):
                known, waited = self.judge.wait(asked.future, asked.candidates, lambda: int(self.keeper.signal or 0))
            # What is to stop the training is not kept: when it is started again, the labeler is asked again.
            resolve(known, self.failures)
            asked.known = known, labeler_metrics(self.judge.reward) | {"waited_s": waited}
            self._judged.keep(asked.step + 1, asked.places, asked.candidates, *asked.known, self.judge.reward)
        self._reward_state = self.judge.reward.state_dict()
        return asked.known

    @contextmanager
    def _saved_at_an_end(self) -> Iterator[None]:
        """Where judging ends the training, by whatever is raised, write a checkpoint of the steps before."""
        try:
            yield
        except BaseException:
            # Of several processes none knows whether the others end here too.
            if processes().num_processes == 1:
                self.save()
            raise

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
            queries, responses = ([of[row] for row in some] for of in (drawn.queries, drawn.responses))
            yield some, pad_rows(queries, responses, self.pad, self.model.value_head.weight.device)

    def reduce(self, sums: torch.Tensor) -> torch.Tensor:
        """Add up over all processes.

        Args:
            sums: of this process.
        """
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return sums

    def highest(self, number: float) -> float:
        """The highest of all processes' numbers.

        Args:
            number: of this process.
        """
        found = torch.tensor(number, dtype=torch.float64, device=self.model.value_head.weight.device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return float(found)

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
        """Take up the last checkpoint of the run folder, if there is one.

        Raises:
            TrainingError: another number of processes drew responses ahead of it.
        """
        state = checkpoint.last(self.out)
        if state is not None:
            self.step, self._updates, self.facts = state["step"], state["updates"], dict(state["facts"])
            checkpoint.load_weights(self.model, state["trained"])
            self.optimizer.load_state_dict(state["optimizer"])
            # The checkpoint has the main process's; one that was not there yet begins where that one stood.
            own = self._judged.state_behind(self.step)
            self.judge.reward.load_state_dict(state["reward"] if own is None else own)
            self._take_ahead(state["ahead"])
        self._reward_state = self.judge.reward.state_dict()
        self.rollout.load_weights(self.model.policy)
        if processes().is_main_process:
            for name in ("metrics", "samples", "watch", "watched"):
                # Nothing is done: what was seen before the first step is seen again.
                checkpoint.forget_after(self.out / f"{name}.jsonl", self.step if self.step else -1)
            self._judged.forget_failures()
        # None may add to a file that the main process is rewriting.
        processes().wait_for_everyone()

    def _take_ahead(self, drawn: Sequence[dict[str, Any] | None]) -> None:
        """Take up what this process drew ahead of the checkpoint, if it did."""
        if all(one is None for one in drawn):
            return
        if len(drawn) != processes().num_processes:
            raise TrainingError(
                f"{self.out}: {len(drawn)} process(es) drew responses ahead (rollout.one_step_off), and now there are "
                f"{processes().num_processes}; go on with as many as before"
            )
        if (ahead := drawn[processes().process_index]) is not None:
            device = self.model.value_head.weight.device
            found = {name: one.to(device) for name, one in ahead["found"].items()}
            self._keep_asked(self.step, [Continuation(*one) for one in ahead["written"]], found)

    def save(self) -> None:
        """Write a checkpoint: every number that a resumed training could not make again."""
        asked = self._asked.get(self.step) if self.drawing.one_step_off else None
        # Drawn from the policy of a step before, which nobody has any more; what is not scored yet is of this one.
        ahead = asked.state() if asked is not None and asked.found is not None else None
        state = {
            "step": self.step,
            "updates": self._updates,
            "facts": self.facts,
            "trained": checkpoint.trained_weights(self.model),
            "optimizer": self.optimizer.state_dict(),
            "reward": self._reward_state,
            "ahead": gather_object([ahead]),
        }
        if processes().is_main_process:
            checkpoint.save(self.out, self.step, state, self.saving.keep)

    def end_step(self, metrics: Mapping[str, float | None]) -> None:
        """Write down what the step came to, save where it is time, and end where the process was asked to.

        Args:
            metrics: of the step, of all processes; of what is one's own (what its labeler says, how long it waited)
                the processes' mean is taken.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when a checkpoint is written.
            SystemExit: after SIGTERM (143), likewise.
            TrainingError: who watches says that training is to end, likewise.
        """
        del self._asked[self.step]
        self.step += 1
        shared = _mean_over(gather_object([dict(metrics)]))
        seconds = {f"seconds_{name}": round(value, 3) for name, value in self.seconds.items()}
        if processes().is_main_process:
            checkpoint.append(self.out / "metrics.jsonl", {"step": self.step, **shared, **seconds})
            for name, value in {**shared, **seconds}.items():
                if self._board is not None and value is not None:
                    self._board.add_scalar(name, value, self.step)
        self.seconds.clear()
        # Only the main process may have one who watches; all must end together.
        wrong = next(filter(None, gather_object([self.watch(self.step, {**shared, **seconds})])), None)
        heard = self.heard()
        if wrong or heard or self.step % self.saving.every_steps == 0 or self.step == self.steps:
            self.save()
        if wrong:
            raise TrainingError(wrong)
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
        return int(self.highest(int(self.keeper.signal or 0)))


def _mean_over(found: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Metrics of all processes, each the mean over those that know it."""
    means: dict[str, float | None] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        known = [value for one in found if (value := one.get(name)) is not None and math.isfinite(value)]
        means[name] = sum(known) / len(known) if known else None
    return means
