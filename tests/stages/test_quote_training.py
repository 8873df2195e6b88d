"""What a training would ask of its labeler is said before, and is what it asks."""

import json
from pathlib import Path

import pytest
import yaml

from rlaif.errors import ConfigError
from rlaif.pocket.data import queries
from rlaif.stages.quote_training import quote_training
from rlaif.stages.train import train


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = list(queries(12, split="train", seed=1))
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "model": "pocket:policy",
        "queries": str(tmp_path / "queries.jsonl"),
        "steps": 2,
        "rollout": {"batch": 8, "max_tokens": 24},
        "ppo": {"epochs": 1},
        "labeler": {"llm": "pocket:labeler-xs", "task": "helpfulness"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "config.yaml"


def test_a_training_asks_what_was_quoted(config: Path, tmp_path: Path) -> None:
    told = quote_training(config)
    (quote,) = told.quotes
    (done,) = train("ppo", config, tmp_path / "out", progress=False)
    assert (told.items, quote.requests, quote.llm) == (16, 16, "pocket:labeler-xs")
    assert done.facts["usage"]["asked"] == 16
    # The words of the made-up responses are tokens here, too; what surrounds them is counted.
    low, high = quote.input_tokens
    assert low < done.facts["usage"]["input_tokens"] < high
    assert done.facts["usage"]["output_tokens"] == quote.output_tokens[0] == 16


def test_steps_batch_and_watchers_multiply_and_models_can_be_compared(config: Path) -> None:
    watch = "watch={queries: " + str(config.with_name("queries.jsonl")) + ", limit: 5, every_steps: 10}"
    told = quote_training(config, ["steps=30", watch], models=["openai:gpt-4.1-mini", "pocket:labeler-s"])
    # 30 · 8 responses, and 4 looks at 5 responses, each judged three times.
    assert told.items == 30 * 8 + 4 * 5 * 3 == 300
    # Behind step 35 comes a look too.
    assert quote_training(config, ["steps=35", watch], models=["pocket:labeler-s"]).items == 35 * 8 + 5 * 5 * 3
    assert [one.llm for one in told.quotes] == ["openai:gpt-4.1-mini", "pocket:labeler-s"]
    assert told.quotes[0].cost_usd is not None
    assert told.quotes[0].cost_usd[0] < told.quotes[0].cost_usd[1]


def test_where_a_reward_model_rewards_nothing_is_paid(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"labeler.reward_model rewards; nobody is asked"):
        quote_training(config, ["labeler.reward_model=outputs/reward/model"])
