"""Rungs in order, on one text, and no comparison of different texts."""

import math
import random
import re

import pytest

from clearhead import api
from clearhead.config import RunConfig, TokenizerConfig
from clearhead.data.prepare import prepare
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.ladder import fit_ngram, join_ladders
from clearhead.models import ngram
from clearhead.models.ngram import NgramLanguageModel


def test_counted_rungs_of_a_text(poem):
    ladder = api.ladder(poem)
    assert [rung.name for rung in ladder.rungs] == ["uniform", "unigram", "bigram", "ngram"]
    losses = [rung.bits_per_char for rung in ladder.rungs]
    assert losses == sorted(losses, reverse=True)
    text = poem.read_text()
    assert ladder["uniform"].nats_per_token == pytest.approx(math.log(len(set(text[: int(0.9 * 0.98 * len(text))]))))
    assert ladder.val_characters == len(text) - int(0.9 * len(text))
    assert ladder["ngram"].nats_per_token < 0.5, "the poem repeats; an n-gram knows it by heart"


def test_a_ladder_prints_as_a_table(poem):
    ladder = api.ladder(poem)
    title, *lines = str(ladder).splitlines()
    assert title == "The ladder of poem.txt (940 validation characters)"
    shown = {line.split()[0]: line.split() for line in lines[2:6]}
    assert list(shown) == ["uniform", "unigram", "bigram", "ngram"]
    assert shown["bigram"][1:3] == [f"{ladder['bigram'].nats_per_token:.4f}", f"{ladder['bigram'].bits_per_char:.4f}"]
    assert shown["bigram"][3] == f"{ladder['unigram'].bits_per_char - ladder['bigram'].bits_per_char:+.3f}"


def test_different_texts_are_not_compared(poem, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(poem.read_text().upper(), encoding="utf-8")
    with pytest.raises(ConfigError, match="different validation texts"):
        join_ladders([api.ladder(poem), api.ladder(other)])


def test_tokenizers_are_compared_in_bits_per_character(poem):
    ladder = join_ladders([api.ladder(poem), api.ladder(poem, tokenizer="byte"), api.ladder(poem, tokenizer="word")])
    uniform = {rung.tokenizer: rung for rung in ladder.rungs if rung.name == "uniform"}
    assert set(uniform) == {"char", "byte", "word"}
    assert uniform["byte"].nats_per_token == pytest.approx(math.log(256))
    bits = [rung.bits_per_char for rung in ladder.rungs]
    assert bits == sorted(bits, reverse=True)


def test_a_text_too_short_to_hold_any_back_is_judged_on_itself(tmp_path):
    path = tmp_path / "tiny.txt"
    path.write_text("I love dogs\nI love cats\nDogs and cats are pets", encoding="utf-8")
    ladder = api.ladder(path)
    assert ladder.split == "train"
    assert ladder["ngram"].nats_per_token < ladder["unigram"].nats_per_token


def test_the_known_figures_of_tiny_shakespeare(shakespeare):
    """Bigram counts 2.49, interpolated modified Kneser-Ney at most 1.520 nats per character on the full split."""
    ladder = api.ladder(shakespeare)
    assert ladder["uniform"].nats_per_token == pytest.approx(math.log(65))
    assert ladder["bigram"].nats_per_token == pytest.approx(2.49, abs=0.02)
    assert ladder["ngram"].nats_per_token <= 1.520
    assert ladder.val_characters == 111_540


def test_names_are_documents(names):
    ladder = api.ladder(names, lines=True)
    assert ladder["ngram"].bits_per_char < ladder["bigram"].bits_per_char < ladder["unigram"].bits_per_char


@pytest.fixture
def small_pieces(monkeypatch):
    for place in ("clearhead.data.sample.PIECE", "clearhead.evaluation.ladder.PIECE"):
        monkeypatch.setattr(place, 400)


def test_a_very_large_text_is_counted_on_a_sample_and_says_so(poem, small_pieces, monkeypatch):
    whole = api.ladder(poem)
    thinned = TokenDataset.thinned
    monkeypatch.setattr(TokenDataset, "thinned", lambda data, most=3_000: thinned(data, min(most, 3_000)))
    found = api.ladder(poem)
    said = re.search(r"counted on ([\d.]+)% of the text \(seed 1337\)", found["ngram"].note)
    assert said
    share = float(said[1])
    assert 23 <= share < 30, "six of 22 pieces, the last of which is short"
    assert f"counted on {share}% of the text" in found["bigram"].note
    assert "counted on" not in whole["ngram"].note
    assert found["ngram"].nats_per_token > whole["ngram"].nats_per_token
    assert found["uniform"] == whole["uniform"]


def test_a_sample_is_counted_where_tables_hold_no_three_tokens(tmp_path, small_pieces, monkeypatch):
    draw = random.Random(0)
    text = tmp_path / "words.txt"
    text.write_text(" ".join(f"w{draw.randrange(200)}" for _ in range(6_000)), encoding="utf-8")
    prepared = prepare(RunConfig(tokenizer=TokenizerConfig(tokenizer="word")), [str(text)])
    V = prepared.tokenizer.vocab_size
    counted = ngram.count_levels
    pairs, triples = (NgramLanguageModel.fit(prepared.data.ids("counts"), V, k).num_parameters() for k in (2, 3))

    def with_little_room(ids, vocab_size, order, *, eot_id=None, max_bytes=0):
        return counted(ids, vocab_size, order, eot_id=eot_id, max_bytes=10 * (pairs + triples))

    monkeypatch.setattr(ngram, "count_levels", with_little_room)
    assert NgramLanguageModel.fit(prepared.data.ids("counts"), V, 3).order == 2
    found = fit_ngram(prepared.data, prepared.tokenizer, 3)
    assert found.parts in (2, 4)
    assert found.model.order == 3
    share = len(prepared.data.counted("counts", found.parts)) / len(prepared.data.ids("counts"))
    assert 0.8 / found.parts < share < 1.2 / found.parts
    assert found.note == f"Kneser-Ney, order 3, counted on {share:.1%} of the text (seed 1337)"


def test_parts_are_as_many_as_it_takes(poem):
    data = prepare(RunConfig(), [str(poem)]).data
    tokens = len(data.ids("counts"))
    assert [data.thinned(most) for most in (tokens, tokens - 1, tokens // 2 - 1, tokens // 4 - 1)] == [1, 2, 4, 8]
    assert data.thinned() == 1
