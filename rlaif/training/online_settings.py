"""The sections that PPO's and REINFORCE's configs share."""

from typing import Literal

from pydantic import Field

from rlaif.config import Config


class Drawing(Config):
    """What a step draws.

    Attributes:
        batch: responses of a step, over all processes together; one to each query.
        max_tokens: of a response, its end token included; a longer one is cut there.
        temperature: of the draws.
        missing_eos_penalty: taken from the score of a response that was cut.
        query_tokens: of a query; a longer one loses tokens from its left.
        cache: of keys and values while responses are drawn: what is read of it grows with `dynamic`, and is always the
            whole with `static`, which an accelerator's compiled decoding needs and a CPU only pays for.
        one_step_off: draw the next step's responses while this step's are judged, for a slow labeler. They come from
            the policy before this step's update; the ratio to it corrects for that. One that rewards on this machine's
            own cores gains nothing.
    """

    batch: int = Field(default=64, ge=1)
    max_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.9, gt=0)
    missing_eos_penalty: float = Field(default=1.0, ge=0)
    query_tokens: int = Field(default=384, ge=1)
    cache: Literal["dynamic", "static"] = "dynamic"
    one_step_off: bool = False


class Stepping(Config):
    """How weights change.

    Attributes:
        learning_rate: the highest; it falls to 0 along a line.
        warmup_share: of the steps, in which the rate rises from 0.
        value_warmup_steps: steps at the beginning in which only the value head learns.
        value_trunk: `shared` lets V read the policy's hidden states, `separate` those of a second copy, which costs its
            memory and a third more time, and foresees much more of the returns.
        value_coef: weight of the value loss.
        micro_batch: responses that go through the model at once, in each process.
        autocast: multiply matrices in bfloat16, in drawing too; on an accelerator if None. Weights are in float32.
        gradient_checkpointing: compute activations twice instead of keeping them.
        max_grad_norm: to which gradients are clipped.
        eps: of Adam.
        tf1_eps: apply it as TF1 did, outside of the bias correction: rarely seen weights then move less at first.
        seed: of everything that is drawn.

    Source: arXiv:2403.17031, details 11 to 13 (the learning rate, Adam's epsilon).
    """

    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    value_warmup_steps: int = Field(default=0, ge=0)
    value_trunk: Literal["shared", "separate"] = "shared"
    value_coef: float = Field(default=0.1, ge=0)
    micro_batch: int = Field(default=32, ge=1)
    autocast: bool | None = None
    gradient_checkpointing: bool = False
    max_grad_norm: float = Field(default=1.0, gt=0)
    eps: float = Field(default=1e-5, gt=0)
    tf1_eps: bool = False
    seed: int = Field(default=0, ge=0)


class Saving(Config):
    """When training is saved, and how many responses are kept to be read.

    Attributes:
        every_steps: steps between checkpoints.
        keep: how many of the last are kept.
        samples_every_steps: steps between lots of responses in `samples.jsonl`.
        samples: how many of a step's responses.
    """

    every_steps: int = Field(default=20, ge=1)
    keep: int = Field(default=1, ge=1)
    samples_every_steps: int = Field(default=10, ge=1)
    samples: int = Field(default=4, ge=0)
