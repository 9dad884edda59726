"""The lecture's own examples, on our code."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clearhead.config import PRESETS, GPTConfig
from clearhead.initialise import initialise
from clearhead.models.attention import MultiHeadAttention
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import FeedForward, GPTLanguageModel, build_norm

LECTURE = PRESETS["lecture"]


def test_layer_norm_of_one_two_three():
    norm = build_norm(GPTConfig(vocab_size=2, n_embd=3, n_head=1, **LECTURE))
    expected = torch.tensor([-1.225, 0.0, 1.225])
    torch.testing.assert_close(norm(torch.tensor([1.0, 2.0, 3.0])), expected, atol=5e-4, rtol=0)


def test_a_linear_layer_by_hand():
    """Our widening layer with the lecture's numbers; PyTorch keeps the weight transposed."""
    up = FeedForward(GPTConfig(vocab_size=2, n_embd=3, n_head=1, ffn_width=2, **LECTURE)).up
    W = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    up.load_state_dict({"weight": W.T, "bias": torch.tensor([0.1, -0.1])})
    torch.testing.assert_close(up(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([2.3, 2.7]))


def test_an_embedding_is_one_hot_times_the_table():
    model = GPTLanguageModel(GPTConfig(vocab_size=7, block_size=4, n_embd=8, n_head=2, n_layer=1))
    idx = torch.tensor([[3, 0, 6, 3]])
    one_hot = F.one_hot(idx, 7).float()
    torch.testing.assert_close(model.embed(idx), one_hot @ model.token_embedding_table.weight)


def averaging_attention(C: int) -> MultiHeadAttention:
    """One head that looks at everything alike (no query, no key) and passes values on unchanged."""
    attention = MultiHeadAttention(GPTConfig(vocab_size=2, n_embd=C, n_head=1, block_size=8, **LECTURE))
    zero, one = torch.zeros(C, C), torch.eye(C)
    attention.load_state_dict({"qkv.weight": torch.cat([zero, zero, one]), "proj.weight": one, "proj.bias": zero[0]})
    return attention.eval()


def test_the_running_mean_three_ways_is_a_head_that_sees_all_alike():
    B, T, C = 4, 8, 2
    x = torch.randn(B, T, C, generator=torch.Generator().manual_seed(1337))
    by_loop = torch.stack([torch.stack([x[b, : t + 1].mean(0) for t in range(T)]) for b in range(B)])
    tril = torch.tril(torch.ones(T, T))
    by_matrix = (tril / tril.sum(1, keepdim=True)) @ x
    by_softmax = torch.zeros(T, T).masked_fill(tril == 0, float("-inf")).softmax(-1) @ x
    attention = averaging_attention(C)
    head = attention.head(0)(x)
    torch.testing.assert_close(head.wei[0], tril / tril.sum(1, keepdim=True))
    for way in (by_matrix, by_softmax, head.out, attention(x)):
        torch.testing.assert_close(way, by_loop)


def test_scores_are_divided_by_the_root_of_the_head_size():
    """Queries and keys of unit variance give scores of unit variance, or softmax would sharpen with width."""
    attention = MultiHeadAttention(GPTConfig(vocab_size=2, n_embd=64, n_head=1, block_size=256, **LECTURE))
    attention.qkv.weight.data.copy_(torch.eye(64).repeat(3, 1))
    x = torch.randn(4, 256, 64, generator=torch.Generator().manual_seed(1))
    scores = attention.head(0)(x).scores
    off_diagonal = scores[:, torch.tril(torch.ones(256, 256), -1).bool()]
    assert off_diagonal.var().item() == pytest.approx(1, abs=0.05)


def test_the_bigram_approaches_the_frequencies_and_sees_one_token_only():
    ids = torch.tensor([0, 1, 2, 0, 1, 1, 2, 2, 0, 2] * 30)
    model = BigramLanguageModel(3)
    initialise(model, "normal", seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    for _ in range(300):
        loss = model(ids[None, :-1], ids[None, 1:]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    counts = np.zeros((3, 3))
    np.add.at(counts, (ids[:-1].numpy(), ids[1:].numpy()), 1)
    rows = model.token_embedding_table.weight.detach().softmax(-1)
    np.testing.assert_allclose(rows, counts / counts.sum(1, keepdims=True), atol=0.01)
    a, b = model(torch.tensor([[0, 0, 1]])).logits, model(torch.tensor([[2, 1, 1]])).logits
    assert torch.equal(a[:, -1], b[:, -1])


def test_the_lectures_gpt_overfits_one_batch():
    model = GPTLanguageModel(GPTConfig(vocab_size=65, block_size=8, n_embd=32, n_head=4, n_layer=2, **LECTURE))
    initialise(model, "normal", seed=1337)
    x, y = torch.randint(65, (2, 4, 8), generator=torch.Generator().manual_seed(1337))
    y[:, :-1] = x[:, 1:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = model(x, y).loss.item()
    for _ in range(80):
        loss = model(x, y).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first > 4
    assert model.eval()(x, y).loss.item() < 0.05


def test_the_lectures_modules_are_found_by_name():
    model = GPTLanguageModel(GPTConfig(vocab_size=5, block_size=4, n_embd=8, n_head=2, n_layer=2, **LECTURE))
    assert isinstance(model.get_submodule("position_embedding_table"), nn.Embedding)
    assert isinstance(model.get_submodule("blocks.1.sa"), MultiHeadAttention)
    assert isinstance(model.get_submodule("blocks.1.ffwd"), FeedForward)
    assert isinstance(model.get_submodule("lm_head"), nn.Linear)
