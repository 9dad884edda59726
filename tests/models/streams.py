"""Small streams of tokens for tests of counted models."""

import numpy as np
import numpy.typing as npt

V = 5
"""Size of the vocabulary."""
EOT = 4
"""End-of-text, in streams of documents."""


def ids_of(tokens: list[int]) -> npt.NDArray[np.uint16]:
    return np.array(tokens, dtype=np.uint16)


def random_stream(length: int, *, documents: bool, seed: int = 0, vocab_size: int = V) -> npt.NDArray[np.uint16]:
    """Tokens that depend on their neighbours; with documents, one in eight is end-of-text, the first always."""
    rng = np.random.default_rng(seed)
    steps = rng.choice(vocab_size - 1, size=length, p=rng.dirichlet(np.full(vocab_size - 1, 0.5)))
    ids = (np.cumsum(steps) % (vocab_size - 1)).astype(np.uint16)
    if documents:
        ids[rng.random(length) < 0.125] = vocab_size - 1
        ids[0] = vocab_size - 1
    return ids
