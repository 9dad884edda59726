import pytest

from clearhead.data.fertility import SHOWN_TOKENS, fertility
from clearhead.tokenizers.bpe import BPETokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer


def test_characters_are_one_token_each():
    found = fertility(CharTokenizer.train(["é ab"], eot=True), ["é a", "b"])
    assert (found.tokens, found.characters, found.bytes, found.words, found.hidden) == (4, 4, 5, 3, 0)
    assert (found.characters_per_token, found.bytes_per_token) == (1.0, 1.25)
    assert found.tokens_per_word == pytest.approx(4 / 3)
    assert (found.use.entries, found.use.used, found.use.seldom) == (4, 4, 4)
    assert [piece.text for piece in found.pieces] == ["é", "·", "a", "b"]


def test_what_is_frequent_and_long_is_named():
    text = "the cat and the hat. " * 12
    found = fertility(BPETokenizer.train([text], vocab_size=400), [text])
    assert found.use.most[0] == ("·the", 23)
    assert found.use.longest[0] == "·the"
    assert found.use.used < found.use.entries == found.vocab_size
    assert found.use.seldom == 2, "the first word without a space before it, and the last space"


def test_hidden_characters_are_counted_and_no_use():
    found = fertility(WordTokenizer.train(["a b c"], unk=True), ["a b zzz"])
    assert (found.tokens, found.hidden) == (3, len(" zzz"))
    assert (found.use.entries, found.use.used) == (3, 2)


def test_of_a_long_text_the_beginning_is_shown():
    found = fertility(CharTokenizer.train(["ab"]), ["ab" * SHOWN_TOKENS, "a"])
    assert len(found.pieces) == SHOWN_TOKENS
    assert found.tokens == 2 * SHOWN_TOKENS + 1
