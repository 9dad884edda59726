"""A trace is the model's own pass, number by number."""

import pytest
import torch
from torch.nn import functional as F

import inspection.tiny_models as small
from clearhead.errors import ConfigError
from clearhead.inspection.trace import TOLERANCE, DisagreementError, agreement, trace
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel


@pytest.mark.parametrize("kind", small.KINDS)
def test_every_stage_of_every_kind_is_the_models(kind):
    model = small.lively(kind)
    idx = torch.randint(model.vocab_size, (3, 20))
    seen = trace(model, idx)
    with torch.no_grad():
        x, own = model.embed(idx), model(idx).logits
        assert torch.equal(seen.embedding, x)
        whole = (
            seen.token_embedding if seen.position_embedding is None else seen.token_embedding + seen.position_embedding
        )
        assert agreement(whole, x, "embeddings") <= 1e-5
        for block, traced in zip(model.blocks, seen.blocks, strict=True):
            assert agreement(traced.attention, block.sa(block.ln1(x)), "attention") <= 1e-5
            x = block(x)
            assert agreement(traced.after, x, "stream") <= 1e-4
    assert agreement(seen.logits, own, "logits") == pytest.approx(seen.error, abs=1e-5)
    assert seen.error <= TOLERANCE * max(1.0, float(own.abs().max()))


def test_shapes_are_those_of_the_docstrings():
    model = small.lively("gpt2")
    seen = trace(model, torch.zeros(2, 7, dtype=torch.long))
    B, T, C, nh, hs, V, W = 2, 7, 16, 2, 8, model.vocab_size, 64
    block = seen.blocks[1]
    for name in ("q", "k", "v", "out"):
        assert getattr(block, name).shape == (B, nh, T, hs)
    for name in ("products", "scores", "wei"):
        assert getattr(block, name).shape == (B, nh, T, T)
    for name in ("before", "ln1", "attention", "middle", "ln2", "feed_forward", "after"):
        assert getattr(block, name).shape == (B, T, C)
    assert block.contributions.shape == (B, nh, T, C)
    assert block.hidden.shape == (B, T, W)
    assert block.proj_bias is not None
    assert block.proj_bias.shape == (C,)
    assert seen.position_embedding is not None
    assert seen.position_embedding.shape == (T, C)
    assert seen.logits.shape == (B, T, V)
    assert [place for place, _ in seen.stream][:3] == ["embedding", "attention 0", "feed-forward 0"]


def test_the_parts_of_a_block_follow_from_each_other():
    seen = trace(small.lively("lecture"), torch.randint(13, (1, 12)))
    for block in seen.blocks:
        assert torch.allclose(
            block.scores,
            (block.products * block.block.sa.head_size**-0.5).masked_fill(
                ~torch.ones(12, 12, dtype=torch.bool).tril(), -torch.inf
            ),
            atol=1e-6,
        )
        assert torch.allclose(block.wei.sum(-1), torch.ones(()), atol=1e-6)
        assert not block.wei.triu(1).any()
        assert torch.allclose(block.out, block.wei @ block.v, atol=1e-6)
        assert torch.allclose(block.contributions.sum(1) + small.untyped(block.proj_bias), block.attention, atol=1e-6)


def test_the_loss_is_the_models():
    model = small.lively()
    idx = torch.randint(13, (2, 13))
    _, loss = model(idx[:, :-1], idx[:, 1:])
    assert trace(model, idx[:, :-1]).loss(idx[:, 1:]) == pytest.approx(loss.item(), abs=1e-6)


def test_nothing_is_left_behind():
    model = small.lively(dropout=0.5).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    stream = torch.get_rng_state()
    seen = trace(model, [1, 2, 3])
    assert seen.error < 1e-5, "dropout would be seen"
    assert torch.equal(torch.get_rng_state(), stream)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(t.requires_grad for t in (seen.logits, seen.blocks[0].contributions, seen.blocks[0].ln1))


def test_a_mixture_shows_its_gpt():
    gpt = small.lively()
    ngram = NgramLanguageModel.fit(torch.randint(13, (500,)).numpy(), 13, 2)
    assert trace(MixtureLanguageModel(ngram, gpt, 0.5), [1, 2, 3]).model is gpt


@pytest.mark.parametrize("model", [BigramLanguageModel(13), NgramLanguageModel.fit(torch.arange(13).numpy(), 13, 2)])
def test_what_has_no_layers_says_so(model):
    with pytest.raises(ConfigError, match="has no layers"):
        trace(model, [1, 2])


def test_more_than_the_context_is_refused():
    with pytest.raises(ConfigError, match="block_size=24"):
        trace(small.lively(), list(range(13)) * 2)


def test_a_disagreement_is_raised_not_shown(monkeypatch):
    model = small.lively()
    monkeypatch.setattr(model.blocks[1].sa, "forward", lambda x, memory=None: F.dropout(x, 0.5))
    with pytest.raises(DisagreementError, match="more than the"):
        trace(model, [1, 2, 3])


def test_agreement_measures():
    assert agreement(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.000004]), "x") == pytest.approx(4e-6, rel=0.1)
    for wrong in (torch.tensor([1.0, 2.1]), torch.tensor([1.0, torch.nan])):
        with pytest.raises(DisagreementError):
            agreement(wrong, torch.tensor([1.0, 2.0]), "x")
