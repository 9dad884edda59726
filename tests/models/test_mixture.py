"""The mixture against its two parts, mixed by hand."""

import math

import numpy as np
import pytest
import torch
from streams import EOT, V, random_stream
from torch import Tensor

from clearhead.config import GPTConfig
from clearhead.errors import ConfigError
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import CLUES, MixtureLanguageModel, clues
from clearhead.models.ngram import NgramLanguageModel

S = 10
GATE = torch.tensor([-1.5, 0.9, -0.6, 0.8, -1.5, 2.0])
"""Heeds every clue."""


def parts(order: int = 4, *, documents: bool = False) -> tuple[NgramLanguageModel, GPTLanguageModel]:
    torch.manual_seed(3)
    gpt = GPTLanguageModel(GPTConfig(vocab_size=V, block_size=S, n_embd=16, n_head=2, n_layer=1))
    for parameter in gpt.parameters():  # far from uniform, so that a wrong part shows
        parameter.data.mul_(3)
    stream = random_stream(400, documents=documents)
    return NgramLanguageModel.fit(stream, V, order, eot_id=EOT if documents else None), gpt.eval()


def random_ids(B: int, T: int, seed: int = 0) -> Tensor:
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


def times_followed(stream: list[int], context: list[int]) -> list[int]:
    """What follows each occurrence of a context."""
    k = len(context)
    return [stream[i + k] for i in range(len(stream) - k) if stream[i : i + k] == context]


@pytest.mark.parametrize("documents", [False, True])
def test_times_seen_is_what_a_search_through_the_text_finds(documents: bool) -> None:
    stream, order = random_stream(400, documents=documents), 5
    model = NgramLanguageModel.fit(stream, V, order, eot_id=EOT if documents else None)
    held_out = random_stream(150, documents=documents, seed=1).tolist()
    seen = model.times_seen(model.look_up(torch.tensor([held_out])))
    for t in range(len(held_out)):
        before = held_out[max(0, t + 2 - order) : t + 1]
        if documents and EOT in before:
            before = before[len(before) - 1 - before[::-1].index(EOT) :]
        lengths = [k for k in range(1, len(before) + 1) if times_followed(stream.tolist(), before[-k:])]
        if not lengths:
            assert seen[t] == 0
            continue
        context = before[-max(lengths) :]
        followers = times_followed(stream.tolist(), context)
        occurs = len(followers) + (stream.tolist()[-len(context) :] == context)
        if context == [EOT]:
            occurs -= documents  # the one that opens the stream is no token of it
        assert seen[t] == occurs


def test_times_seen_continues_what_a_cache_has_seen() -> None:
    model, idx = parts()[0], random_ids(3, 12)
    whole = model.times_seen(model.look_up(idx))
    cache = model.new_cache(3)
    first, second = (model.times_seen(model.look_up(part, cache)) for part in idx.split([5, 7], dim=1))
    joined = np.concatenate([first.reshape(3, 5), second.reshape(3, 7)], axis=1)
    np.testing.assert_array_equal(whole.reshape(3, 12), joined)


def clues_by_hand(counted: list[float], neural: list[float], seen: int, read: int) -> list[float]:
    """From plain probabilities (V,), one sum at a time."""
    entropies = [-sum(p * math.log(p) for p in part if p) for part in (counted, neural)]
    divergence = sum(q * math.log(q / p) for p, q in zip(counted, neural, strict=True) if q)
    return [math.log(1 + fact) for fact in (read, seen, *entropies, divergence)]


def test_clues_are_finite_where_a_part_is_certain_or_both_agree() -> None:
    certain = torch.tensor([1e4, 0, 0, 0, -1e4]).log_softmax(-1)
    even = torch.zeros(V).log_softmax(-1)
    zero = torch.tensor(0)
    torch.testing.assert_close(
        clues(even, certain, zero, zero).expm1(), torch.tensor([0, 0, math.log(V), 0, math.log(V)])
    )
    torch.testing.assert_close(clues(even, even, zero, zero).expm1(), torch.tensor([0, 0, math.log(V), math.log(V), 0]))
    for part in torch.randn(50, V, generator=torch.Generator().manual_seed(0)).log_softmax(-1):
        assert float(clues(part, part, zero, zero)[-1]) == 0


