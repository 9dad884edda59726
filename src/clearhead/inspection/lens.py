"""What would each layer say, and which part says what? The logit lens, one logit taken apart, and patching.

The logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens") puts the final norm and the head on the
residual stream before it is finished. Shapes: P = 2 L + 1 places, T positions, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.loss import evaluating
from clearhead.evaluation.table import aligned
from clearhead.inspection.decomposition import Decomposition, decompose
from clearhead.inspection.passage import find_passage, gpt_of, read_passage, token_id
from clearhead.inspection.patching import Patching, check_texts, patch
from clearhead.inspection.trace import Trace, trace
from clearhead.inspection.view import View
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Tokenizer

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

WIDTH = 90
"""Characters across which the grid is printed, its last positions."""
BITS = float(np.log(2))


@dataclass(frozen=True)
class Readings:
    """What the unfinished stream says at every place and position, T - 1 of which have a next token."""

    places: tuple[str, ...]
    """(P,)"""
    favourites: tuple[tuple[str, ...], ...]
    """(P, T) the likeliest token."""
    probability: Floats
    """(P, T) of the likeliest."""
    rank: Integers
    """(P, T - 1) of the true next token; 1 is the likeliest."""
    surprisal: Floats
    """(P, T - 1) bits of the true next token."""
    divergence: Floats
    """(P, T) bits: KL of the model's distribution from what this place says."""

    def rows(self) -> list[tuple[str, ...]]:
        """Places by averages over positions."""
        head = ("", "rank", "rank", "the true one", "bits per", "KL to", "")
        head2 = ("place", "mean", "median", "is first", "token", "the end", "")
        found = [head, head2]
        for place, ranks, bits, apart in zip(self.places, self.rank, self.surprisal, self.divergence, strict=True):
            known = (
                f"{ranks.mean():.1f}",
                f"{np.median(ranks):.0f}",
                f"{(ranks == 1).mean():.0%}",
                f"{bits.mean():.3f}",
            )
            found.append((place, *(known if len(ranks) else ("", "", "", "")), f"{apart.mean():.3f}", ""))
        return found


@dataclass(frozen=True)
class Lens(View):
    """A GPT read before its end."""

    run: str
    model: str
    tokens: tuple[str, ...]
    """(T,)"""
    notes: tuple[str, ...]
    readings: Readings
    logits_error: float
    """Largest difference of the traced logits from the model's own."""
    decomposition: Decomposition
    patching: Patching | None

    @property
    def title(self) -> str:
        """What, of which run, on how much."""
        places = len(self.readings.places)
        return f"Lens on {self.run}: what {places} places of the stream say, on {len(self.tokens):,} tokens"

    def __str__(self) -> str:
        parts = [
            "\n".join([*self.notes, *self._grid()]),
            "\n".join(
                [
                    *aligned(self.readings.rows()),
                    "final norm and head on the unfinished stream; ranks and bits of the true next token, KL in bits",
                    f"check: the last place differs from the model by {self.logits_error:.1e}",
                ]
            ),
            str(self.decomposition),
            *([str(self.patching)] if self.patching else []),
        ]
        return "\n\n".join(parts)

    def _grid(self) -> list[str]:
        rows = [("text", self.tokens), ("next", (*self.tokens[1:], ""))]
        rows += zip(self.readings.places, self.readings.favourites, strict=True)
        widths = [2 + max(map(len, column)) for column in zip(*(cells for _, cells in rows), strict=True)]
        shown = max(1, int((np.cumsum(widths[::-1]) <= WIDTH).sum()))
        cut = f", the last {shown} of {len(widths)} positions" if shown < len(widths) else ""
        grid = aligned([(place, *cells[-shown:], "") for place, cells in rows])
        return [f"the likeliest next token at every place{cut}", *grid]


def lens(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: str | None = None,
    data: TokenDataset | None = None,
    *,
    position: int = -1,
    token: str | None = None,
    against: str | None = None,
    other: str | None = None,
    run: str = "the run",
) -> Lens:
    """Read a GPT layer by layer on a text (by default the validation text's beginning), and take one logit apart.

    The logit is that of `token` (by default the likeliest) after `position`, or its difference from that of `against`.
    With `other`, a text of as many tokens, the stream of the text is patched into it; the difference is then that
    between each text's favourite, unless tokens are named. ConfigError for a model without layers, an empty text, a
    position that is not there and texts that do not fit; TokenizerError for unknown tokens.
    """
    gpt, notes = gpt_of(model, "layers")
    passage = find_passage(text, model, tokenizer, data)
    at, names = passage.place(position), passage.names
    seen = trace(gpt, passage.idx)
    chosen = None if token is None else token_id(token, tokenizer)
    rival = None if against is None else token_id(against, tokenizer)
    patching = None
    if other is not None:
        second = read_passage(other, model, tokenizer)
        check_texts(passage.idx, second.idx)
        b = trace(gpt, second.idx)
        pair = _pair(seen.logits[0, at], b.logits[0, at], chosen, rival)
        patching = patch(seen, b, (passage.tokens, second.tokens), names, (at, *pair))
        chosen, rival = pair
    likeliest = int(seen.logits[0, at].argmax())
    return Lens(
        run=run,
        model=model.kind,
        tokens=passage.tokens,
        notes=(*notes, *passage.notes),
        readings=read(seen, names),
        logits_error=seen.error,
        decomposition=decompose(seen, names, at, likeliest if chosen is None else chosen, rival),
        patching=patching,
    )


def read(seen: Trace, names: tuple[str, ...]) -> Readings:
    """The logit lens on the first row of a trace; `names` (V,) are tokens as people read them."""
    gpt, targets = seen.model, seen.idx[0, 1:].cpu()
    final = seen.logits[0].cpu().double().log_softmax(-1)  # (T, V)
    found: list[tuple[Tensor, ...]] = []
    with evaluating(gpt):
        for _, stream in seen.stream:
            found.append(_reading(gpt.lm_head(gpt.ln_f(stream[0])).cpu().double().log_softmax(-1), final, targets))
    favourites, probability, rank, surprisal, divergence = (
        torch.stack(part).cpu() for part in zip(*found, strict=True)
    )
    return Readings(
        places=tuple(place for place, _ in seen.stream),
        favourites=tuple(tuple(names[i] for i in row) for row in favourites.tolist()),
        probability=probability.numpy(),
        rank=rank.numpy(),
        surprisal=surprisal.numpy(),
        divergence=divergence.numpy(),
    )


def _reading(said: Tensor, final: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """Favourites, their probability, ranks and bits of the targets (T - 1,), KL of the end from what is said (T, V)."""
    best = said.max(-1)
    own = said[:-1].gather(-1, targets[:, None])  # (T - 1, 1)
    rank = 1 + (said[:-1] > own).sum(-1)
    divergence = (final.exp() * (final - said)).sum(-1).clamp(min=0) / BITS
    return best.indices, best.values.exp(), rank, -own[:, 0] / BITS, divergence


def _pair(a: Tensor, b: Tensor, token: int | None, against: int | None) -> tuple[int, int]:
    """Two tokens to tell texts apart by their logits (V,): each text's favourite, of one favourite the runner-up."""
    ours, theirs = a.argsort(descending=True).tolist(), b.argsort(descending=True).tolist()
    first = ours[0] if token is None else token
    second = next(i for i in (*theirs, *ours) if i != first) if against is None else against
    if first == second:
        raise ConfigError("a token against itself differs by nothing; name two")
    return first, second
