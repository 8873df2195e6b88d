"""Supervised training: only what is to be learned counts, and packed examples do not see one another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policy import tiny_policy
from transformers import AutoTokenizer
from trl import SFTConfig as TRLSFTConfig

from rlaif.training.data import Examples
from rlaif.training.models import load_policy
from rlaif.training.settings import Checkpoints, Lora, Optimisation, trainer_arguments
from rlaif.training.sft import PreparedSFTTrainer, SFTConfig, _Collator, _dataset, train_sft
from rlaif.training.tokens import Tokenizer

ROWS = [
    {"id": "a", "query": [0, 3, 700, 4], "responses": [[501, 502, 1]]},
    {"id": "b", "query": [0, 3, 701, 702, 4], "responses": [[503, 1], [504, 505, 506, 1]]},
    {"id": "c", "query": [0, 3, 703, 4], "responses": [[507, 1]]},
]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def slow_loss(policy: Path, learn: str) -> tuple[float, torch.Tensor]:
    model = load_policy(policy, torch.float32)
    found = []
    for row in ROWS:
        for response in row["responses"]:
            whole = row["query"] + response
            logprobs = torch.log_softmax(model(torch.tensor([whole])).logits[0], -1)
            first = len(row["query"]) if learn == "response" else 1
            found += [-logprobs[place - 1, whole[place]] for place in range(first, len(whole))]
    loss = torch.stack(found).mean()
    loss.backward()
    return loss.item(), model.model.layers[0].mlp.up_proj.weight.grad


@pytest.mark.parametrize("learn", ["response", "all"])
@pytest.mark.parametrize("packing", [False, True])
def test_the_loss_is_the_mean_over_what_is_learned(learn: Any, packing: bool, policy: Path, tmp_path: Path) -> None:
    expected, gradient = slow_loss(policy, learn)
    config = SFTConfig(model=str(policy), data=[{"path": "x"}], learn=learn, packing=packing, max_tokens=17)
    dataset = _dataset(config, Examples(rows=ROWS))
    assert len(dataset) == (2 if packing else 4)
    optimisation = Optimisation(batch=len(dataset), micro_batch=len(dataset), max_steps=1)
    arguments = trainer_arguments(tmp_path, optimisation, Checkpoints(), 1, False)
    trainer = PreparedSFTTrainer(
        load_policy(policy, torch.float32),
        optimisation,
        args=TRLSFTConfig(**arguments, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}),
        data_collator=_Collator(2),
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(policy),
    )
    loss = trainer.compute_loss(trainer.model.train(), trainer.data_collator(list(dataset)))
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    found = trainer.model.model.layers[0].mlp.up_proj.weight.grad
    torch.testing.assert_close(found, gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("merge", [True, False])
def test_adapters_are_merged_on_request(merge: bool, policy: Path, tmp_path: Path) -> None:
    config = SFTConfig(
        model=str(policy),
        data=[{"path": "x"}],
        lora=Lora(rank=2, merge=merge),
        optimisation=Optimisation(batch=2, micro_batch=2, max_steps=3, learning_rate=1e-2),
    )
    done = train_sft(config, Examples(rows=ROWS), Tokenizer(policy), tmp_path / "out", device="cpu", progress=False)
    names = {path.name for path in done.folder.iterdir()}
    assert ("adapter_config.json" in names, "config.json" in names) == (not merge, merge)
    trained, start = load_policy(policy, torch.float32), load_policy(policy, torch.float32)
    if merge:
        trained = load_policy(done.folder, torch.float32)
    else:
        trained.load_adapter(str(done.folder))
    ids = torch.tensor([ROWS[0]["query"]])
    with torch.inference_mode():
        assert (trained(ids).logits - start(ids).logits).abs().max() > 1e-3
    assert torch.equal(trained.get_input_embeddings().weight, start.get_input_embeddings().weight)
