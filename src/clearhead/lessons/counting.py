"""What lessons count in the student's text. Shapes: V tokens, n ids, m distinct pairs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearhead.evaluation.certificate import Pairs
    from clearhead.lessons.desk import Desk


def pairs_of(desk: "Desk") -> "Pairs":
    """Every pair of neighbours in the training text, all weighing alike."""
    from clearhead.evaluation.certificate import sampled_pairs

    return sampled_pairs(desk.data.ids("counts"), 1, desk.tokenizer.vocab_size)


def frequent_pair(desk: "Desk") -> tuple[str, str]:
    """The most frequent pair of two different letters; of any two characters in a text without such a pair.

    Of tiny Shakespeare: t, h.
    """
    pairs, text = pairs_of(desk), desk.tokenizer.decode
    order = (-pairs.counts).argsort(kind="stable")
    found = [(text([int(pairs.current[i])]), text([int(pairs.following[i])])) for i in order]
    letters = (pair for pair in found if pair[0].isalpha() and pair[1].isalpha() and pair[0] != pair[1])
    return next(letters, found[0])
