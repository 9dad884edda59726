import math

import numpy as np
import pytest
import torch

from clearhead.config import GPTConfig
from clearhead.inspection.spectrum import direct_path, spectrum
from clearhead.inspection.tables import token_counts
from clearhead.models.gpt import GPTLanguageModel

RNG = np.random.default_rng(3)


def test_rank_never_exceeds_the_vocabulary():
    wide = spectrum(RNG.standard_normal((10, 64)))
    assert wide.rank == wide.most == 10
    assert "10 tokens cannot fill 64 dimensions" in str(wide)
    assert spectrum(RNG.standard_normal((40, 3)) @ RNG.standard_normal((3, 20))).rank == 3
    assert spectrum(np.zeros((4, 3))).rank == 0


def test_participation_counts_even_axes():
    even = np.vstack([np.eye(6), -np.eye(6)])
    assert math.isclose(spectrum(even).participation, 6.0)
    line = np.outer(np.arange(5.0), [1.0, 2.0])
    assert math.isclose(spectrum(line).participation, 1.0)


class Pairs:
    """A text as the direct path asks for it."""

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = ids

    def ids(self, split: str) -> np.ndarray:
        return self._ids


TEXT = np.array([0, 1, 2, 0, 1, 2, 0, 2, 1, 1, 0, 1, 2, 2, 0, 1] * 20)


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm", "none"])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_direct_path_is_a_gpt_whose_blocks_say_nothing(norm, scaled):
    """With projections at zero the model is its direct path, so its own logits are the oracle."""
    config = GPTConfig(
        vocab_size=3, block_size=4, n_embd=8, n_head=2, n_layer=1, norm=norm, scale_embedding=scaled, head_bias=True
    )
    model = GPTLanguageModel(config).eval()
    with torch.no_grad():
        model.blocks[0].sa.proj.weight.zero_()  # pyright: ignore
        model.blocks[0].ffwd.proj.weight.zero_()  # pyright: ignore
        logits = model(torch.arange(3)[:, None]).logits[:, 0].double().numpy()  # (3, 3) after each token
    data = Pairs(TEXT)
    found = direct_path(model, data, token_counts(data, 3))  # pyright: ignore[reportArgumentType]
    place = np.argsort(found.ids)
    centred = logits - logits.mean(1, keepdims=True) - logits.mean(0) + logits.mean()
    np.testing.assert_allclose(found.logits[np.ix_(place, place)], centred, atol=1e-5)
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (TEXT[:-1], TEXT[1:]), 1)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert math.isclose(found.nats, -(pairs * np.log(p)).sum() / pairs.sum(), rel_tol=1e-5)
    q = pairs / pairs.sum(1, keepdims=True)
    assert math.isclose(found.bigram, -(pairs[pairs > 0] * np.log(q[pairs > 0])).sum() / pairs.sum(), rel_tol=1e-9)


def test_a_head_made_of_the_counts_correlates_fully():
    model = GPTLanguageModel(
        GPTConfig(vocab_size=3, block_size=4, n_embd=4, n_head=1, n_layer=1, norm="none", qk_norm=False)
    )
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (TEXT[:-1], TEXT[1:]), 1)
    with torch.no_grad():
        model.token_embedding_table.weight.copy_(torch.eye(3, 4))
        model.lm_head.weight.zero_()
        model.lm_head.weight[:, :3] = torch.from_numpy(np.log(pairs + 1)).float().T
    data = Pairs(TEXT)
    found = direct_path(model, data, token_counts(data, 3))  # pyright: ignore[reportArgumentType]
    assert found.by_row > 0.9999
    assert found.by_pair > 0.9999
