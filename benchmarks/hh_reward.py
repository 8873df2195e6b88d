"""A reward model on real human data: 2,000 of the HH-RLHF (harmless) comparisons, from a small random model.

It shows that the pipeline takes such data, how long it takes and in how much memory; a model that has read nothing
before cannot be expected to know much of what people prefer. Held out are the comparisons behind the first 2,000.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from report import write
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from rlaif.conventions import read_comparisons
from rlaif.errors import RowError
from rlaif.pocket.paths import model_folder

DATA = Path(__file__).parents[2] / "shared" / "data" / "hh_rlhf_harmless_test.jsonl.gz"
TRAINED = 2000


def small_model(folder: Path) -> Path:
    """2.3 million random weights, and the bundled tokenizer, which falls into bytes on words it does not know."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_folder("policy"))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    """Split, train, and write what came out."""
    if not DATA.exists():
        print("the real data is not here: skipped")
        return
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        rows = [row for _, row in read_comparisons(DATA, "hh-rlhf") if not isinstance(row, RowError)]
        for file, some in (("train", rows[:TRAINED]), ("held-out", rows[TRAINED:])):
            (place / f"{file}.jsonl").write_text("".join(f"{row.to_json()}\n" for row in some))
        settings = {
            "model": str(small_model(place / "start")),
            "data": [{"path": str(place / "train.jsonl"), "label": "human_preference"}],
            "held_out": [{"path": str(place / "held-out.jsonl"), "label": "human_preference"}],
            "max_tokens": 768,
            "optimisation": {"learning_rate": 3e-4, "batch": 32, "micro_batch": 8, "epochs": 1},
        }
        (place / "config.yaml").write_text(yaml.safe_dump(settings))
        start = time.perf_counter()
        command = [sys.executable, "-m", "rlaif", "train", "reward", str(place / "config.yaml"), "--out", f"{name}/out"]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
        facts = json.loads((place / "out" / "manifest.json").read_text())
    write(
        "hh-reward",
        {
            "comparisons": facts["examples"],
            "failures": facts["failures"],
            "queries_cut_to_fit": facts["shortened"],
            "seconds": round(seconds, 1),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
            "held_out": facts["held_out"],
        },
    )


if __name__ == "__main__":
    main()
