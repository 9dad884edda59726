"""Rows of one batch do not notice each other, whatever their prompts and settings."""

import math
from dataclasses import replace

import pytest
import torch

from clearhead.config import GPTConfig, SamplingConfig
from clearhead.errors import ConfigError
from clearhead.generation.batch import Batch, logits_after
from clearhead.generation.sampling import penalise, probabilities
from clearhead.models import gpt_decoding
from clearhead.models.attention import KVCache
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.decoding import decoder_of
from clearhead.models.gpt import GPTLanguageModel

V = 11


def gpt(block_size: int = 8, **options) -> GPTLanguageModel:
    torch.manual_seed(5)
    config = GPTConfig(vocab_size=V, block_size=block_size, n_embd=16, n_head=2, n_layer=2, **options)
    model = GPTLanguageModel(config)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model.eval()


def prompt(number: int) -> list[int]:
    """1 to 13 tokens, other ones for every number."""
    generator = torch.Generator().manual_seed(number)
    return torch.randint(V, (1 + number % 13,), generator=generator).tolist()


def settings(number: int) -> SamplingConfig:
    """Other ones for every number, seeds among them."""
    return SamplingConfig(
        temperature=(0.0, 0.7, 1.0, 2.0)[number % 4],
        top_k=(None, 3, 5)[number % 3],
        top_p=(None, None, 0.8, 0.95)[number // 3 % 4],
        min_p=(None, 0.05)[number // 5 % 2],
        repetition_penalty=(1.0, 1.3)[number // 7 % 2],
        logit_bias=((), ((number % V, -2.0), (1, 1.5)))[number // 2 % 2],
        seed=number // 2,
    )


def alone(model: GPTLanguageModel, number: int, tokens: int) -> list[int]:
    batch = Batch(model, 1)
    batch.admit(prompt(number), settings(number), row=number % 3)
    return [batch.step()[0].token for _ in range(tokens)]


def test_a_thousand_texts_are_the_same_alone_and_in_a_batch():
    """Admitted at different moments, released when done, 25 at a time."""
    model, batch, tokens = gpt(), Batch(gpt(), 25), 10
    waiting, live, done = iter(range(1_000)), {}, {}
    while len(done) < 1_000:
        for number in (next(waiting, None) for _ in range(min(3, batch.free))):
            if number is not None:
                live[batch.admit(prompt(number), settings(number), row=number % 3)] = (number, [])
        for drawn in batch.step():
            number, text = live[drawn.slot]
            text.append(drawn.token)
            if len(text) == tokens:
                batch.release(drawn.slot)
                done[number] = live.pop(drawn.slot)[1]
    assert [done[number] for number in range(1_000)] == [alone(model, number, tokens) for number in range(1_000)]
    assert len(set(map(tuple, done.values()))) > 700


@pytest.mark.parametrize("asked", [{}, {"temperature": 0.6}, {"top_k": 3}, {"min_p": 0.3}, {"logit_bias": ((2, 1.0),)}])
def test_what_rows_draw_follows_their_distribution(asked):
    """Pearson's chi-square at the one-in-a-thousand level, over 3,000 rows with seeds of their own."""
    torch.manual_seed(1)
    model, n = BigramLanguageModel(5), 3_000
    logits = model.token_embedding_table.weight[3].detach().clone()
    for token, bias in asked.get("logit_bias", ()):
        logits[token] += bias
    cuts = {name: value for name, value in asked.items() if name != "logit_bias"}
    probs = probabilities(logits[None], **cuts)[0]
    batch = Batch(model, n)
    for seed in range(n):
        batch.admit([3], SamplingConfig(seed=seed, **asked))
    counts = torch.bincount(torch.tensor([drawn.token for drawn in batch.step()]), minlength=5)
    likely = probs > 0
    chi = float(((counts - n * probs)[likely] ** 2 / (n * probs)[likely]).sum())
    assert chi < {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47}[int(likely.sum()) - 1]
    assert counts[~likely].sum() == 0


def test_log_probabilities_are_the_models_own():
    model, batch = gpt(), Batch(gpt(), 2, forbidden=[4])
    asked = SamplingConfig(temperature=0.3, top_k=2, logit_bias=((0, 50.0),), logprobs=3)
    slot, other = batch.admit([1, 2], asked), batch.admit([5], SamplingConfig())
    ids = [1, 2]
    for _ in range(12):
        drawn = {each.slot: each for each in batch.step()}
        expected = logits_after(model, ids)[0].double().log_softmax(-1)
        found = drawn[slot]
        assert found.token == 0, "biased as it is"
        assert found.logprob == pytest.approx(float(expected[0]), abs=1e-5)
        best = expected.topk(3)
        assert [token for token, _ in found.top] == best.indices.tolist()
        assert [logprob for _, logprob in found.top] == pytest.approx(best.values.tolist(), abs=1e-5)
        assert (drawn[other].logprob, drawn[other].top) == (None, ())
        ids.append(found.token)


def test_a_penalty_is_for_what_the_text_holds_prompt_included():
    logits = torch.tensor([3.0, -1.0, 2.0, 0.0])
    assert penalise(logits, torch.tensor([True, True, False, True]), 2.0).tolist() == [1.5, -2.0, 2.0, 0.0]
    model, batch, ids = gpt(), Batch(gpt(), 1), [1, 2, 2]
    batch.admit(ids, SamplingConfig(temperature=0, repetition_penalty=1.8))
    for _ in range(15):
        seen = torch.zeros(V, dtype=torch.bool)
        seen[ids] = True
        expected = int(penalise(logits_after(model, ids)[0], seen, 1.8).argmax())
        [drawn] = batch.step()
        assert drawn.token == expected
        ids.append(drawn.token)


def test_a_prompt_that_is_there_already_is_read_once():
    model, reads = gpt(), []
    model.register_forward_pre_hook(lambda module, args: reads.append(args[0].shape))
    batch = Batch(model, 3)
    for row in range(3):
        batch.admit([1, 2, 3, 4], SamplingConfig(temperature=2.0), row=row)
    assert reads == [(1, 3)]
    assert len({tuple(drawn.token for drawn in batch.step()) for _ in range(5)}) > 1


def test_slots_are_given_back():
    batch = Batch(gpt(), 2)
    assert batch.step() == []
    first, second = batch.admit([1], SamplingConfig()), batch.admit([2], SamplingConfig())
    assert {first, second} == {0, 1}
    with pytest.raises(ConfigError, match="all 2 slots are taken"):
        batch.admit([3], SamplingConfig())
    batch.release(first)
    assert (batch.free, len(batch)) == (1, 1)
    assert [drawn.slot for drawn in batch.step()] == [second]
    assert batch.admit([3], SamplingConfig()) == first
    batch.release(second)
    with pytest.raises(ConfigError, match=f"slot={second} holds no row"):
        batch.release(second)


@pytest.mark.parametrize(
    ("ids", "sampling", "words"),
    [
        ([], {}, "no token"),
        ([0, V], {}, f"token id {V} is outside"),
        ([-1], {}, "token id -1 is outside"),
        ([0], {"logit_bias": ((V, 1.0),)}, f"logit_bias={V} is outside"),
    ],
)
def test_what_cannot_be_admitted_is_named_and_takes_no_slot(ids, sampling, words):
    batch = Batch(gpt(), 1)
    with pytest.raises(ConfigError, match=words):
        batch.admit(ids, SamplingConfig(**sampling))
    assert (batch.free, len(batch)) == (1, 0)


def test_weights_that_diverged_are_named_whatever_the_temperature():
    model = gpt()
    model.lm_head.weight.data.fill_(math.nan)
    for temperature in (0.0, 1.0):
        batch = Batch(model, 1)
        batch.admit([1], SamplingConfig(temperature=temperature))
        with pytest.raises(ConfigError, match="not finite"):
            batch.step()


def test_a_gpt_with_a_setting_that_the_step_does_not_know_takes_the_ordinary_way(monkeypatch):
    model = gpt(norm="layernorm")
    cache = model.new_cache(1)
    assert type(decoder_of(model, cache)).__name__ != "function"
    monkeypatch.setattr(gpt_decoding, "KNOWN", gpt_decoding.KNOWN - {"norm"})
    assert type(decoder_of(model, cache)).__name__ == "function"
    assert type(decoder_of(gpt(), cache)).__name__ != "function", "at its default it does nothing"


def test_a_row_without_room_is_refused():
    model = gpt(block_size=3)
    cache = model.new_cache(1)
    assert isinstance(cache, KVCache)
    for decode in (decoder_of(model, cache), gpt_decoding.GPTDecoder(model, cache)):
        cache.lengths.fill_(3)
        with pytest.raises(ValueError, match="refill"):
            decode([1])


def test_rows_of_a_seed_are_samples_and_seeds_differ():
    model = gpt()
    sampling = SamplingConfig(temperature=2.0, seed=3)
    texts = []
    for row, seed in ((0, 3), (1, 3), (0, 4), (0, 3)):
        batch = Batch(model, 1)
        batch.admit([1], replace(sampling, seed=seed), row=row)
        texts.append([batch.step()[0].token for _ in range(12)])
    assert texts[0] == texts[3]
    assert len(set(map(tuple, texts))) == 3
