"""Reward functions: what training optimises, whoever gives it.

base      `RewardFn`, the candidates it is given, and its rewards in order
mixtures  a weighted sum, and Llama 2's rule of helpfulness and safety
shaping   length penalty, clipping, running normalisation
adapters  functions in TRL's form, and plain scores of texts

No part of it knows a model: a reward model comes in by `FromScores`, a labeler by `stages.reward`.
"""

from rlaif.rewards.adapters import FromScores, FromTRL
from rlaif.rewards.base import Candidate, Early, Reward, RewardFn, begin, in_order, rewards
from rlaif.rewards.mixtures import Llama2Rule, Logits, WeightedSum, whiten
from rlaif.rewards.shaping import Clipped, LengthPenalty, RunningNormalised, token_count

__all__ = [
    "Candidate",
    "Clipped",
    "Early",
    "FromScores",
    "FromTRL",
    "LengthPenalty",
    "Llama2Rule",
    "Logits",
    "Reward",
    "RewardFn",
    "RunningNormalised",
    "WeightedSum",
    "begin",
    "in_order",
    "rewards",
    "token_count",
    "whiten",
]
