from itertools import product

import pytest
import torch

from clearhead.config import GPTConfig
from clearhead.models.attention import KVCache, MultiHeadAttention, Rotary


def attention_of(**options) -> MultiHeadAttention:
    torch.manual_seed(1)
    config = GPTConfig(vocab_size=5, n_embd=24, n_head=3, block_size=16, **options)
    attention = MultiHeadAttention(config)
    for norm in (attention.q_norm, attention.k_norm):
        if norm is not None:  # at 1 a swap of the two would not show
            norm.get_parameter("weight").data.uniform_(0.5, 1.5)
    return attention.eval()


@pytest.mark.parametrize(
    ("positions", "qk_norm", "bias"), list(product(["learned", "rope", "none"], [True, False], [True, False]))
)
def test_heads_side_by_side_are_the_fast_path(positions, qk_norm, bias):
    attention = attention_of(positions=positions, qk_norm=qk_norm, qkv_bias=bias, bias=bias)
    x = torch.randn(2, 11, 24)
    heads = [attention.head(i)(x).out for i in range(3)]
    torch.testing.assert_close(attention.proj(torch.cat(heads, dim=-1)), attention(x), atol=1e-5, rtol=1e-5)


def test_a_head_shows_every_step():
    x = torch.randn(2, 7, 24)
    head = attention_of().head(1)(x)
    assert head.q.shape == head.k.shape == head.v.shape == head.out.shape == (2, 7, 8)
    assert head.scores.shape == head.wei.shape == (2, 7, 7)
    torch.testing.assert_close(head.wei.sum(-1), torch.ones(2, 7))
    assert (head.wei.triu(1) == 0).all()
    assert head.wei[:, 0, 0].tolist() == [1.0, 1.0]


def test_a_head_is_a_view_that_follows_the_weights():
    attention = attention_of()
    view, x = attention.head(2), torch.randn(1, 4, 24)
    before = view(x).v
    attention.qkv.weight.data *= 2
    torch.testing.assert_close(view(x).v, 2 * before)
    with pytest.raises(IndexError, match="no head 3"):
        attention.head(3)


def test_rotation_is_relative_and_keeps_length():
    rotary = Rotary(64, 8, 10_000.0)
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def product_at(i: int, j: int) -> float:
        return float((rotary(q, torch.tensor([i])) * rotary(k, torch.tensor([j]))).sum())

    assert product_at(3, 1) == pytest.approx(product_at(50, 48), abs=1e-5)
    assert product_at(3, 1) != pytest.approx(product_at(3, 2), abs=1e-3)
    assert float(rotary(q, torch.tensor([63])).norm()) == pytest.approx(float(q.norm()), abs=1e-5)


def test_rotation_pairs_the_halves():
    rotary = Rotary(4, 4, 100.0)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    turned = rotary(x, torch.tensor([2])).flatten()
    for pair, rate in ((0, 1.0), (1, 0.1)):  # theta ** (-2 * pair / 4)
        angle = torch.tensor(2 * rate)
        a, b = x.flatten()[pair], x.flatten()[pair + 2]
        assert float(turned[pair]) == pytest.approx(float(a * angle.cos() - b * angle.sin()), abs=1e-6)
        assert float(turned[pair + 2]) == pytest.approx(float(b * angle.cos() + a * angle.sin()), abs=1e-6)


def cache_of(slots: int, block_size: int = 8) -> KVCache:
    return KVCache(2, slots, 3, block_size, 4, torch.float32, torch.device("cpu"))


def test_span_asks_for_a_mask_only_where_it_must():
    cache = cache_of(2)
    first = cache.span(3)
    assert (first.mask, first.causal, first.end) == (None, True, 3)
    cache.lengths += 3
    one = cache.span(1)
    assert (one.mask, one.causal, one.positions.tolist()) == (None, False, [3])
    chunk = cache.span(2)
    assert chunk.mask is not None
    assert chunk.mask.tolist() == [[True, True, True, True, False], [True] * 5]
    cache.rows(slice(1, 2)).lengths += 1
    ragged = cache.span(1)
    assert ragged.positions.tolist() == [[3], [4]]
    assert ragged.mask is not None
    assert ragged.mask.tolist() == [[[[True, True, True, True, False]]], [[[True] * 5]]]


def test_a_full_cache_refuses_one_more():
    cache = cache_of(2)
    cache.rows(slice(0, 1)).lengths += 8
    with pytest.raises(ValueError, match="9 tokens in a cache of 8"):
        cache.span(1)
    cache.reset()
    assert cache.lengths.tolist() == [0, 0]
    assert cache.span(8).end == 8


def test_rows_write_through():
    cache = cache_of(3)
    row = cache.rows(slice(1, 2))
    k = torch.randn(1, 3, 2, 4)
    row.layer(1, row.span(2)).extend(k, 2 * k)
    torch.testing.assert_close(cache.k[1, 1, :, :2], k[0])
    torch.testing.assert_close(cache.v[1, 1, :, :2], 2 * k[0])
    assert cache.k[0].abs().sum() == cache.k[1, 0].abs().sum() == cache.k[1, 2].abs().sum() == 0
