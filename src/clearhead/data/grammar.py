"""A language whose rules are known: who is who shows in what stands around a word, and its entropy is a number.

Every sentence is drawn by itself. Its noun chooses what may stand around it, each feature by words of its own: the
rank a place, the gender a garment, the age a toy, the number "this" or "these" and a form of the verb, the tense of
the verb a word of time.
So "king" differs from "man" as "queen" differs from "woman", in the text and in nothing else (Harris 1954,
"Distributional structure"). The sentences can be listed, so the entropy is a sum, not an estimate.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from clearhead.errors import CorpusError

GRAMMAR_SEED = 1337
SENTENCES = 24_000
"""Of the named corpus: about 220,000 words and marks."""

NOUNS = {
    ("king", "kings"): ("royal", "male", "old"),
    ("queen", "queens"): ("royal", "female", "old"),
    ("prince", "princes"): ("royal", "male", "young"),
    ("princess", "princesses"): ("royal", "female", "young"),
    ("man", "men"): ("plain", "male", "old"),
    ("woman", "women"): ("plain", "female", "old"),
    ("boy", "boys"): ("plain", "male", "young"),
    ("girl", "girls"): ("plain", "female", "young"),
    ("cat", "cats"): ("animal", "purrs"),
    ("dog", "dogs"): ("animal", "barks"),
}
"""(singular, plural) -> what the noun is."""
ADJECTIVES = {
    "royal": ("noble", "crowned"),
    "plain": ("poor", "simple"),
    "male": ("bearded", "handsome"),
    "female": ("graceful", "pretty"),
    "old": ("old", "wise"),
    "young": ("young", "playful"),
    "animal": ("hungry", "furry"),
}
PLACES = {
    "royal": ("palace", "castle", "throne"),
    "plain": ("house", "field", "shop"),
    "animal": ("garden", "barn", "basket"),
}
GARMENTS = {"male": ("coat", "beard", "belt"), "female": ("dress", "necklace", "gown")}
BELONGINGS = {"old": ("books", "letters"), "young": ("toys", "games"), "animal": ("tails", "paws")}
MOVES = (("walk", "walks", "walked"), ("climb", "climbs", "climbed"), ("return", "returns", "returned"))
"""(plural, singular, past) of a verb."""
LIKES = (("love", "loves", "loved"), ("want", "wants", "wanted"))
WEAR = ("show", "shows", "showed")
SOUNDS = {"purrs": ("purr", "purrs", "purred"), "barks": ("bark", "barks", "barked")}
TIMES = {"present": ("today", "now"), "past": ("yesterday", "once")}
DETERMINERS = (("the", "this"), ("the", "these"))
"""Of the singular and of the plural."""
OWNERS = {"male": "his", "female": "her", "animal": "its"}
BARE = 0.4
"""The share of nouns without an adjective."""

Weighted = Iterator[tuple[str, float]]
"""Words and their probability."""


@dataclass(frozen=True)
class Grammar:
    """All sentences of a language and their probabilities; sentences follow each other independently, a line each."""

    sentences: tuple[str, ...]
    """Each ends with a full stop; no line end."""
    probabilities: tuple[float, ...]
    """They sum to 1."""

    def sample(self, count: int, seed: int = GRAMMAR_SEED) -> str:
        """`count` sentences, a line each: the same on every machine."""
        numbers = np.random.Philox(key=seed).random_raw(count) / 2.0**64
        chosen = np.searchsorted(np.cumsum(self.probabilities), numbers, side="right")
        chosen = np.minimum(chosen, len(self.sentences) - 1)  # the sum may fall short of 1 by a rounding
        return "".join(f"{self.sentences[i]}\n" for i in chosen)

    @cached_property
    def sentence_entropy(self) -> float:
        """Nats per sentence: the sum of -p ln p over all of them."""
        return -math.fsum(p * math.log(p) for p in self.probabilities)

    @cached_property
    def entropy_rate(self) -> float:
        """Nats per word token (a word with the space before it, a full stop, a line end).

        The sentences are independent and each shows where it ends, so it is the entropy of one over its expected
        length (Cover & Thomas 2006, "Elements of information theory", section 4.2). No model's expected loss is less.
        """
        return self.sentence_entropy / self._mean(lambda sentence: len(words(sentence)))

    @cached_property
    def bits_per_char(self) -> float:
        """The same in bits per character, whatever the tokens."""
        return self.sentence_entropy / math.log(2) / self._mean(lambda sentence: len(sentence) + 1)

    def surprisals(self, text: str) -> list[float]:
        """Nats of every word token of whole sentences under the grammar itself: what a perfect model would lose.

        CorpusError names the first sentence that the grammar does not have.
        """
        found = []
        for sentence in text.splitlines():
            prefix: tuple[str, ...] = ()
            for word in words(sentence):
                before, prefix = self._mass[prefix], (*prefix, word)
                if prefix not in self._mass:
                    raise CorpusError(f"{sentence!r} is no sentence of the grammar; give text that it has drawn")
                found.append(math.log(before / self._mass[prefix]))
        return found

    @cached_property
    def _mass(self) -> dict[tuple[str, ...], float]:
        """The probability of every beginning of a sentence."""
        mass: dict[tuple[str, ...], float] = {}
        for sentence, probability in zip(self.sentences, self.probabilities, strict=True):
            parts = words(sentence)
            for end in range(len(parts) + 1):
                mass[parts[:end]] = mass.get(parts[:end], 0.0) + probability
        return mass

    def _mean(self, length: Callable[[str], int]) -> float:
        return math.fsum(p * length(s) for s, p in zip(self.sentences, self.probabilities, strict=True))


def words(sentence: str) -> tuple[str, ...]:
    """The word tokens of a sentence, without spaces: its words, the full stop, the line end.

    >>> words("now the cat purrs.")
    ('now', 'the', 'cat', 'purrs', '.', '\\n')
    """
    return (*sentence.removesuffix(".").split(), ".", "\n")


@lru_cache(maxsize=1)
def known_grammar() -> Grammar:
    """The grammar of the named corpus `grammar`."""
    listed: dict[str, float] = {}
    for sentence, probability in _sentences():
        listed[sentence] = listed.get(sentence, 0.0) + probability
    return Grammar(tuple(listed), tuple(listed.values()))


def grammar_text() -> str:
    """The text of the named corpus."""
    return known_grammar().sample(SENTENCES)


def grammar_notice() -> str:
    """What there is to know of its loss, in a line."""
    grammar = known_grammar()
    return (
        f"drawn from a known grammar: its entropy is {grammar.entropy_rate:.4f} nats per word token, "
        f"{grammar.bits_per_char:.4f} bits per character; below that there is nothing to learn"
    )


def _sentences() -> Weighted:
    """Every derivation, its sentence and its probability."""
    for forms, features in NOUNS.items():
        for number, noun in enumerate(forms):
            for tense, times in TIMES.items():
                share = 1 / (len(NOUNS) * len(forms) * len(TIMES))
                form = 2 if tense == "past" else 1 - number
                for subject, p in _subjects(noun, features, DETERMINERS[number]):
                    for predicate, q in _predicates(features, form, plural=bool(number)):
                        for time in times:
                            half = share * p * q / len(times) / 2
                            yield f"{time} {subject} {predicate}.", half
                            yield f"{subject} {predicate} {time}.", half


def _subjects(noun: str, features: tuple[str, ...], determiners: tuple[str, ...]) -> Weighted:
    """A determiner and the noun, alone or after an adjective that fits one of its features."""
    fitting = [adjective for feature in features for adjective in ADJECTIVES.get(feature, ())]
    for determiner in determiners:
        yield f"{determiner} {noun}", BARE / len(determiners)
        for adjective in fitting:
            yield f"{determiner} {adjective} {noun}", (1 - BARE) / len(fitting) / len(determiners)


def _predicates(features: tuple[str, ...], form: int, *, plural: bool) -> Weighted:
    """What the noun does, in a form of the verb: each kind of predicate tells one of its features."""
    kinds = list(_kinds(features, form, plural=plural))
    for options in kinds:
        for option in options:
            yield option, 1 / (len(kinds) * len(options))


def _kinds(features: tuple[str, ...], form: int, *, plural: bool) -> Iterator[list[str]]:
    rank, last = features[0], features[-1]
    gender = features[1] if rank != "animal" else "animal"
    owner = "their" if plural else OWNERS[gender]
    yield [f"{verb[form]} to {owner} {place}" for verb in MOVES for place in PLACES[rank]]
    yield [
        f"{verb[form]} {owner} {thing}" for verb in LIKES for thing in BELONGINGS[rank if rank == "animal" else last]
    ]
    if rank == "animal":
        yield [SOUNDS[last][form]]
    else:
        yield [f"{WEAR[form]} {owner} {garment}" for garment in GARMENTS[gender]]
