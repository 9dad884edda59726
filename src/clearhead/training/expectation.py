"""What a run should reach, before it is made: a law of loss by size and tokens, fitted to our own runs.

The form is that of Hoffmann et al. 2022 ("Training compute-optimal large language models", equation 2) with tokens
that repeat counting less and less (Muennighoff et al. 2023, "Scaling data-constrained language models", section 3.1).
The powers were fitted to about ten runs of 0.6 to 8 million tokens on tiny Shakespeare, the floor to planned runs of
one, two and ten minutes there, which it meets within 0.03 nats. Another text is taken to be as much harder as its
n-gram says.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

FLOOR, BY_SIZE, SIZE_POWER, BY_TOKENS, TOKENS_POWER = 1.287, 12.2, 0.34, 3_270.0, 0.705
REPEATS = 15.0
"""Epochs after which a repeated token teaches next to nothing new (R* of Muennighoff et al., table 2)."""
NGRAM_OF_THE_FIT = 1.5165
"""Nats per token of the n-gram on the text that the law was fitted on."""
MIXING_GAIN, MIXING_REACH = 0.1, 0.25
"""Nats that a mixture of equally good parts gains, and the distance in nats at which that gain falls by e."""
DROPOUT = ((4.0, 0.0), (20.0, 0.1), (math.inf, 0.2))
"""Epochs up to which a share of dropout does best: without it a text that is read ten times is remembered."""


@dataclass(frozen=True)
class Expectation:
    """Nats per token on validation, about."""

    gpt: float
    mixture: float


def dropout_for(epochs: float) -> float:
    """The dropout of a run that reads its text so many times."""
    return next(share for most, share in DROPOUT if epochs <= most)


def expect(
    parameters: int,
    tokens: int,
    train_tokens: int,
    rungs: Mapping[str, float],
    characters_per_token: float = 1.0,
) -> Expectation:
    """What a GPT of a size should reach after so many tokens of a text with `train_tokens` different ones.

    The law was fitted to characters, and holds for longer tokens by the characters that they stand for: with 4,096 BPE
    tokens 4.92 nats were expected on tiny Shakespeare, and 4.90 were reached.
    """
    read, different = tokens * characters_per_token, train_tokens * characters_per_token
    repeats = max(0.0, read / different - 1)
    worth = different + different * REPEATS * (1 - math.exp(-repeats / REPEATS)) if repeats else min(read, different)
    law = FLOOR + BY_SIZE * parameters**-SIZE_POWER + BY_TOKENS * worth**-TOKENS_POWER
    ngram = rungs.get("ngram", NGRAM_OF_THE_FIT * characters_per_token) / characters_per_token
    gpt = min(law * ngram / NGRAM_OF_THE_FIT, rungs.get("uniform", math.inf) / characters_per_token)
    gain = MIXING_GAIN * math.exp(-abs(gpt - ngram) / MIXING_REACH)
    return Expectation(gpt * characters_per_token, (min(gpt, ngram) - gain) * characters_per_token)
