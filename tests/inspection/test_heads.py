"""Patterns, habits and ablations against what they are by definition."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import inspection.tiny_models as small
from clearhead.errors import ConfigError, TokenizerError
from clearhead.inspection.attention import attention
from clearhead.inspection.heads import Windows, _marks, _on, ablated, bits_saved, distances, entropy, head_scores
from clearhead.inspection.trace import trace
from clearhead.models.bigram import BigramLanguageModel

TEXT = "abba cab\nabba cab"


def looked(kind="modern", text=TEXT, **settings) -> Any:
    return attention(small.lively(kind), small.TOKENIZER, text, **settings)


@pytest.mark.parametrize("kind", small.KINDS)
def test_patterns_of_every_kind(kind):
    found = looked(kind)
    T = len(TEXT)
    assert found.wei.shape == (2, found.heads, T, T)
    assert np.allclose(found.wei.sum(-1), 1, atol=1e-6)
    assert found.logits_error < 1e-3
    assert found.attention_error < 1e-4
    assert found.scores is not None
    assert len(found.scores.heads) == 2 * found.heads


def test_the_chain_is_attention_step_by_step():
    model = small.lively("gpt2")
    chain = looked("gpt2", layer=1, head=1).chain
    block = trace(model, small.TOKENIZER.encode(TEXT).tolist()).blocks[1]
    assert np.allclose(chain.products, chain.q @ chain.k.T, atol=1e-5)
    past = np.tri(len(TEXT), dtype=bool)
    assert np.allclose(chain.scores[past], (chain.products * 8**-0.5)[past], atol=1e-6)
    assert np.isnan(chain.scores[~past]).all()
    shares = np.where(past, np.exp(chain.products), 0)
    assert np.allclose(chain.wei_unscaled, shares / shares.sum(1, keepdims=True), atol=1e-5)
    assert np.allclose(chain.out, chain.wei @ chain.v, atol=1e-5)
    assert np.allclose(chain.out, block.out[0, 1].numpy())


def test_the_printed_row_holds_the_numbers():
    found = looked(layer=0, head=1, position=3)
    said = str(found)
    assert "what position 3 (a) looks at" in said
    assert f"{found.chain.products[3, 2]:+.3f}" in said
    assert f"{found.chain.wei[3, 2]:.4f}" in said
    assert "1/sqrt(8) = 0.3536" in said
    assert f"{found.logits_error:.1e}" in said


def test_entropy_and_distance_of_known_patterns():
    wei = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    assert entropy(wei).tolist() == pytest.approx([0, 1, 0, 2])
    assert distances(wei).tolist() == pytest.approx([0, 0.5, 1, 1.5])


def test_what_habits_mark():
    previous, duplicate, induction = _marks(torch.tensor([[5, 7, 5, 5, 7]]))
    assert previous[0].nonzero().tolist() == [[1, 0], [2, 1], [3, 2], [4, 3]]
    assert duplicate[0].nonzero().tolist() == [[2, 0], [3, 0], [3, 2], [4, 1]]
    # position 3 holds 5, which 7 (at 1) and itself followed before: itself does not count
    assert induction[0].nonzero().tolist() == [[2, 1], [3, 1], [4, 2]]
    wei = torch.zeros(1, 1, 5, 5)
    wei[0, 0, 2, 0], wei[0, 0, 3, 0], wei[0, 0, 3, 2] = 0.9, 0.2, 0.4
    assert _on(wei, duplicate) == pytest.approx([(0.9 + 0.6 + 0.0) / 3])
    assert _on(wei, torch.zeros(1, 5, 5, dtype=torch.bool)) == [None]


@pytest.mark.parametrize("kind", ["modern", "lecture"])
def test_zero_ablation_is_the_model_without_the_heads_columns(kind):
    model, idx = small.lively(kind), torch.randint(13, (4, 20))
    seen = trace(model, idx)
    for layer in (0, 1):
        found = ablated(seen, layer, 1)
        proj = model.blocks[layer].sa.proj
        kept = proj.weight.detach().clone()
        with torch.no_grad():
            proj.weight[:, 8:] = 0
            expected = model(idx).logits
            proj.weight.copy_(kept)
        assert torch.allclose(found, expected, atol=1e-4)


def test_mean_ablation_puts_one_vector_everywhere():
    model, idx = small.lively("lecture", n_layer=1), torch.randint(13, (4, 20))
    seen = trace(model, idx)
    mean = seen.blocks[0].contributions[:, 0].mean((0, 1))
    x = seen.blocks[0].middle - seen.blocks[0].contributions[:, 0] + mean
    with torch.no_grad():
        x = x + model.blocks[0].ffwd(model.blocks[0].ln2(x))
        expected = model.lm_head(model.ln_f(x))
    assert torch.allclose(ablated(seen, 0, 0, "mean"), expected, atol=1e-5)
    assert not torch.allclose(ablated(seen, 0, 0, "mean"), ablated(seen, 0, 0))


def test_scores_are_changes_of_the_loss_in_falling_order():
    model, idx = small.lively(), torch.randint(13, (6, 21))
    x, y = idx[:, :-1], idx[:, 1:]
    found = head_scores(model, Windows(x, y, "these"))
    seen = trace(model, x)
    assert found.loss == pytest.approx(seen.loss(y), abs=1e-6)
    for score in found.heads:
        loss = F.cross_entropy(ablated(seen, score.layer, score.head).mT, y, reduction="none").mean(1)
        before = F.cross_entropy(seen.logits.mT, y, reduction="none").mean(1)
        assert score.zero == pytest.approx(float((loss - before).mean()), abs=1e-5)
        assert score.zero_error == pytest.approx(float((loss - before).std() / math.sqrt(6)), rel=1e-3)
    assert [s.zero for s in found.heads] == sorted((s.zero for s in found.heads), reverse=True)
    assert found.chance["previous"] == pytest.approx(np.mean([1 / t for t in range(2, 21)]))


def test_a_head_saves_what_the_next_tokens_cost_without_it():
    ids = torch.from_numpy(small.TOKENIZER.encode(TEXT).astype(np.int64))[None]
    seen = trace(small.lively("gpt2"), ids)
    whole, less = (
        F.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="none") / math.log(2)
        for logits in (seen.logits, ablated(seen, 1, 0))
    )
    assert torch.allclose(bits_saved(seen, 1, 0).float(), less - whole, atol=1e-5)
    found = looked("gpt2", layer=1, head=0, position=4)
    assert np.allclose(found.saved, (less - whole).numpy(), atol=1e-5)
    more = "more" if found.saved[4] >= 0 else "less"
    assert f"would cost {abs(found.saved[4]):.2f} bits {more} without this head" in str(found)
    assert "without this head" not in str(looked("gpt2", layer=1, head=0))  # after the last nothing came


def test_unmeasured_heads_have_patterns_all_the_same():
    found = looked(measure=False)
    assert found.scores is None
    assert found.wei.shape[-1] == len(TEXT)


def test_a_head_that_is_silent_is_worth_nothing():
    model = small.lively()
    with torch.no_grad():
        model.blocks[1].sa.proj.weight[:, :8] = 0
    idx = torch.randint(13, (3, 21))
    found = head_scores(model, Windows(idx[:, :-1], idx[:, 1:], "these"))
    silent = next(s for s in found.heads if (s.layer, s.head) == (1, 0))
    assert silent.zero == pytest.approx(0, abs=1e-6)
    assert silent.mean == pytest.approx(0, abs=1e-6)


def test_a_long_text_is_cut_and_said():
    found = looked(text="abc def " * 10)
    assert len(found.tokens) == 24
    assert any("80 tokens" in note and "last 24" in note for note in found.notes)
    assert "".join(found.tokens) == ("abc def " * 10)[-24:].replace(" ", "␣")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layer": 2}, "no layer 2; layers are 0 .. 1"),
        ({"layer": 0, "head": 2}, "no head 2; heads are 0 .. 1"),
        ({"head": 1}, "of which layer"),
        ({"layer": 0, "head": 0, "position": 17}, "no position 17; positions are 0 .. 16"),
        ({"text": ""}, "text is empty"),
    ],
)
def test_bad_input_is_one_line(settings, words):
    with pytest.raises(ConfigError, match=words) as caught:
        looked(**settings)
    assert "\n" not in str(caught.value)


def test_unknown_characters_are_named():
    with pytest.raises(TokenizerError, match="'Z'"):
        looked(text="abZ")


def test_a_bigram_has_no_heads():
    with pytest.raises(ConfigError, match="a bigram has no heads"):
        attention(BigramLanguageModel(13), small.TOKENIZER, "ab")


def test_one_token_without_a_text_has_no_scores():
    found = looked(text="a")
    assert found.scores is None
    assert "entropy" in str(found)
