"""How a text becomes what a model reads."""

import pytest

import inspection.tiny_models as small
from clearhead.errors import ConfigError
from clearhead.inspection.passage import find_passage, read_passage, token_id
from clearhead.models.bigram import BigramLanguageModel
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer


def test_white_space_is_seen():
    read = read_passage("a b\n", small.lively(), small.TOKENIZER)
    assert read.tokens == ("a", "␣", "b", "↵")
    assert read.idx.tolist() == [[2, 1, 3, 0]]
    assert read.notes == ()


def test_documents_begin_with_end_of_text():
    tokenizer = CharTokenizer("abc", eot=True, unk=True)
    read = read_passage("abx", BigramLanguageModel(5), tokenizer)
    assert read.idx.tolist() == [[3, 0, 1, 4]]
    assert read.tokens[0] == "<|endoftext|>"
    assert any("1 of 3 tokens are unknown" in note for note in read.notes)
    assert any("as documents begin" in note for note in read.notes)


def test_a_table_takes_any_length_a_gpt_its_last_tokens():
    long = "abc" * 20
    assert len(read_passage(long, BigramLanguageModel(13), small.TOKENIZER)) == 60
    read = read_passage(long, small.lively(), small.TOKENIZER)
    assert len(read) == 24
    assert "60 tokens" in read.notes[0]


def test_positions():
    read = read_passage("abc", small.lively(), small.TOKENIZER)
    assert [read.place(p) for p in (0, 2, -1, -3)] == [0, 2, 2, 0]
    for outside in (3, -4):
        with pytest.raises(ConfigError, match="positions are 0"):
            read.place(outside)


def test_nothing_to_read():
    with pytest.raises(ConfigError, match="not at hand"):
        find_passage(None, small.lively(), small.TOKENIZER, None)
    with pytest.raises(ConfigError, match="empty"):
        find_passage("", small.lively(), small.TOKENIZER, None)


def test_words_are_named_with_or_without_their_space():
    tokenizer = WordTokenizer.train(["the cat sat on the mat"])
    token = token_id("cat", tokenizer)
    assert tokenizer.decode([token]).strip() == "cat"
