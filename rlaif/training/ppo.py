"""Direct RLAIF: proximal policy optimisation whose reward is the labeler itself, or any other `RewardFn`.

Shapes: B responses of a step, T tokens of the longest.

    for each step:
        draw a response to each query from the policy               y ~ π
        ask for the score of each; meanwhile log π, log π_ref, V    r(x, y)
        reward of token t:   −β·(log π − log π_ref)_t, and the score at the last token
        advantages A_t and returns by GAE, whitened over the batch
        for each epoch and minibatch: a step down  E[ max(−ρA, −clip(ρ)A) ] + c·E[ (V − return)² / 2 ]
        move β to its target

Sources: arXiv:1707.06347 (PPO), arXiv:1909.08593 (on language models), arXiv:2309.00267 (the labeler as reward).
Deviations from the last: PPO in place of REINFORCE (see `reinforce`), KL in the reward of each token.
"""

import torch
from pydantic import Field

from rlaif.config import Config
from rlaif.training.advantages import explained_variance, gae, kl_estimate, token_rewards, whiten
from rlaif.training.drawing import Drawn
from rlaif.training.kl_control import KL, KLController
from rlaif.training.losses import clipped_policy_loss, clipped_value_loss
from rlaif.training.online import Online
from rlaif.training.step_metrics import kl_metrics


class Clipping(Config):
    """PPO's own numbers.

    Attributes:
        epochs: passes over a step's responses.
        minibatch: responses of one step of the optimizer, over all processes; all of them if None.
        clip: ε of the policy's ratio.
        value_clip: how far V may move within a step.
        gamma: γ.
        lam: λ of GAE.
        whiten: whiten advantages over the global batch.
        entropy_coef: weight of the entropy, which the loss then rewards.
        max_kl: an epoch is the last where the mean of k3 between the policy and itself as it drew is above it.

    Source: arXiv:2403.17031 (defaults of its PPO).
    """

    epochs: int = Field(default=4, ge=1)
    minibatch: int | None = Field(default=None, ge=1)
    clip: float = Field(default=0.2, gt=0)
    value_clip: float = Field(default=0.2, gt=0)
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    whiten: bool = True
    entropy_coef: float = Field(default=0.0, ge=0)
    max_kl: float | None = Field(default=None, gt=0)


def train_ppo(run: Online, clipping: Clipping, kl: KL) -> None:
    """Train the policy of a run to its last step.

    Args:
        run: models, queries, judge and folder; it goes on where it stands.
        clipping: the section.
        kl: the section.

    Raises:
        TrainingError: a gradient is no number, or the labeler fails too often; the last checkpoint is kept.
    """
    controller = KLController(kl)
    controller.kl_coef = run.facts.get("kl_coef", kl.kl_coef)
    while run.step < run.steps:
        drawn, metrics = run.draw()
        k1 = kl_estimate(drawn.logprobs, drawn.ref_logprobs, "k1")
        rewards = token_rewards(drawn.scores, k1, drawn.mask, controller.kl_coef)
        advantages, returns = gae(rewards, drawn.values, drawn.mask, clipping.gamma, clipping.lam)
        if clipping.whiten:
            advantages = whiten(advantages, drawn.mask, run.reduce)
        with run.timing("train"):
            metrics |= optimise(run, drawn, advantages, returns, clipping, kl.loss_coef)
        far = kl_metrics(drawn, run.reduce)
        metrics |= far | {"kl_coef": controller.kl_coef}
        metrics["explained_variance"] = explained_variance(drawn.values, returns, drawn.mask, run.reduce)
        if run.reduce(drawn.mask.any().long()):  # of a step that is masked as a whole no KL is known
            controller.update(far["kl_per_sequence"], run.drawing.batch)
        run.facts["kl_coef"] = controller.kl_coef
        run.end_step(metrics)


def optimise(
    run: Online, drawn: Drawn, advantages: torch.Tensor, returns: torch.Tensor, clipping: Clipping, kl_loss_coef: float
) -> dict[str, float]:
    """The epochs of minibatches of one step.

    Args:
        run: model and optimizer.
        drawn: the step's responses.
        advantages: (B, T).
        returns: (B, T).
        clipping: the section.
        kl_loss_coef: weight of k2 to the reference as a loss.

    Returns:
        Means over minibatches; what begins with `first_` is of the first one alone.
    """
    seen: list[dict[str, float]] = []
    for epoch in range(clipping.epochs):
        began = len(seen)
        for rows in run.minibatches(drawn, clipping.minibatch or run.drawing.batch, epoch):
            seen.append(_step_down(run, drawn, rows, advantages, returns, clipping, kl_loss_coef))
        approx_kl = [one["approx_kl"] for one in seen[began:]]
        if clipping.max_kl is not None and sum(approx_kl) / len(approx_kl) > clipping.max_kl:
            break
    means = {name: sum(one[name] for one in seen) / len(seen) for name in seen[0]}
    first = {f"first_{name}": seen[0][name] for name in ("ratio_error", "clip_fraction")}
    return means | first | {"updates": float(len(seen)), "learning_rate": run.learning_rate}


_SEEN = ("policy_loss", "value_loss", "clip_fraction", "approx_kl")


def _step_down(
    run: Online,
    drawn: Drawn,
    rows: list[int],
    advantages: torch.Tensor,
    returns: torch.Tensor,
    clipping: Clipping,
    kl_loss_coef: float,
) -> dict[str, float]:
    """One step of the optimizer, on one minibatch."""
    # The mean is over the tokens of the whole minibatch, whichever process and micro-batch they are in.
    tokens = run.reduce(drawn.mask[rows].sum(dtype=torch.float64)).clamp(min=1)
    sums = torch.zeros(len(_SEEN), dtype=torch.float64, device=tokens.device)
    error = torch.zeros((), dtype=torch.float64, device=tokens.device)
    for some, part in run.parts(drawn, rows):
        width = part.response_mask.shape[1]
        mask, old, advantage = (one[some, :width] for one in (drawn.mask, drawn.logprobs, advantages))
        found = run.model(
            part, run.drawing.temperature, entropy=clipping.entropy_coef > 0, value_head_alone=run.warming_values
        )
        policy = clipped_policy_loss(found.logprobs, old, advantage, clipping.clip)
        value = clipped_value_loss(found.values, drawn.values[some, :width], returns[some, :width], clipping.value_clip)
        whole = policy - clipping.entropy_coef * found.entropies
        if kl_loss_coef:
            whole = whole + kl_loss_coef * kl_estimate(found.logprobs, drawn.ref_logprobs[some, :width], "k2")
        if run.warming_values:
            whole = torch.zeros_like(whole)
        loss = whole + run.stepping.value_coef * value
        (loss.masked_fill(~mask, 0.0).sum() / tokens).backward()
        with torch.no_grad():
            ratio = (found.logprobs - old).exp()
            clipped = ((ratio - 1).abs() > clipping.clip).to(ratio.dtype)
            # Against the policy as it drew, whose tokens these are: k3 with the roles of policy and reference changed.
            moved = kl_estimate(old, found.logprobs, "k3")
            seen = [one.masked_fill(~mask, 0.0).sum(dtype=torch.float64) for one in (policy, value, clipped, moved)]
            sums += torch.stack(seen) / tokens
            error = torch.maximum(error, (ratio - 1).masked_fill(~mask, 0.0).abs().max().double())
    run.reduce(sums)
    return dict(zip(_SEEN, sums.tolist(), strict=True)) | {
        "grad_norm": run.update(),
        "ratio_error": run.highest(float(error)),
    }
