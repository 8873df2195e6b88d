"""Trainings whose labeler is away for a minute, or never says anything of some texts: too long for every day."""

import copy
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from arms import OPTIMUM, REWARD, OfArms, arms_of, by_arm, online, with_reference
from hostile import HostileServer
from safetensors.torch import load_file
from scipy import stats
from tiny_policy import tiny_policy

from rlaif.pocket.data import comparisons
from rlaif.records import Failure, Turn
from rlaif.rewards import Candidate
from rlaif.stages.train import train
from rlaif.training.kl_control import KL
from rlaif.training.ppo import Clipping, train_ppo
from rlaif.training.rollout import Query

pytestmark = pytest.mark.acceptance
OUTAGE_S = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"), hidden=16, layers=1)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a number of the run, which is what it is run for."""

    def write(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}")

    return write


# A minute without a labeler


class AwayServer(HostileServer):
    """A server all of whose replies are errors for a minute that begins with a certain request."""

    def __init__(self, begins: int) -> None:
        super().__init__()
        self._left, self._until = begins, 0.0

    def _fault(self, name: str) -> str:
        self._left -= 1
        if self._left == 0:
            self._until = time.monotonic() + OUTAGE_S
        self.is_down = time.monotonic() < self._until
        return super()._fault(name)


def test_a_service_that_is_gone_for_a_minute_costs_a_minute_and_nothing_else(
    folder: Path, tmp_path: Path, tell: Any
) -> None:
    found = comparisons(24, task="helpfulness", split="train", seed=3)
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps({"id": row["id"], "query": row["query"]}) + "\n" for row in found))
    # The minute begins in the midst of a step, of which there are six with eight requests each.
    seconds, servers = {}, {"clean": AwayServer(0), "away": AwayServer(28)}
    for name, server in servers.items():
        with server:
            config = {
                "model": str(folder),
                "queries": str(queries),
                "steps": 6,
                "rollout": {"batch": 8, "max_tokens": 12},
                "optimisation": {"learning_rate": 1e-2},
                "ppo": {"epochs": 1},
                "labeler": {"llm": "openai:judge", "base_url": server.url, "task": "helpfulness"},
            }
            path = tmp_path / f"{name}.yaml"
            path.write_text(yaml.safe_dump(config))
            began = time.monotonic()
            train("ppo", path, tmp_path / name / "run", progress=False)
            seconds[name] = time.monotonic() - began
    clean, away = (tmp_path / name / "run" for name in servers)
    faults = servers["away"].faults["500"]
    tell(f"{faults} errors in {OUTAGE_S:.0f} s; {seconds['away']:.0f} s, {seconds['clean']:.0f} s without")
    assert not servers["clean"].faults
    assert faults > 8
    assert OUTAGE_S < seconds["away"] < seconds["clean"] + 2 * OUTAGE_S
    assert [row["masked_share"] for row in rows(away / "metrics.jsonl")] == [0.0] * 6
    assert not (away / "failures.jsonl").exists()
    one, other = (load_file(out / "model" / "model.safetensors") for out in (clean, away))
    assert all(torch.equal(one[name], other[name]) for name in one)
    judged = [[row["rewards"] for row in rows(out / "judgements-0.jsonl")] for out in (clean, away)]
    assert judged[0] == judged[1]


class Away(OfArms):
    """A reward all of whose judgements are unavailable for a minute that begins with a certain batch."""

    def __init__(self, begins: int) -> None:
        super().__init__()
        self._left, self._until = begins, 0.0

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        self._left -= 1
        if self._left == 0:
            self._until = time.monotonic() + OUTAGE_S
        async for place, value in super().__call__(batch):
            away = time.monotonic() < self._until
            yield place, Failure(id=batch[place].id, failure="unavailable", detail="away") if away else value


def test_a_labeler_all_of_whose_judgements_fail_for_a_minute_is_waited_for(
    folder: Path, tmp_path: Path, tell: Any
) -> None:
    start = with_reference(folder)
    found = {}
    for name, begins in (("clean", 0), ("away", 3)):
        policy = copy.deepcopy(start)
        with online(policy, folder, tmp_path / name, Away(begins), steps=6, drawing={"batch": 64}) as run:
            train_ppo(run, Clipping(epochs=2), KL(kl_coef=0.5))
        found[name] = policy.state_dict()
    metrics = rows(tmp_path / "away" / "metrics.jsonl")
    tell(f"waited for {metrics[2]['waited_s']:.1f} s")
    assert [row["waited_s"] > OUTAGE_S for row in metrics] == [False, False, True, False, False, False]
    assert [row["masked_share"] for row in metrics] == [0.0] * 6
    assert not (tmp_path / "away" / "failures.jsonl").exists()
    assert all(torch.equal(found["away"][name], one) for name, one in found["clean"].items())


