"""Where two texts part: the residual stream of one put into the other, place by place.

Activation patching (Meng et al. 2022, "Locating and Editing Factual Associations in GPT"; Heimersheim & Nanda 2024,
"How to use and interpret activation patching"): the model reads text B, but at one position and one depth its
residual stream is what it was in text A; how far does the difference of two logits move from B's value to A's?

Shapes: D = L + 1 depths, T positions, C = n_embd, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearhead.errors import ConfigError
from clearhead.evaluation.loss import evaluating
from clearhead.evaluation.table import aligned
from clearhead.inspection.trace import Trace

Floats = npt.NDArray[np.float64]

LONGEST = 256
"""Tokens, at most: every depth and position is a run of its own."""
_PER_CALL = 8_192
"""Tokens of one forward pass."""
FLAT = 1e-4
"""Logits: two texts whose differences are nearer than this have nothing to share out."""


@dataclass(frozen=True)
class Patching:
    """What each place of text A's stream does to text B."""

    tokens: tuple[str, ...]
    """(T,) of A, the text that is looked at."""
    other: tuple[str, ...]
    """(T,) of B, the text that is patched into."""
    position: int
    """Where the logits are read."""
    token: str
    against: str
    own: float
    """Logit of `token` less logit of `against` in A."""
    others: float
    """The same in B."""
    depths: tuple[str, ...]
    """(D,) where in the model."""
    raw: Floats
    """(D, T) the difference of logits when this place of B is A's."""
    normalised: Floats | None
    """(D, T) 0 where it is as in B, 1 where it is as in A; None where A and B do not differ."""

    def __str__(self) -> str:
        said = f"logit of {self.token} less logit of {self.against} after position {self.position}"
        lines = [
            "patching: B's residual stream is A's at one place",
            f"  A {''.join(self.tokens)}",
            f"  B {''.join(self.other)}",
            f"  {said}: A {self.own:+.4f}, B {self.others:+.4f}",
        ]
        if self.normalised is None:
            return "\n".join(
                [*lines, "  A and B do not differ in it: there is nothing to share out; choose other tokens"]
            )
        places = [t for t in range(len(self.tokens)) if np.abs(self.raw[:, t] - self.others).max() > FLAT] or [
            self.position
        ]
        head = ("", *(f"{t}" for t in places), "")
        texts = [("A", *(self.tokens[t] for t in places), ""), ("B", *(self.other[t] for t in places), "")]
        rows = [
            (depth, *(f"{values[t]:+.2f}" for t in places), "")
            for depth, values in zip(self.depths, self.normalised, strict=True)
        ]
        left = len(self.tokens) - len(places)
        rest = f"; the {left} other positions change nothing" if left else ""
        return "\n".join([*lines, *aligned([head, *texts, *rows]), f"0 is as in B, 1 as in A{rest}"])


def patch(
    a: Trace,
    b: Trace,
    tokens: tuple[tuple[str, ...], tuple[str, ...]],
    names: tuple[str, ...],
    at: tuple[int, int, int],
) -> Patching:
    """Put every place of trace a into the text of trace b; `at` is a position and the ids of two tokens.

    `tokens` are those of the texts and `names` (V,) of the vocabulary, as people read them. ConfigError where the
    texts have different lengths, are equal or too long.
    """
    position, token, against = at
    check_texts(a.idx, b.idx)
    T = a.idx.shape[1]
    depths = ["embedding", *(f"after block {block.layer}" for block in a.blocks)]
    streams = [(t.embedding[0], *(block.after[0] for block in t.blocks)) for t in (a, b)]
    raw = np.empty((len(depths), T))
    others, own = (float(t.logits[0, position, token] - t.logits[0, position, against]) for t in (b, a))
    with evaluating(a.model):
        for depth, (from_a, into) in enumerate(zip(*streams, strict=True)):
            raw[depth] = others  # before the first difference, and after where it is read, nothing can change
            reached = range(position + 1) if depth < len(a.blocks) else (position,)
            places = [t for t in reached if not torch.equal(from_a[t], into[t])]
            for chunk in torch.tensor(places, dtype=torch.long).split(max(1, _PER_CALL // T)):
                logits = _rest(a, depth, from_a, into, chunk, position)
                raw[depth, chunk.numpy()] = (logits[:, token] - logits[:, against]).cpu().double().numpy()
    flat = abs(own - others) < FLAT
    return Patching(
        tokens=tokens[0],
        other=tokens[1],
        position=position,
        token=names[token],
        against=names[against],
        own=own,
        others=others,
        depths=tuple(depths),
        raw=raw,
        normalised=None if flat else (raw - others) / (own - others),
    )


def _rest(seen: Trace, depth: int, from_a: Tensor, into: Tensor, places: Tensor, position: int) -> Tensor:
    """Logits (n, V) at a position when each of n places of the stream (T, C) is patched in a row of its own."""
    x = into.expand(len(places), -1, -1).clone()  # (n, T, C)
    x[torch.arange(len(places)), places] = from_a[places]
    for block in seen.model.blocks[depth:]:
        x = block(x)
    return seen.model.lm_head(seen.model.ln_f(x[:, position]))


def check_texts(a: Tensor, b: Tensor) -> None:
    """ConfigError for ids (1, T) that cannot be patched into each other."""
    if a.shape != b.shape:
        raise ConfigError(
            f"the texts have {a.shape[1]} and {b.shape[1]} tokens; patching puts one position into the same of the "
            "other: give texts of equal length"
        )
    if a.shape[1] > LONGEST:
        raise ConfigError(f"{a.shape[1]} tokens are many to patch one by one; give texts of {LONGEST} or fewer")
    if torch.equal(a, b):
        raise ConfigError("the texts are equal: there is nothing to patch; change a token of one of them")
