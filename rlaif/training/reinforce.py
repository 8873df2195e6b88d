"""REINFORCE with a learned value baseline: the reinforcement learning of arXiv:2309.00267.

Shapes: B responses of a step, T tokens of the longest.

    for each step:
        draw a response to each query from the policy               y ~ π
        ask for the score of each; meanwhile log π, log π_ref, V    r(x, y)
        reward of token t:   −β·(log π − log π_ref)_t, and (1 − β)·r at the last token
        a step down  E[ −(return_t − V_t)·log π_t ] + c·E[ (V_t − return_t)² / 2 ],  γ = 1

Source: arXiv:2309.00267, sections 2.3 and 3.3 and appendix B: objective (1 − β)·r − β·KL.
Its β is not the ordinary one: the same optimum has PPO with β/(1 − β).
"""

import torch

from rlaif.training.advantages import explained_variance, gae, kl_estimate, token_rewards
from rlaif.training.kl_control import KL
from rlaif.training.losses import reinforce_loss
from rlaif.training.online import Online
from rlaif.training.step_metrics import kl_metrics


def train_reinforce(run: Online, kl: KL) -> None:
    """Train the policy of a run to its last step.

    Args:
        run: models, queries, judge and folder; it goes on where it stands.
        kl: the section; its β is that of the objective above, and fixed.

    Raises:
        TrainingError: a gradient is no number, or the labeler fails too often; the last checkpoint is kept.
    """
    beta = kl.kl_coef
    while run.step < run.steps:
        drawn, metrics = run.draw()
        k1 = kl_estimate(drawn.logprobs, drawn.ref_logprobs, "k1")
        rewards = token_rewards((1 - beta) * drawn.scores, k1, drawn.mask, beta)
        advantages, returns = gae(rewards, drawn.values, drawn.mask, gamma=1.0, lam=1.0)
        with run.timing("train"):
            counted = run.reduce(drawn.mask.any(1).sum(dtype=torch.float64)).clamp(min=1)
            for some, part in run.parts(drawn, range(len(drawn.places))):
                width = part.response_mask.shape[1]
                mask = drawn.mask[some, :width]
                found = run.model(part, run.drawing.temperature, value_head_alone=run.warming_values)
                policy = reinforce_loss(found.logprobs, drawn.logprobs[some, :width], advantages[some, :width])
                value = (found.values - returns[some, :width]).square() / 2
                loss = run.stepping.value_coef * value + (0.0 if run.warming_values else 1.0) * policy
                # Summed over a response, and the mean over responses: the gradient of the expected return.
                (loss.masked_fill(~mask, 0.0).sum() / counted).backward()
            metrics["grad_norm"] = run.update()
        metrics |= kl_metrics(drawn, run.reduce) | {"kl_coef": beta, "learning_rate": run.learning_rate}
        metrics["explained_variance"] = explained_variance(drawn.values, returns, drawn.mask, run.reduce)
        run.end_step(metrics)
