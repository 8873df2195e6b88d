"""The KL coefficient β during training: as it is, or drawn to a target."""

from typing import Literal

from pydantic import Field

from rlaif.config import Config


class KL(Config):
    """How the policy is held to the reference.

    Attributes:
        kl_coef: β at the start, on the KL per token in the reward.
        control: `fixed`, or `adaptive` to `target`.
        target: nats per *sequence*, summed over a response's tokens.
        horizon: responses within which an adaptive β reacts.
        loss_coef: weight of k2 as a loss of its own, beside or in place of the KL in the reward.

    Source: arXiv:1909.08593, section 2.2.
    """

    kl_coef: float = Field(default=0.05, ge=0)
    control: Literal["fixed", "adaptive"] = "fixed"
    target: float = Field(default=6.0, gt=0)
    horizon: int = Field(default=10_000, ge=1)
    loss_coef: float = Field(default=0.0, ge=0)


class KLController:
    """Keeps β.

    Attributes:
        kl_coef: β now.
    """

    def __init__(self, settings: KL) -> None:
        """Begin with the settings' β.

        Args:
            settings: the section.
        """
        self._settings = settings
        self.kl_coef = settings.kl_coef

    def update(self, kl_per_sequence: float, responses: int) -> None:
        """Look at a batch.

        Args:
            kl_per_sequence: its mean KL, nats summed over each response.
            responses: how many it has.
        """
        if self._settings.control == "adaptive":
            error = min(max(kl_per_sequence / self._settings.target - 1, -0.2), 0.2)
            self.kl_coef *= 1 + error * responses / self._settings.horizon
