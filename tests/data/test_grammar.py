import hashlib
import math
from collections import Counter

import numpy as np
import pytest

from clearhead.config import DataConfig
from clearhead.data.grammar import Grammar, grammar_text, known_grammar, words
from clearhead.data.sources import read_source
from clearhead.errors import CorpusError
from clearhead.tokenizers.word import WordTokenizer


def test_the_named_corpus_is_the_same_everywhere():
    source = read_source(["grammar"], DataConfig())
    assert source.documents == (grammar_text(),)
    assert (source.name, source.paths) == ("grammar", ("grammar",))
    assert f"entropy is {known_grammar().entropy_rate:.4f} nats per word token" in source.notices[0]
    digest = hashlib.sha256(grammar_text().encode()).hexdigest()
    assert digest == "cef740864892a5faa58f869c3e66739cda4f5202416e6e7192a2c145aa50ef85"


def test_probabilities_are_a_distribution_over_different_sentences():
    grammar = known_grammar()
    assert math.isclose(math.fsum(grammar.probabilities), 1.0, rel_tol=1e-12)
    assert len(set(grammar.sentences)) == len(grammar.sentences)


def test_entropy_of_a_grammar_one_can_compute_by_hand():
    """Four sentences: 2 bits per sentence of 1/2, 1/4, 1/8, 1/8 is 1.75 bits; the expected length is 3.5 tokens."""
    grammar = Grammar(("a.", "b a.", "b b.", "b b c."), (0.5, 0.25, 0.125, 0.125))
    tokens = 0.5 * 3 + 0.25 * 4 + 0.125 * 4 + 0.125 * 5
    assert math.isclose(grammar.entropy_rate, 1.75 * math.log(2) / tokens)
    characters = 0.5 * 3 + 0.25 * 5 + 0.125 * 5 + 0.125 * 7
    assert math.isclose(grammar.bits_per_char, 1.75 / characters)
    surprisals = grammar.surprisals("b a.\n")
    np.testing.assert_allclose(surprisals, [math.log(2), math.log(2), 0, 0])


def test_expected_surprisal_is_the_entropy():
    """The chain rule: over all sentences the conditional surprisals add up to the entropy that the sum gives."""
    grammar = known_grammar()
    sample = grammar.sentences[::37]
    for sentence in sample[:50]:
        probability = grammar.probabilities[grammar.sentences.index(sentence)]
        assert math.isclose(sum(grammar.surprisals(f"{sentence}\n")), -math.log(probability), rel_tol=1e-9)
    text = grammar.sample(20_000, seed=5)
    surprisals = np.array(grammar.surprisals(text))
    assert abs(surprisals.mean() - grammar.entropy_rate) < 4 * surprisals.std() / math.sqrt(len(surprisals))


def test_words_are_the_tokens_of_the_word_tokenizer():
    text = known_grammar().sample(200)
    pieces = WordTokenizer.train([text])
    found = [pieces.decode([i]).strip(" ") for i in pieces.encode(text)]
    assert found == [word for sentence in text.splitlines() for word in words(sentence)]


def test_features_stand_apart_in_the_contexts():
    """Royalty and gender show in different words: places go by rank, possessives by gender."""
    text = known_grammar().sample(24_000)
    lines = [line for line in text.splitlines() if " to " in line]
    places = {
        noun: Counter(line.split(" to ")[1].split()[1].strip(".") for line in lines if f" {noun} " in line)
        for noun in ("king", "queen", "man", "woman")
    }
    assert set(places["king"]) == set(places["queen"]) != set(places["man"])
    assert set(places["man"]) == set(places["woman"])
    owners = {n: {line.split(" to ")[1].split()[0] for line in lines if f" {n} " in line} for n in places}
    assert owners == {"king": {"his"}, "man": {"his"}, "queen": {"her"}, "woman": {"her"}}


def test_a_sentence_that_the_grammar_lacks_is_named():
    with pytest.raises(CorpusError, match=r"'the king purrs\.' is no sentence"):
        known_grammar().surprisals("the king purrs.\n")
