"""Readings, parts and patches against the model's own numbers."""

import numpy as np
import pytest
import torch

import inspection.tiny_models as small
from clearhead.errors import ConfigError, TokenizerError
from clearhead.inspection.decomposition import decompose
from clearhead.inspection.lens import lens
from clearhead.inspection.trace import DisagreementError, trace
from clearhead.models.bigram import BigramLanguageModel

look = small.untyped(lens)
TEXT, OTHER = "abba cab\nab", "abba cad\nab"


def ids(text):
    return torch.from_numpy(small.TOKENIZER.encode(text).astype("int64"))[None]


@pytest.mark.parametrize("kind", small.KINDS)
def test_the_parts_sum_to_every_logit(kind):
    model = small.lively(kind)
    seen = trace(model, ids(TEXT))
    names = tuple(small.ALPHABET)
    with torch.no_grad():
        own = model(ids(TEXT)).logits[0].double().numpy()
    for position in (0, 5, 10):
        found = decompose(seen, names, position, 3, 5)
        bound = 1e-5 * max(1, np.abs(own[position]).max(), np.abs(found.logits).max())
        assert np.abs(found.logits.sum(0) - own[position]).max() <= bound
        assert found.error <= bound
        assert found.total == pytest.approx(own[position, 3] - own[position, 5], abs=2 * bound)
        assert found.total == pytest.approx(sum(part.logit for part in found.parts), abs=1e-9)


def test_a_head_is_worth_what_it_adds_while_the_scale_is_kept():
    """With no final norm nothing is frozen: taking the last feed-forward away moves the logit by its part exactly."""
    model = small.lively("no positions, no norm")
    seen = trace(model, ids(TEXT))
    part = {p.name: p.logit for p in decompose(seen, tuple(small.ALPHABET), 4, 7).parts}["feed-forward 1"]
    with torch.no_grad():
        without = model.lm_head(seen.blocks[-1].middle)[0, 4, 7]
    assert part == pytest.approx(float(seen.logits[0, 4, 7] - without), rel=1e-4)


def test_the_names_of_the_parts_are_those_of_the_model():
    seen = trace(small.lively("lecture"), ids(TEXT))
    names = [part.name for part in decompose(seen, tuple(small.ALPHABET), 2, 1).parts]
    layers = [
        ["head 0.0", "head 0.1", "attention bias 0", "feed-forward 0"],
        ["head 1.0", "head 1.1", "attention bias 1", "feed-forward 1"],
    ]
    assert names == [
        "token embedding",
        "position embedding",
        *layers[0],
        *layers[1],
        "final norm's bias",
        "head's bias",
    ]


def test_centred_parts_leave_the_softmax_as_it_is():
    seen = trace(small.lively(), ids(TEXT))
    found = decompose(seen, tuple(small.ALPHABET), 2, 1)
    assert sum(part.centred for part in found.parts) == pytest.approx(
        found.logit - found.logits.sum(0).mean(), abs=1e-5
    )


def test_a_sum_that_fails_is_raised(monkeypatch):
    seen = trace(small.lively(), ids(TEXT))
    seen.blocks[0].__dict__["contributions"] = seen.blocks[0].contributions * 1.01
    with pytest.raises(DisagreementError, match="parts of the logits"):
        decompose(seen, tuple(small.ALPHABET), 2, 1)


@pytest.mark.parametrize("kind", ["modern", "lecture", "no positions, no norm"])
def test_readings_are_the_head_on_the_unfinished_stream(kind):
    model = small.lively(kind)
    read = look(model, small.TOKENIZER, TEXT).readings
    assert read.places == ("embedding", "attention 0", "feed-forward 0", "attention 1", "feed-forward 1")
    with torch.no_grad():
        x = model.embed(ids(TEXT))
        after = model.blocks[0](x)
        for place, stream in ((0, x), (2, after), (4, model.blocks[1](after))):
            said = model.lm_head(model.ln_f(stream))[0].double().log_softmax(-1)
            assert read.favourites[place] == tuple(
                small.ALPHABET[i].replace(" ", "␣").replace("\n", "↵") for i in said.argmax(-1)
            )
            bits = -said[range(10), ids(TEXT)[0, 1:]] / np.log(2)
            assert np.allclose(read.surprisal[place], bits.numpy(), atol=1e-4)
    ranks = 1 + (said[:-1] > said[range(10), ids(TEXT)[0, 1:]][:, None]).sum(-1)
    assert read.rank[4].tolist() == ranks.tolist()
    assert np.allclose(read.divergence[-1], 0, atol=1e-9)
    assert (read.divergence >= 0).all()


