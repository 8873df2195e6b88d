"""Our online trainings as `online.py` measures them: models, loads, clocks, and one setting in its own process."""

import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

SIZES = {
    "small": {"hidden": 256, "intermediate": 768, "layers": 5, "heads": 8, "kv": 2, "words": 2048},
    "0.5b": {"hidden": 896, "intermediate": 4864, "layers": 24, "heads": 14, "kv": 2, "words": 151_936},
    "1.5b": {"hidden": 1536, "intermediate": 8960, "layers": 28, "heads": 12, "kv": 2, "words": 151_936},
    "wide vocabulary": {"hidden": 64, "intermediate": 128, "layers": 2, "heads": 2, "kv": 2, "words": 32_000},
}


class Load(NamedTuple):
    """What a step does."""

    batch: int = 32
    query: tuple[int, int] = (16, 48)
    tokens: int = 64
    epochs: int = 2
    minibatch: int = 16
    micro: int = 16
    steps: int = 2
    """That are timed, behind a first one."""


TEMPERATURE, RATE = 1.0, 1e-6


def model_folder(size: str, folder: Path) -> Path:
    """A random model of Qwen2's shape, whose words are all tokens but the end.

    It is a Llama: of a Qwen2 transformers takes the tokenizer for Qwen2's own, whatever it is.
    """
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    shape = SIZES[size]
    vocabulary = {"<pad>": 0, "<unk>": 1} | {f"w{number}": number for number in range(2, shape["words"])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", padding_side="left"
    )
    assert tokenizer.eos_token_id == shape["words"]
    config = LlamaConfig(
        vocab_size=shape["words"],
        hidden_size=shape["hidden"],
        intermediate_size=shape["intermediate"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv"],
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).to(dtype()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def texts(size: str, load: Load) -> list[str]:
    """A step's queries, each of them twice: RLOO draws two responses to a query."""
    rng = random.Random(0)
    lengths = [rng.randint(*load.query) for _ in range(load.batch // 2)]
    once = [" ".join(f"w{rng.randrange(2, SIZES[size]['words'])}" for _ in range(length)) for length in lengths]
    return [text for text in once for _ in range(2)]


def dtype() -> Any:
    """bfloat16 where there is an accelerator."""
    import torch

    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


class Instant:
    """A reward that takes no time."""

    name = "instant"

    async def __call__(self, batch: Sequence[Any]) -> Any:
        """Reward by a token."""
        for place, one in enumerate(batch):
            yield place, one.token_ids[0] % 7 / 7

    def usage(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Take nothing."""


class Given:
    """A rollout of random tokens, which cost nothing."""

    def __init__(self, words: int, tokens: int) -> None:
        """Take the vocabulary, and how many tokens a response has."""
        self.words, self.tokens = words, tokens

    def generate(self, queries: Sequence[Sequence[int]], seeds: Sequence[int], finished: Any = None) -> list[Any]:
        """Make up a response to each query; nobody is told of one before all are there."""
        from rlaif.generation import Continuation

        def one(seed: int) -> list[int]:
            rng = random.Random(seed)
            return [rng.randrange(2, self.words) for _ in range(self.tokens)]

        return [Continuation(one(seed), False, None, [-1.0] * self.tokens) for seed in seeds]

    def load_weights(self, policy: Any) -> None:
        """Need none."""


@contextmanager
def training(size: str, load: Load, folder: Path, separate: bool = False, generates: bool = True) -> Iterator[Any]:
    """An `Online` as `rlaif train ppo` makes it, but for the type of its weights."""
    from rlaif.training.data import read_online_queries
    from rlaif.training.judging import Failures, Judge
    from rlaif.training.models import load_policy
    from rlaif.training.online import Online
    from rlaif.training.online_settings import Drawing, Saving, Stepping
    from rlaif.training.policy_value import PolicyAndValue
    from rlaif.training.rollout import TransformersRollout
    from rlaif.training.settings import Lora
    from rlaif.training.tokens import Tokenizer

    tokenizer = Tokenizer(folder)
    policy, reference = load_policy(folder, dtype()), load_policy(folder, dtype())
    model = PolicyAndValue(policy, reference, load_policy(folder, dtype()) if separate else None, Lora())
    model.move_to(device())
    rollout = TransformersRollout(policy, tokenizer.tokenizer, load.tokens, TEMPERATURE)
    drawing = Drawing(batch=load.batch, max_tokens=load.tokens, temperature=TEMPERATURE)
    with tempfile.TemporaryDirectory() as out, Judge(Instant(), Failures()) as judge:
        asked = Path(out) / "queries.jsonl"
        rows = [json.dumps({"id": f"q{n}", "query": text}) for n, text in enumerate(texts(size, load))]
        asked.write_text("\n".join(rows))
        queries, _, _ = read_online_queries(asked, tokenizer, 10_000)
        yield Online(
            model,
            rollout if generates else Given(SIZES[size]["words"], load.tokens),
            judge,
            queries,
            tokenizer.tokenizer,
            tokenizer.pad,
            drawing,
            Stepping(learning_rate=RATE, micro_batch=load.micro),
            Saving(every_steps=10_000),
            Failures(),
            load.steps + 1,
            Path(out),
            overlap=True,
        )


def device() -> str:
    """Where models go."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def ours(size: str, load: Load, folder: Path, separate: bool, generates: bool = True) -> dict[str, Any]:
    """PPO with a value head; with `separate` its value function is a second model of the policy's size."""
    from rlaif.training.kl_control import KL
    from rlaif.training.ppo import Clipping, train_ppo

    ends: list[tuple[float, float]] = []
    with training(size, load, folder, separate, generates) as run:
        run.watch = lambda step, metrics: ends.append(clocks())
        with peak() as found:
            train_ppo(run, Clipping(epochs=load.epochs, minibatch=load.minibatch), KL())
        lines = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
        updates = {line["updates"] for line in lines}
        query_tokens = sum(len(one.tokens) for one in run.queries)
    assert {line["response_tokens"] for line in lines} == {load.tokens}
    phases = {name: [line[f"seconds_{name}"] for line in lines[1:]] for name in ("generate", "judge", "score", "train")}
    return timed(ends, phases) | found | {"updates": updates.pop(), "query_tokens": query_tokens}


def clocks() -> tuple[float, float]:
    """Seconds by the clock, and of this process on all cores."""
    return time.monotonic(), time.process_time()


def timed(ends: Sequence[tuple[float, float]], phases: dict[str, list[float]]) -> dict[str, Any]:
    """Seconds of whole steps behind the first, by the clock and of the processor, and of their phases."""
    steps = [[after - before for before, after in pairwise(clock)] for clock in zip(*ends, strict=True)]
    return {"seconds": steps[0], "cpu_seconds": steps[1], "phases": phases}


@contextmanager
def peak() -> Iterator[dict[str, float]]:
    """Gigabytes at most while the block runs, above what was there before."""
    import torch

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at what is resident now
    before, found = most_bytes(), dict[str, float]()
    yield found
    found["peak_gb"] = (most_bytes() - before) / 1e9


def most_bytes() -> int:
    """The peak of this process, or of its accelerator."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def overlapped(size: str, folder: Path, case: str, url: str, concurrency: int, load: Load) -> dict[str, Any]:
    """A training by its config alone; when its steps ended is in its TensorBoard log."""
    import yaml
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    import rlaif

    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        rows = [json.dumps({"id": f"q{n}", "query": text}) for n, text in enumerate(texts(size, load))]
        (out / "queries.jsonl").write_text("\n".join(rows))
        labeler = {"llm": "openai:judge", "base_url": url, "method": "logprobs", "concurrency": concurrency}
        rollout = {"batch": load.batch, "max_tokens": load.tokens, "temperature": TEMPERATURE}
        config = {
            "model": str(folder),
            "queries": str(out / "queries.jsonl"),
            # The last step is not timed: one step off, it has nothing left to draw.
            "steps": load.steps + 2,
            "rollout": rollout | ({"one_step_off": True} if case == "one step off" else {}),
            "optimisation": {"learning_rate": RATE, "micro_batch": load.micro},
            "ppo": {"epochs": load.epochs, "minibatch": load.minibatch},
            "labeler": labeler,
            "checkpoints": {"every_steps": 10_000},
        }
        (out / "ppo.yaml").write_text(yaml.safe_dump(config))
        reward = Instant() if case == "other work" else None
        rlaif.train("ppo", out / "ppo.yaml", out / "run", reward=reward, progress=False)
        log = EventAccumulator(str(out / "run" / "tensorboard"))
        log.Reload()
        ends = [(one.wall_time, 0.0) for one in log.Scalars("score")][:-1]
        lines = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["masked_share"] for line in lines} == {0.0}
    names = sorted({name for line in lines for name in line if name.startswith("seconds_")})
    phases = {name.removeprefix("seconds_"): [line.get(name, 0.0) for line in lines[1:-1]] for name in names}
    return timed(ends, phases)


def judging_alone(size: str, url: str, concurrency: int, load: Load) -> dict[str, Any]:
    """A step's responses judged while nothing else is done."""
    import asyncio

    from rlaif.labeling.score import Scorer
    from rlaif.llm.openai import open_openai
    from rlaif.llm.remote import Limits
    from rlaif.records import Turn
    from rlaif.rewards import Candidate, in_order
    from rlaif.stages.reward import LabelerReward

    async def steps(ledger: Path) -> list[float]:
        llm = open_openai("judge", url, limits=Limits(concurrency=concurrency))
        seconds = []
        async with LabelerReward(Scorer("helpfulness", llm, method="logprobs"), ledger) as reward:
            for step in range(load.steps + 1):
                queries = texts(size, load)
                batch = [
                    Candidate(f"{step}-{n}", (Turn(role="user", content=text),), f"{step} {n} {text}")
                    for n, text in enumerate(queries)
                ]
                start = time.monotonic()
                await in_order(reward, batch)
                seconds.append(time.monotonic() - start)
        return seconds[1:]

    with tempfile.TemporaryDirectory() as folder:
        return {"seconds": asyncio.run(steps(Path(folder) / "ledger.sqlite")), "phases": {}}
