"""Pairs per second and peak memory of reward and DPO training, beside TRL's own trainers, each in a process of its own.

    python benchmarks/training.py

The same model, micro-batch, pairs and number of steps, one thread; rounds are interleaved, so that a busy machine slows
all alike.
`trl` learns hard labels (it has no others), ours learn soft ones: rows in random order, rows of like length together,
and queries that are run once for both responses. TRL computes the reference's log-probabilities before, as we do, so
that a step of DPO is the policy's alone in both.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from report import write

SETTINGS = ("trl", "rows", "rows-by-length", "shared", "shared-by-length")
SHAPES = {
    "short queries": {"hidden": 160, "layers": 4, "query": (20, 60), "response": (20, 60)},
    "long queries": {"hidden": 160, "layers": 4, "query": (150, 450), "response": (20, 60)},
    "wider model": {"hidden": 384, "layers": 8, "query": (100, 300), "response": (20, 100)},
}
PAIRS, MICRO, STEPS, ROUNDS = 256, 8, 16, 3


def pairs(shape: dict[str, Any], count: int = PAIRS, words: int = 2000) -> list[dict[str, Any]]:
    """Random tokens: what a step costs does not depend on what they say."""
    rng = random.Random(0)

    def ids(bounds: tuple[int, int]) -> list[int]:
        return [rng.randrange(5, words) for _ in range(rng.randint(*bounds))]

    rows = []
    for number in range(count):
        query, responses = ids(shape["query"]), [[*ids(shape["response"]), 1] for _ in range(2)]
        row = {"id": str(number), "query": query, "responses": responses, "preference": 0.7, "weight": 1.0}
        row |= {"ranked": 0.0, "margin": 0.0, "row": number, "length": len(query) + sum(map(len, responses))}
        row |= {"prompt_ids": query, "reference_1": -100.0, "reference_2": -100.0}
        row |= {"ref_chosen_logps": -100.0, "ref_rejected_logps": -100.0}
        rows.append(row)
    return rows


def trainer(
    kind: str,
    setting: str,
    rows: list[dict[str, Any]],
    folder: Path,
    out: Path,
    *,
    micro: int = MICRO,
    steps: int = STEPS,
    on_accelerator: bool = False,
) -> Any:
    """TRL's trainer or ours, ready to train: in float32 on a CPU, in bfloat16 on an accelerator."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig as TRLDPOConfig
    from trl import DPOTrainer, RewardTrainer
    from trl import RewardConfig as TRLRewardConfig

    from rlaif.training.batches import Collator
    from rlaif.training.dpo import DPOConfig, SoftDPOTrainer
    from rlaif.training.models import head_from_policy, load_policy
    from rlaif.training.reward_model import SoftRewardTrainer
    from rlaif.training.settings import Checkpoints, Optimisation, trainer_arguments

    torch.manual_seed(0)
    grouped = setting.endswith("by-length")
    dtype = torch.bfloat16 if on_accelerator else torch.float32
    # Nobody has trained this reference, so that a loss means nothing.
    optimisation = Optimisation(
        batch=micro, micro_batch=micro, max_steps=steps, group_by_length=grouped, max_loss=1e9, learning_rate=1e-7
    )
    arguments: dict[str, Any] = trainer_arguments(out, optimisation, Checkpoints(every_steps=1000), 1, on_accelerator)
    arguments |= {"report_to": [], "max_length": None, "save_strategy": "no"}
    ids = [row["id"] for row in rows]
    given: dict[str, Any] = {"processing_class": AutoTokenizer.from_pretrained(folder)}
    collator = Collator(2, setting.startswith("shared"), columns=("preference", "weight", "row", "ranked", "margin"))
    if kind == "reward":
        model = head_from_policy(folder, dtype, 2)
        args = TRLRewardConfig(**arguments)
        if setting == "trl":
            texts = [
                {"chosen_ids": row["query"] + row["responses"][0], "rejected_ids": row["query"] + row["responses"][1]}
                for row in rows
            ]
            return RewardTrainer(model=model, args=args, train_dataset=Dataset.from_list(texts), **given)
        given |= {"args": args, "train_dataset": Dataset.from_list(rows), "data_collator": collator}
        return SoftRewardTrainer(model, optimisation, ids, **given)
    policy = load_policy(folder, dtype)
    args = TRLDPOConfig(**arguments, precompute_ref_log_probs=True)
    if setting == "trl":

        class Given(DPOTrainer):  # type: ignore[misc]
            """TRL's trainer with the tokens and the reference's log-probabilities given."""

            def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
                return dataset

            def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
                return dataset

        texts = [row | {"chosen_ids": row["responses"][0], "rejected_ids": row["responses"][1]} for row in rows]
        return Given(model=policy, args=args, train_dataset=Dataset.from_list(texts), **given)
    columns = ("preference", "weight", "row", "reference_1", "reference_2")
    collator = Collator(2, setting.startswith("shared"), columns=columns)
    config = DPOConfig(model=str(folder), data=[{"path": "x"}], optimisation=optimisation)
    return SoftDPOTrainer(
        policy, config, ids, args=args, train_dataset=Dataset.from_list(rows), data_collator=collator, **given
    )


def one(kind: str, setting: str, shape: str, folder: Path) -> None:
    """Measure one setting in this process and print what came out."""
    from transformers import PrinterCallback

    with tempfile.TemporaryDirectory() as out:
        made = trainer(kind, setting, pairs(SHAPES[shape]), folder, Path(out))
        made.remove_callback(PrinterCallback)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.monotonic()
        made.train()
        seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {
        "pairs_per_s": STEPS * MICRO / seconds,
        "peak_mb": after / 1024,
        "peak_over_start_mb": (after - before) / 1024,
    }
    print(json.dumps(found))


def model_folder(shape: dict[str, Any], folder: Path) -> Path:
    """A random model of that size with the bundled tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from rlaif.pocket.paths import model_folder as bundled

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(bundled("policy"))
    hidden = shape["hidden"]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=shape["layers"],
        num_attention_heads=hidden // 32,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def measured(kind: str, setting: str, shape: str, folder: Path) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, setting, shape, str(folder)]
    # One thread: with more, a neighbour on one core would slow all the others too.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=4, metavar=("KIND", "SETTING", "SHAPE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    given = parser.parse_args()
    if given.one:
        one(given.one[0], given.one[1], given.one[2], Path(given.one[3]))
        return
    results: dict[str, Any] = {
        "threads": 1,
        "pairs": STEPS * MICRO,
        "micro_batch": MICRO,
        "rounds": given.rounds,
    }
    for shape, sizes in SHAPES.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = model_folder(sizes, Path(temporary))
            for kind in ("reward", "dpo"):
                rounds = [{one: measured(kind, one, shape, folder) for one in SETTINGS} for _ in range(given.rounds)]
                for setting in SETTINGS:
                    ratios = [found[setting]["pairs_per_s"] / found["trl"]["pairs_per_s"] for found in rounds]
                    results[f"{kind}, {shape}, {setting}"] = {
                        "pairs_per_s": round(median(found[setting]["pairs_per_s"] for found in rounds), 1),
                        "times_trl": round(median(ratios), 2),
                        "times_trl_from": round(min(ratios), 2),
                        "times_trl_to": round(max(ratios), 2),
                        "peak_over_start_mb": round(median(found[setting]["peak_over_start_mb"] for found in rounds)),
                    }
                    print(f"{kind}, {shape}, {setting}", results[f"{kind}, {shape}, {setting}"], flush=True)
    write("training", results)


if __name__ == "__main__":
    main()
