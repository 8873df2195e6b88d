"""The three-armed problem of the closed forms, with a real small model: one query, three responses of one token."""

import copy
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from rlaif.records import Failure, Turn
from rlaif.rewards import Candidate, RewardFn
from rlaif.training.judging import Failures, Judge
from rlaif.training.models import load_policy
from rlaif.training.online import Online
from rlaif.training.online_settings import Drawing, Saving, Stepping
from rlaif.training.policy_value import PolicyAndValue
from rlaif.training.rollout import Query, TransformersRollout
from rlaif.training.settings import Lora

QUERY, ARMS = (0, 3, 700, 4), (101, 102, 103)
PI_REF, REWARD = (0.5, 0.3, 0.2), (0.0, 1.0, 2.0)
OPTIMUM = {0.5: (0.036667, 0.162559, 0.800774), 1.0: (0.179000, 0.291944, 0.529056)}


def with_reference(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The tiny policy after it was made to have π_ref on the arms, and next to nothing elsewhere."""
    torch.manual_seed(0)
    model = load_policy(folder, torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 300)
    aim = torch.zeros(model.config.vocab_size)
    aim[list(ARMS)] = torch.tensor(PI_REF)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.tensor([QUERY])).logits[:, -1], aim[None]).backward()
        optimizer.step()
        schedule.step()
    return model.to(dtype)


def arms_of(model: Any) -> torch.Tensor:
    """π of the arms, over all tokens."""
    with torch.no_grad():
        return torch.softmax(model(torch.tensor([QUERY])).logits[0, -1].double(), -1)[list(ARMS)]


def by_arm(candidates: Sequence[Candidate], values: Sequence[float] = REWARD) -> list[float]:
    """The reward of each candidate's only token; a token that is no arm has the lowest."""
    worth = dict(zip(ARMS, values, strict=True))
    return [worth.get(one.token_ids[0], min(values)) for one in candidates]


class OfArms:
    """A reward function by arms; some of the judgements fail."""

    name = "arms"

    def __init__(self, values: Sequence[float] = REWARD, refused: float = 0.0, zeros: bool = False) -> None:
        """`refused`: this share of the first arm's judgements; with `zeros` such a failure becomes a 0."""
        self.values, self.refused, self.zeros = values, refused, zeros
        self.generator = torch.Generator().manual_seed(0)

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        draws = torch.rand(len(batch), generator=self.generator).tolist()
        for place, (one, value, draw) in enumerate(zip(batch, by_arm(batch, self.values), draws, strict=True)):
            if one.token_ids[0] == ARMS[0] and draw < self.refused:
                yield place, 0.0 if self.zeros else Failure(id=one.id, failure="refused", detail="no")
            else:
                yield place, value

    def usage(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        assert not state


@contextmanager
def online(
    policy: Any, folder: Path, out: Path, reward: RewardFn | None = None, *, steps: int = 60, **changes: Any
) -> Any:
    """A training on the arms, ready to run."""
    drawing = {"batch": 256, "max_tokens": 1, "temperature": 1.0, "missing_eos_penalty": 0.0}
    stepping = {"learning_rate": 3e-3, "micro_batch": 256, "eps": 1e-8, "max_grad_norm": 1e3}
    failures = Failures(**changes.pop("failures", {}))
    drawing |= changes.pop("drawing", {})
    stepping |= changes.pop("stepping", {})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lora = Lora(**changes.pop("lora", {}))
    model = PolicyAndValue(policy, None if lora.rank else copy.deepcopy(policy), None, lora)
    query = Query("q", (Turn(role="user", content="?"),), QUERY, {})
    out.mkdir(exist_ok=True, parents=True)
    with Judge(reward or OfArms(), failures) as judge:
        yield Online(
            model,
            TransformersRollout(policy, tokenizer, drawing["max_tokens"], drawing["temperature"]),
            judge,
            [query],
            tokenizer,
            2,
            Drawing(**drawing),
            Stepping(**stepping),
            Saving(**{"every_steps": 10_000} | changes.pop("saving", {})),
            failures,
            steps,
            out,
            **changes,
        )