@pytest.mark.parametrize("order", [1, 4])
@pytest.mark.parametrize("documents", [False, True])
def test_it_is_the_mean_of_its_parts_probabilities_by_the_weight_of_the_clues(order: int, documents: bool) -> None:
    ngram, gpt = parts(order, documents=documents)
    idx = random_ids(6, S)
    mixed = MixtureLanguageModel(ngram, gpt, GATE)(idx).logits.double().exp()
    counted, neural = ngram(idx).logits.double().exp(), gpt(idx).logits.double().softmax(-1)
    weights = []
    for n, seen in enumerate(ngram.times_seen(ngram.look_up(idx))):
        b, t = divmod(n, S)
        known = clues_by_hand(counted[b, t].tolist(), neural[b, t].tolist(), int(seen), read=t)
        odds = sum(g * clue for g, clue in zip(GATE.tolist(), [1, *known], strict=True))
        weights.append(1 / (1 + math.exp(-odds)))
        by_hand = weights[-1] * counted[b, t] + (1 - weights[-1]) * neural[b, t]
        torch.testing.assert_close(mixed[b, t], by_hand, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(6, S, dtype=torch.double), atol=1e-5, rtol=0)
    assert max(weights) - min(weights) > 0.2, "a gate of its own at every position, so that a wrong clue shows"


def test_in_a_cache_the_gpt_has_read_what_the_cache_holds_and_not_what_precedes_the_window() -> None:
    ngram, gpt = parts()
    by_reading = torch.tensor([0.0, 1.0, 0, 0, 0, 0])  # the weight is (1 + read) / (2 + read)
    model, before, idx = MixtureLanguageModel(ngram, gpt, by_reading), random_ids(2, 5), random_ids(2, S, seed=1)
    cache = model.cache_after(before)
    mixed = torch.cat([model(part, cache=cache).logits for part in idx.split([1, 6, 3], dim=1)], dim=1).exp()
    counted, neural = ngram(torch.cat([before, idx], dim=1)).logits[:, 5:].exp(), gpt(idx).logits.softmax(-1)
    weight = ((1 + torch.arange(S)) / (2 + torch.arange(S)))[:, None]
    torch.testing.assert_close(mixed, weight * counted + (1 - weight) * neural, atol=1e-5, rtol=1e-4)


def test_a_weight_of_one_or_zero_is_one_part_alone() -> None:
    ngram, gpt = parts()
    idx = random_ids(4, S)
    assert torch.equal(MixtureLanguageModel(ngram, gpt, 1.0)(idx).logits, ngram(idx).logits)
    assert torch.equal(MixtureLanguageModel(ngram, gpt, 0.0)(idx).logits, gpt(idx).logits.log_softmax(-1))


def test_tokens_that_one_part_rules_out_keep_the_share_of_the_other() -> None:
    ngram, gpt = parts()
    gpt.lm_head.weight.data.mul_(1e4)  # all probability on one token, elsewhere none that float32 could hold
    idx = random_ids(4, S)
    mixed = MixtureLanguageModel(ngram, gpt, 0.25)(idx).logits
    assert bool(torch.isfinite(mixed).all())
    least = mixed.min(-1).values
    assert bool((least >= (ngram(idx).logits + np.log(0.25)).min(-1).values - 1e-5).all())


def test_in_bfloat16_the_mixing_stays_exact() -> None:
    ngram, gpt = parts()
    idx = random_ids(2, S)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = MixtureLanguageModel(ngram, gpt, GATE)(idx).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(2, S), atol=1e-5, rtol=0)


def test_the_ngram_sees_past_the_window_and_the_gpt_does_not() -> None:
    ngram, gpt = parts()
    model, idx = MixtureLanguageModel(ngram, gpt, 0.5), random_ids(3, 2 * S)
    before, window = idx.split(S, dim=1)
    mixed = model(window, cache=model.cache_after(before)).logits.exp()
    counted, neural = ngram(idx).logits[:, S:].exp(), gpt(window).logits.softmax(-1)
    torch.testing.assert_close(mixed, (counted + neural) / 2, atol=1e-6, rtol=1e-5)


def test_both_parts_are_counted_and_described() -> None:
    ngram, gpt = parts()
    model = MixtureLanguageModel(ngram, gpt, 0.5)
    assert model.num_parameters() == ngram.num_parameters() + gpt.num_parameters()
    assert (model.block_size, model.context, model.lookback) == (S, S, ngram.order - 1)
    fresh = MixtureLanguageModel.from_config(model.to_config())
    assert fresh.to_config() == model.to_config()
    assert (fresh.ngram.order, fresh.gpt.config) == (ngram.order, gpt.config)


def test_parts_that_do_not_fit_are_refused() -> None:
    ngram, gpt = parts()
    with pytest.raises(ConfigError, match="an n-gram of 4 tokens and a GPT of 5"):
        MixtureLanguageModel(NgramLanguageModel(4, 4), gpt, 0.5)
    with pytest.raises(ConfigError, match=r"a gate of shape \(3,\) does not fit 5 clues; it needs 6 numbers"):
        MixtureLanguageModel(ngram, gpt, torch.zeros(3))
    with pytest.raises(ConfigError, match="not finite"):
        MixtureLanguageModel(ngram, gpt, torch.full((1 + CLUES,), float("nan")))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=r"within 0 \.\. 1"):
            MixtureLanguageModel(ngram, gpt, wrong)