# Texts that fail for good


SHARE, SEEDS, QUERIES, STEPS, BATCH = 0.15, 5, 400, 40, 128


class FailingTexts(OfArms):
    """A reward by arms that never judges 15 % of the texts: which ones, a hash of query and response says."""

    def __init__(self, seed: int, share: float, zeros: bool = False) -> None:
        """With `zeros` a failure becomes a 0, as it must not."""
        super().__init__()
        self.seed, self.share, self.zeros, self.injected, self.asked = seed, share, zeros, 0, 0

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        for place, (one, value) in enumerate(zip(batch, by_arm(batch), strict=True)):
            self.asked += 1
            text = f"{self.seed}\0{one.query[0].content}\0{one.response}"
            if int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64 >= self.share:
                yield place, value
                continue
            self.injected += 1
            yield place, 0.0 if self.zeros else Failure(id=one.id, failure="unreadable", detail="never")


def expected_scores(folder: Path, start: Any, out: Path, tell: Any, share: float, zeros: bool = False) -> np.ndarray:
    """Σ π·r of the arms behind trainings with different seeds, in which as many are masked as failed."""
    found = []
    for seed in range(SEEDS):
        policy, reward = copy.deepcopy(start), FailingTexts(seed, share, zeros)
        stepping = {"learning_rate": 5e-3, "seed": seed}
        with online(
            policy, folder, out / str(seed), reward, steps=STEPS, drawing={"batch": BATCH}, stepping=stepping
        ) as run:
            # All are the same tokens, so that the optimum is that of the closed form.
            (query,) = run.queries
            run.queries = [
                Query(f"q{n}", (Turn(role="user", content=str(n)),), query.tokens, {}) for n in range(QUERIES)
            ]
            train_ppo(run, Clipping(epochs=2, whiten=False), KL(kl_coef=0.5))
        masked = sum(row["masked_share"] for row in rows(out / str(seed) / "metrics.jsonl")) * BATCH
        if not zeros:
            assert masked == pytest.approx(reward.injected, abs=1e-6)
            # Nearly all responses end as the same arm: 400 texts, of which about 15 % ± 1.8 % fail.
            assert reward.injected == pytest.approx(share * reward.asked, rel=0.36)
            failures = out / str(seed) / "failures.jsonl"
            assert (len(rows(failures)) if failures.exists() else 0) == reward.injected
        assert reward.asked == STEPS * BATCH
        found.append(float(arms_of(policy) @ torch.tensor(REWARD, dtype=torch.float64)))
        tell(f"{out.name}, seed {seed}: E[r] {found[-1]:.4f}, {reward.injected} of {reward.asked} failed")
    return np.array(found)


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % by Student's t."""
    low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
    return float(low), float(high)


def test_15_percent_of_texts_that_fail_for_good_are_masked_and_leave_the_result_as_it_is(
    folder: Path, tmp_path: Path, tell: Any
) -> None:
    start = with_reference(folder)
    clean = expected_scores(folder, start, tmp_path / "clean", tell, 0.0)
    faulty = expected_scores(folder, start, tmp_path / "faulty", tell, SHARE)
    zeros = expected_scores(folder, start, tmp_path / "zeros", tell, SHARE, zeros=True)
    wanted = float(np.dot(OPTIMUM[0.5], REWARD))
    of_faulty, of_zeros = interval(faulty - clean), interval(zeros - clean)
    tell(f"E[r] in closed form {wanted:.4f}, clean {clean.mean():.4f}, with failures {faulty.mean():.4f}")
    tell(f"with failures − clean: {(faulty - clean).mean():+.4f}, 95 % {of_faulty[0]:+.4f} to {of_faulty[1]:+.4f}")
    tell(f"with zeros − clean: {(zeros - clean).mean():+.4f}, 95 % {of_zeros[0]:+.4f} to {of_zeros[1]:+.4f}")
    assert of_faulty[0] < 0 < of_faulty[1]
    assert abs((faulty - clean).mean()) < 0.02
    # The same failures as zeros do show: e^(r/β) of .85·r has its mean at 1.6752, which is .0889 less.
    assert of_zeros[1] < -0.05
