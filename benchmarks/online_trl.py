"""TRL's online trainers as `online.py` measures them; nothing of `rlaif` is needed for the PPO trainer."""

import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from online_runs import RATE, SIZES, TEMPERATURE, Given, Load, clocks, dtype, peak, texts, timed


def rloo(size: str, load: Load, folder: Path, generates: bool = True) -> dict[str, Any]:
    """TRL's RLOO: two responses to each query, no value function."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import RLOOConfig, RLOOTrainer

    seconds: defaultdict[str, list[float]] = defaultdict(list)
    given = Given(SIZES[size]["words"], load.tokens)

    class Timed(RLOOTrainer):  # type: ignore[misc]
        """Tells what takes how long."""

        def _generate(self, prompts: Any) -> Any:
            return self._timed("generate", super()._generate, prompts)

        def _generate_single_turn(self, prompt_ids: Any, *rest: Any) -> Any:
            if generates:
                return super()._generate_single_turn(prompt_ids, *rest)
            return [one.tokens for one in given.generate(prompt_ids, range(len(prompt_ids)))]

        def _calculate_rewards(self, *rest: Any) -> Any:
            return self._timed("judge", super()._calculate_rewards, *rest)

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = self._timed("score", super()._generate_and_score_completions, inputs)
            seconds["score"][-1] -= seconds["generate"][-1] + seconds["judge"][-1]
            return found

        @staticmethod
        def _timed(name: str, function: Any, *rest: Any) -> Any:
            start = time.monotonic()
            found = function(*rest)
            seconds[name].append(time.monotonic() - start)
            return found

    updates = load.epochs * load.batch // load.minibatch
    with tempfile.TemporaryDirectory() as out:
        args = RLOOConfig(
            **arguments(load, out),
            per_device_train_batch_size=load.micro,
            gradient_accumulation_steps=load.minibatch // load.micro,
            steps_per_generation=load.batch // load.micro,
            num_iterations=load.epochs,
            num_generations=2,
            max_completion_length=load.tokens,
            top_k=0,
            max_steps=(load.steps + 1) * updates,
            logging_steps=updates,
        )
        made = Timed(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=dtype()),
            reward_funcs=lambda completion_ids, **_: [ids[0] % 7 / 7 for ids in completion_ids],
            args=args,
            train_dataset=Dataset.from_list([{"prompt": text} for text in texts(size, load)[::2]]),
            processing_class=AutoTokenizer.from_pretrained(folder),
            callbacks=[ends := step_ends(updates)],
        )
        made.remove_callback(PrinterCallback)
        with peak() as found:
            made.train()
    assert {one["completions/mean_length"] for one in made.state.log_history[:-1]} == {load.tokens}
    whole = timed(ends.times, {name: values[1:] for name, values in seconds.items()})
    known = [sum(values) for values in zip(*whole["phases"].values(), strict=True)]
    whole["phases"]["train"] = [all_of - part for all_of, part in zip(whole["seconds"], known, strict=True)]
    query_tokens = (made.state.num_input_tokens_seen // (load.steps + 1)) - load.batch * load.tokens
    return whole | found | {"updates": made.state.global_step / (load.steps + 1), "query_tokens": query_tokens}


def arguments(load: Load, out: str) -> dict[str, Any]:
    """What both of TRL's trainers are told."""
    import torch

    return {
        "output_dir": out,
        "learning_rate": RATE,
        "temperature": TEMPERATURE,
        "bf16": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": 0,
    }


def step_ends(updates: int) -> Any:
    """A callback that notes when each step of so many updates ends."""
    from transformers import TrainerCallback

    class Ends(TrainerCallback):  # type: ignore[misc]
        """The clock."""

        def __init__(self) -> None:
            self.times: list[tuple[float, float]] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % updates == 0:
                self.times.append(clocks())

    return Ends()


def old_ppo(size: str, load: Load, folder: Path) -> dict[str, Any]:
    """TRL's last PPO trainer: without accumulation it steps once for each minibatch, as ours does."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    import trl
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        LlamaConfig,
        LlamaForSequenceClassification,
        PrinterCallback,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    assert load.micro >= load.minibatch
    tokenizer = AutoTokenizer.from_pretrained(folder)
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    tiny = LlamaConfig(vocab_size=SIZES[size]["words"], num_key_value_heads=2, num_labels=1, pad_token_id=0, **narrow)
    with tempfile.TemporaryDirectory() as out:
        args = PPOConfig(
            **arguments(load, out),
            per_device_train_batch_size=load.batch,
            num_mini_batches=load.batch // load.minibatch,
            num_ppo_epochs=load.epochs,
            response_length=load.tokens,
            local_rollout_forward_batch_size=load.batch,
            total_episodes=(load.steps + 1) * load.batch,
            num_sample_generations=0,
            logging_steps=1,
        )
        rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in texts(size, load)]
        made = PPOTrainer(
            args=args,
            processing_class=tokenizer,
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=dtype()),
            ref_model=AutoModelForCausalLM.from_pretrained(folder, dtype=dtype()),
            value_model=AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype(), num_labels=1),
            reward_model=LlamaForSequenceClassification(tiny).to(dtype()),
            train_dataset=Dataset.from_list(rows),
            callbacks=[ends := step_ends(1)],
        )
        made.remove_callback(PrinterCallback)
        with peak() as found:
            made.train()
    query_tokens = sum(len(row["input_ids"]) for row in rows)
    updates = load.epochs * load.batch // load.minibatch
    return timed(ends.times, {}) | found | {"updates": updates, "query_tokens": query_tokens, "trl": trl.__version__}