def test_patching_everything_at_once_gives_the_other_text():
    found = look(small.lively(), small.TOKENIZER, TEXT, other=OTHER).patching
    assert found is not None
    T = len(TEXT)
    changed = TEXT.index("b\n")
    model = small.lively()
    with torch.no_grad():
        a, b = model(ids(TEXT)).logits[0, -1], model(ids(OTHER)).logits[0, -1]
    pair = tuple(small.ALPHABET.replace(" ", "␣").replace("\n", "↵").index(t) for t in (found.token, found.against))
    assert found.own == pytest.approx(float(a[pair[0]] - a[pair[1]]), abs=1e-5)
    assert found.others == pytest.approx(float(b[pair[0]] - b[pair[1]]), abs=1e-5)
    # only one token differs: its embedding is all the difference, and before it nothing is
    assert found.normalised[0, changed] == pytest.approx(1, abs=1e-4)
    assert (found.raw[:, :changed] == found.others).all()
    assert found.normalised[-1, T - 1] == pytest.approx(1, abs=1e-4)
    assert (found.raw[-1, : T - 1] == found.others).all()


def test_patching_is_a_run_with_one_vector_exchanged():
    model = small.lively("lecture")
    found = look(model, small.TOKENIZER, TEXT, other=OTHER, token="a", against="b").patching
    with torch.no_grad():
        x, y = model.blocks[0](model.embed(ids(TEXT))), model.blocks[0](model.embed(ids(OTHER)))
        y[0, 8] = x[0, 8]
        logits = model.lm_head(model.ln_f(model.blocks[1](y)))[0, -1]
    a, b = small.ALPHABET.index("a"), small.ALPHABET.index("b")
    assert found.raw[1, 8] == pytest.approx(float(logits[a] - logits[b]), abs=1e-5)
    assert found.normalised[1, 8] == pytest.approx((found.raw[1, 8] - found.others) / (found.own - found.others))


def test_texts_that_do_not_differ_in_the_logits_say_so():
    model = small.lively(n_layer=1, positions="none")
    with torch.no_grad():
        model.blocks[0].sa.proj.weight.zero_()  # positions do not talk to each other
    found = look(model, small.TOKENIZER, "ab", other="cb")
    assert found.patching.normalised is None
    assert "nothing to share out" in str(found)
    assert found.to_dict()["patching"]["normalised"] is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"position": 11}, "no position 11"),
        ({"other": "abc"}, "11 and 3 tokens"),
        ({"other": TEXT}, "texts are equal"),
        ({"other": OTHER, "token": "a", "against": "a"}, "against itself"),
    ],
)
def test_bad_input_is_one_line(settings, words):
    with pytest.raises(ConfigError, match=words):
        look(small.lively(), small.TOKENIZER, TEXT, **settings)


def test_tokens_are_named_as_written_or_as_shown():
    for word in (" ", "␣"):
        assert look(small.lively(), small.TOKENIZER, TEXT, token=word).decomposition.token == "␣"
    with pytest.raises(TokenizerError, match="'ab' is not one token"):
        look(small.lively(), small.TOKENIZER, TEXT, token="ab")
    with pytest.raises(ConfigError, match="a bigram has no layers"):
        look(BigramLanguageModel(13), small.TOKENIZER, TEXT)


def test_the_text_shows_the_sum_that_was_measured():
    found = look(small.lively(), small.TOKENIZER, TEXT, token="c")
    said = str(found)
    assert f"{found.decomposition.error:.1e}" in said
    assert f"parts sum to {found.decomposition.total:+.6f}" in said
    assert "RMSNorm" in said
    assert "less mean" in said
    assert "less mean" not in str(look(small.lively(), small.TOKENIZER, TEXT, token="c", against="a"))
