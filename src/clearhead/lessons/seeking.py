"""A story about heads, held against a language in which it is known who the subject is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from clearhead.api import Run

OWNERS = ("his", "her", "its", "their")
"""Words of the grammar that the subject decides."""
AWAY = (1, 2)
"""Tokens back at which the subject stands before them: "the king showed | his", "the king walked to | his"."""
FEWEST = 5
"""Places at each distance, at least, for a mean."""


@dataclass(frozen=True)
class Tested:
    """A head of the grammar's model, held against the story that it seeks the subject."""

    name: str
    near: float
    """Mean weight on the subject, one token back from where the owner is predicted."""
    far: float
    """The same, two tokens back."""
    even: float
    """What attention spread evenly would give it."""
    owners: float
    """Nats more on the words that the subject decides, when the head is left out."""
    others: float
    """On all other words."""


def seekers(run: "Run") -> list[Tested]:
    """Every head, the one first whose loss costs the owners most."""
    import torch

    from clearhead.data.grammar import NOUNS
    from clearhead.inspection.heads import ablated, measured_windows
    from clearhead.inspection.passage import gpt_of
    from clearhead.inspection.tables import find_token, token_counts
    from clearhead.inspection.trace import trace

    gpt, _ = gpt_of(run.model, "heads")
    counts = token_counts(run.data, run.tokenizer.vocab_size)

    def ids(words: "tuple[str, ...]") -> "Tensor":
        return torch.tensor([find_token(word, run.tokenizer, counts) for word in words], device=gpt.device)

    windows = measured_windows(gpt, run.data)
    owner = torch.isin(windows.y, ids(OWNERS))  # (B, T)
    noun = torch.isin(windows.x, ids(tuple(form for forms in NOUNS for form in forms)))
    seen = trace(gpt, windows.x)
    before = nats(seen.logits, windows.y)
    t = torch.arange(owner.shape[1], device=gpt.device)
    places = [(owner & noun.roll(away, 1) & (t >= away)).nonzero() for away in AWAY]  # (n, 2): row and position
    assert min(map(len, places)) >= FEWEST, "windows of the grammar hold many subjects"
    even = float(torch.cat([1 / (place[:, 1] + 1) for place in places]).mean())
    found = []
    for block in seen.blocks:
        for h in range(gpt.config.n_head):
            near, far = (
                float(block.wei[place[:, 0], h, place[:, 1], place[:, 1] - away].mean())
                for place, away in zip(places, AWAY, strict=True)
            )
            more = nats(ablated(seen, block.layer, h), windows.y) - before
            owners, others = float(more[owner].mean()), float(more[~owner].mean())
            found.append(Tested(f"{block.layer}.{h}", near, far, even, owners, others))
    return sorted(found, key=lambda one: -one.owners)


def nats(logits: "Tensor", y: "Tensor") -> "Tensor":
    """(B, T) the loss of each token, of logits (B, T, V)."""
    from torch.nn import functional as F

    return F.cross_entropy(logits.mT, y, reduction="none").double()
