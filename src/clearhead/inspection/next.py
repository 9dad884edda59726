"""Why this token? From logits to the one that is drawn, with nothing left out.

Shapes: V vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.config import SamplingConfig
from clearhead.errors import ConfigError, TokenizerError
from clearhead.evaluation.table import aligned
from clearhead.generation.batch import logits_after
from clearhead.generation.generate import stream_ids
from clearhead.generation.sampling import chances, draw, probabilities
from clearhead.generation.text import Prompt, encode_prompt, forbidden_tokens
from clearhead.inspection.tables import labels
from clearhead.inspection.trace import DisagreementError
from clearhead.inspection.view import View, visible
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Tokenizer

SHOWN = 12
"""Tokens that are printed, the likeliest."""


@dataclass(frozen=True)
class Candidate:
    """One token of the vocabulary on its way."""

    id: int
    token: str
    logit: float
    scaled: float | None
    """Logit / T; None at T = 0, where the likeliest takes all."""
    before: float
    """Probability at T = 1, nothing cut."""
    heated: float
    """Probability at T, nothing cut."""
    cut: str
    """What takes it out: top-k, top-p, T = 0, never written; "" where nothing does."""
    probability: float
    """What it is drawn with."""
    low: float
    """Where its stretch of the cumulative bar begins; tokens stand on it in the order of their ids."""
    high: float
    """Where it ends."""


@dataclass(frozen=True)
class Spread:
    """How open the choice is."""

    stage: str
    entropy: float
    """Bits."""
    choices: float
    """2 to the entropy: as many equally likely tokens are as open."""
    left: int
    """Tokens that have any probability."""


@dataclass(frozen=True)
class Next(View):
    """The step from a prompt to its next token."""

    run: str
    kind: str
    prompt: str
    """As people read it."""
    notes: tuple[str, ...]
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    row: int
    u: float
    """The number in [0, 1) that decides; `generate` takes the same for the first token of this seed and row."""
    drawn: int
    """The id of the token that it falls on."""
    token: str
    spread: tuple[Spread, ...]
    """At T = 1, at T, after the cuts."""
    candidates: tuple[Candidate, ...]
    """(V,) the likeliest first."""
    check: float
    """What the probabilities miss 1 by."""

    @property
    def title(self) -> str:
        """The question, and of whom it is asked."""
        return f"next: what {self.run} ({self.kind}) writes after {self.prompt[-40:]}"

    @property
    def chosen(self) -> Candidate:
        """The token that is drawn."""
        return next(c for c in self.candidates if c.id == self.drawn)

    @property
    def settings(self) -> str:
        """How it is drawn, in words."""
        cuts = [
            f"{name} {value:g}" for name, value in (("top-k", self.top_k), ("top-p", self.top_p)) if value is not None
        ]
        return ", ".join([f"T = {self.temperature:g}", *cuts, f"seed {self.seed}", f"row {self.row}"])

    def __str__(self) -> str:
        return "\n".join([*self.notes, self.settings, *self._ladder(), "", *self._open(), "", *self._draw()])

    def _ladder(self) -> list[str]:
        shown = self.candidates[:SHOWN]
        shown = shown if self.chosen in shown else (*shown, self.chosen)
        divided = f"/ {self.temperature:g}" if self.temperature else ""
        rows = [("token", "logit", "at T = 1", divided, "at T", "cut by", "drawn with", "on the bar", "")]
        for c in shown:
            scaled = "" if c.scaled is None else f"{c.scaled:.3f}"
            bar = f"{c.low:.4f} .. {c.high:.4f}" if c.probability else ""
            stages = f"{c.logit:.3f}", f"{c.before:.4f}", scaled, f"{c.heated:.4f}", c.cut, f"{c.probability:.4f}", bar
            rows.append((c.token, *stages, "<- u" if c.id == self.drawn else ""))
        return [*aligned(rows), f"{len(shown)} of {len(self.candidates):,} tokens; all are in --json"]

    def _open(self) -> list[str]:
        rows = [("how open it is", "entropy (bits)", "effective choices", "tokens left", "")]
        rows += [(s.stage, f"{s.entropy:.3f}", f"{s.choices:.2f}", f"{s.left:,}", "") for s in self.spread]
        return aligned(rows)

    def _draw(self) -> list[str]:
        c = self.chosen
        return [
            f"u = {self.u:.6f} falls on {c.token}, from {c.low:.6f} to {c.high:.6f}; tokens stand in the order of ids",
            f"check: generate draws the same token; probabilities sum to 1 within {self.check:.1e}",
        ]


def next_token(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 1337,
    row: int = 0,
    run: str = "",
) -> Next:
    """The next token after a prompt (None: where `generate` begins unprompted), as sample `row` of `seed` draws it.

    ConfigError for an empty prompt, a row below 0 and settings that sample nothing; TokenizerError for what the model
    has never seen. DisagreementError when `generate` draws another token.
    """
    sampling = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p, max_new_tokens=1, seed=seed)
    if not 0 <= row < 1 << 20:
        raise ConfigError(f"row={row} is no sample's number; the first is 0")
    if prompt == "":
        raise ConfigError("the prompt is empty: give at least one character, or leave it out to see how a text begins")
    names, encoded = labels(tokenizer), encode_prompt(tokenizer, prompt or "")
    if encoded.dropped and tokenizer.unk_id is None:
        raise TokenizerError(f"the model has never seen {', '.join(map(repr, encoded.dropped[:8]))}; change the prompt")
    idx, forbidden = torch.tensor([encoded.ids]), forbidden_tokens(tokenizer)
    logits = logits_after(model, encoded.ids).clone()
    logits[:, forbidden] = float("-inf")
    u = torch.tensor([chances(seed, row).random()], dtype=torch.float64)
    final = probabilities(logits, temperature, top_k, top_p)
    drawn = int(draw(final, u))
    if drawn != int(next(stream_ids(model, idx, sampling, rows=[row], forbidden=forbidden))):
        raise DisagreementError(f"generate does not draw {names[drawn]!r}: the inspection is broken")
    stages = (
        probabilities(logits),
        probabilities(logits, temperature),
        probabilities(logits, temperature, top_k),
        final,
    )
    return Next(
        run=run,
        kind=model.kind,
        prompt=visible(prompt) if prompt else names[encoded.ids[-1]],
        notes=_notes(prompt, encoded, names, model, tokenizer),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        row=row,
        u=float(u),
        drawn=drawn,
        token=names[drawn],
        spread=tuple(
            _spread(name, p[0])
            for name, p in zip(("T = 1", f"T = {temperature:g}", "after the cuts"), (*stages[:2], final), strict=True)
        ),
        candidates=_candidates(logits[0], [stage[0] for stage in stages], temperature, names),
        check=abs(float(final.sum()) - 1),
    )


def _notes(
    prompt: str | None, encoded: Prompt, names: tuple[str, ...], model: LanguageModel, tokenizer: Tokenizer
) -> tuple[str, ...]:
    notes = []
    if prompt is None:
        notes.append(f"no prompt was given: the model is shown {names[encoded.ids[-1]]}, as generate shows it")
    elif tokenizer.eot_id is not None:
        notes.append("end-of-text stands before the prompt, as documents begin")
    if encoded.dropped:
        notes.append(f"read as unknown: {', '.join(map(repr, encoded.dropped[:8]))}")
    if encoded.exceeds(model):
        notes.append(
            f"the prompt has {len(encoded.ids):,} tokens: the model sees only its end, {model.context:,} at most"
        )
    return tuple(notes)


def _spread(stage: str, probs: Tensor) -> Spread:
    """The entropy of probabilities (V,)."""
    some = probs[probs > 0]
    entropy = abs(float((some * some.log2()).sum()))
    return Spread(stage, entropy, 2**entropy, len(some))


def _candidates(
    logits: Tensor, stages: list[Tensor], temperature: float, names: tuple[str, ...]
) -> tuple[Candidate, ...]:
    """Every token (V,) through the stages (V,): at T = 1, at T, after top-k, after top-p."""
    before, heated, after_k, final = stages
    high = final.cumsum(0) / final.sum()
    low = torch.cat([high.new_zeros(1), high[:-1]])
    scaled = [None] * len(names) if temperature == 0 else (logits.double() / temperature).tolist()
    order = sorted(range(len(names)), key=lambda i: (-float(final[i]), -float(before[i]), i))
    columns = [values.tolist() for values in (logits, before, heated, after_k, final, low, high)]
    found = []
    for i in order:
        logit, p, hot, kept, drawn_with, begin, end = (column[i] for column in columns)
        cut = _cut(logit, hot, kept, drawn_with, temperature)
        found.append(Candidate(i, names[i], logit, scaled[i], p, hot, cut, drawn_with, begin, end))
    return tuple(found)


def _cut(logit: float, heated: float, kept: float, final: float, temperature: float) -> str:
    """What took a token's probability."""
    if final:
        return ""
    if math.isinf(logit):
        return "never written"
    if not heated:
        return "T = 0" if temperature == 0 else "underflow"
    return "top-p" if kept else "top-k"
