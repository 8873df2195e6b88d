"""Likelihoods of responses: the sum over their own tokens, whatever stands in the same batch."""

from pathlib import Path

import pytest
import torch
from tiny_policy import tiny_policy

from rlaif.errors import ModelError, RowError
from rlaif.records import Turn
from rlaif.training.likelihood import Likelihood, Policy
from rlaif.training.models import load_policy
from rlaif.training.tokens import Tokenizer

QUERY = (Turn(role="user", content="How do I bake bread?"),)
OTHER = (Turn(role="user", content="Hello!"), Turn(role="assistant", content="Yes?"), Turn(role="user", content="Why?"))
EXCHANGES = [(QUERY, "Knead the dough."), (OTHER, "No."), (QUERY, ""), (OTHER, "First wash your hands, then knead.")]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def slowly(folder: Path, query: tuple[Turn, ...], response: str) -> Likelihood:
    """One token after the other, without padding."""
    tokenizer, model = Tokenizer(folder), load_policy(folder, torch.float64).eval()
    tokens = tokenizer.encode(query, [response], 512)
    seen, nats = list(tokens.query), 0.0
    with torch.no_grad():
        for token in tokens.responses[0]:
            nats += torch.log_softmax(model(torch.tensor([seen])).logits[0, -1], -1)[token].item()
            seen.append(token)
    return Likelihood(nats, len(tokens.responses[0]))


def test_each_likelihood_is_the_chain_of_its_tokens_to_the_end_token(policy: Path) -> None:
    asked = Policy(policy, dtype=torch.float64)
    for found, (query, response) in zip(asked.likelihoods(EXCHANGES), EXCHANGES, strict=True):
        assert isinstance(found, Likelihood)
        expected = slowly(policy, query, response)
        assert found.tokens == expected.tokens
        assert found.nats == pytest.approx(expected.nats, abs=1e-5)
        assert found.per_token == pytest.approx(expected.nats / expected.tokens, abs=1e-5)
    # An empty response is its end token.
    assert asked.likelihoods(EXCHANGES)[2].tokens == 1  # type: ignore[union-attr]


def test_a_response_that_is_too_long_says_so_and_the_others_keep_their_places(policy: Path) -> None:
    alone = Policy(policy, dtype=torch.float64).likelihoods(EXCHANGES)
    found = Policy(policy, dtype=torch.float64).likelihoods([EXCHANGES[0], (QUERY, "word " * 600), *EXCHANGES[1:]])
    assert isinstance(found[1], RowError)
    for one, other in zip([found[0], *found[2:]], alone, strict=True):
        assert one == (pytest.approx(other[0], abs=1e-9), other[1])  # type: ignore[index]


def test_what_is_no_policy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its tokenizer cannot be loaded"):
        Policy(tmp_path)
