"""Where is the model surprised, and what is context worth? Bits of every token, beside what counting needs."""

from collections.abc import Iterator
from dataclasses import dataclass

from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.loss import FULL_PRECISION
from clearhead.evaluation.table import aligned
from clearhead.inspection.baselines import count_baselines
from clearhead.inspection.groups import Group, Groups, Place, group, score
from clearhead.inspection.surprisal import LN2, Surprisal, find_text, surprisal
from clearhead.inspection.view import View
from clearhead.inspection.waterfall import Rung, Waterfall, waterfall
from clearhead.models.base import LanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Tokenizer

READ = 1 << 17
"""Tokens of validation text that a GPT reads, about."""
WIDTH = 100
"""Columns of the text with its bits."""
LINES = 8
"""Lines of it that are printed."""
ROWS = 8
"""Groups that are printed, at most."""
NAMED = 6
"""Groups in a line."""
FEW = 20
"""Targets of a group, at least, that is printed."""
CLEAR = 1.0
"""Bits by which a token is clearly won or lost."""
MARKS = f"bits: 0 .. 9 and more, rounded down; n-gram: + the model needs over {CLEAR:g} bit less, - over {CLEAR:g} more"


@dataclass(frozen=True)
class Loss(View):
    """A model's surprise on a text, on validation text by groups, and by how much it sees."""

    run: str
    model: str
    notes: tuple[str, ...]
    text: Surprisal
    groups: Groups
    waterfall: Waterfall

    @property
    def title(self) -> str:
        """What, of which run, on how much."""
        bits = self.groups.bits
        return f"Loss of {self.run}: {bits:.3f} bits per token ({bits * LN2:.3f} nats), where and why"

    def __str__(self) -> str:
        sections = (self._waterfall(), self._text(), self._groups(), self._places())
        return "\n\n".join(["\n".join(self.notes), *map("\n".join, sections)])

    def _waterfall(self) -> list[str]:
        found = self.waterfall
        rows = [("sees", "tokens", "nats", "", "gain", "", "over", ""), *map(_rung_cells, found.rungs)]
        return [
            f"What context is worth: {found.measured_on}, all rungs on the same ones",
            *aligned(rows),
            "nats per token, +- standard errors, of gains over the differences at each token",
            *(["gpt k reads exactly the last k tokens, as a text of their own"] if found.by_length else []),
        ]

    def _text(self) -> list[str]:
        text = self.text
        lines = list(_marked(text, WIDTH))
        left = len(text) - sum(count for _, count in lines[:LINES])
        means = f"{text.bits.mean():.3f} bits a token, bigram {text.bigram.mean():.3f}, n-gram {text.ngram.mean():.3f}"
        return [
            f"A text of {len(text):,} tokens after its first: {means}",
            *(line for block, _ in lines[:LINES] for line in block),
            *([f"... and {left:,} tokens more"] if left else []),
            MARKS,
            text.how,
        ]

    def _groups(self) -> list[str]:
        found = self.groups
        means = f"{found.bits:.3f} bits a token, bigram {found.bigram:.3f}, n-gram {found.ngram:.3f}"
        parts = [f"On {found.measured_on}: {means}"]
        for what, groups in (("by token", found.by_token), ("by the token before", found.by_preceding)):
            usual = [one for one in groups if one.count >= FEW]
            parts += _group_table(f"costliest {what}", usual[:ROWS])
            ahead = sorted(usual, key=lambda one: -one.won)
            for word, chosen in (("beats", ahead), ("loses to", ahead[::-1])):
                sign = 1 if word == "beats" else -1
                best = [one for one in chosen[:NAMED] if sign * one.won > 0]
                said = ", ".join(f"{one.name} {one.ngram - one.bits:+.3f} ({one.won:+,.0f})" for one in best)
                parts.append(f"{word} the n-gram {what}: {said or 'nowhere'}")
        if found.by_position:
            parts += _group_table("tokens read", list(found.by_position))
        return [
            *parts,
            "share: of all bits; saved: bits a token less than the n-gram, +- standard error; in brackets: bits in all",
            "tokens read: how many of its window the model has before the target",
            f"groups of fewer than {FEW} tokens are left out",
            f"check: the groups sum to all bits within {found.sum_error:.1e}",
        ]

    def _places(self) -> list[str]:
        found = self.groups
        kinds = (("most surprised", found.surprises), ("most saved", found.wins), ("most lost", found.losses))
        rows = [("", "position", "bits", "bigram", "n-gram", "text, and the token that came")]
        rows += [_place_cells(kind, place) for kind, places in kinds for place in places]
        return ["Single tokens; saved and lost beside the n-gram", *aligned(rows)]


def loss(
    model: LanguageModel,
    tokenizer: Tokenizer,
    data: TokenDataset,
    text: str | None = None,
    *,
    mixture: MixtureLanguageModel | None = None,
    run: str = "the run",
    runtime: Runtime = FULL_PRECISION,
    read: int = READ,
) -> Loss:
    """The bits of every token of a text (by default where the validation text begins), and of the validation text.

    `mixture` is the GPT's with an n-gram, where there is one: the end of the waterfall. `read`: tokens
    of validation text that a GPT reads for the waterfall, and half as many for the groups. ConfigError for a text
    without two tokens, TokenizerError for characters that the model has never seen.
    """
    baselines = count_baselines(data, tokenizer, model, mixture)
    passage = find_text(text, model, tokenizer, data, baselines.ngram)
    parts = ("its waterfall is the GPT's, then the mixture's",) * (model is mixture)
    return Loss(
        run=run,
        model=model.kind,
        notes=(*parts, *baselines.notes, *passage.notes),
        text=surprisal(model, passage, baselines),
        groups=group(score(model, data, baselines, read // 2, runtime), passage.names, model.block_size),
        waterfall=waterfall(model, mixture, data, baselines, passage.names, read),
    )


def _rung_cells(rung: Rung) -> tuple[str, ...]:
    gain = ("", "") if rung.gain is None else (f"{rung.gain:+.4f}", f"+- {rung.gain_error:.4f}")
    error = f"+- {rung.error:.3f}" if rung.error else ""
    gained = f"most on {', '.join(rung.gained)}" if rung.gained else ""
    return rung.name, f"{rung.context:,}", f"{rung.nats:.4f}", error, *gain, rung.over or "", gained


def _group_table(title: str, groups: list[Group]) -> list[str]:
    rows = [(title, "count", "share", "bits", "bigram", "n-gram", "saved", "")]
    rows += [
        (
            one.name,
            f"{one.count:,}",
            f"{one.share:.1%}",
            f"{one.bits:.3f}",
            f"{one.bigram:.3f}",
            f"{one.ngram:.3f}",
            f"{one.ngram - one.bits:+.3f}",
            f"+- {one.error:.3f}",
        )
        for one in groups
    ]
    return aligned(rows)


def _place_cells(kind: str, place: Place) -> tuple[str, ...]:
    figures = (f"{value:.2f}" for value in (place.bits, place.bigram, place.ngram))
    return kind, f"{place.position:,}", *figures, f"{place.context} -> {place.token}"


def _marked(text: Surprisal, width: int) -> Iterator[tuple[list[str], int]]:
    """Lines of tokens, their bits and how they fare beside the n-gram, in columns; and how many tokens they hold."""
    gap = "" if all(len(token) == 1 for token in text.tokens) else " "
    rows: list[list[str]] = [[], [], []]
    used = 0
    for token, bits, saved in zip(text.tokens, text.bits.tolist(), text.saved["n-gram"].tolist(), strict=True):
        cells = (token, f"{min(9, int(bits))}", "+" if saved > CLEAR else "-" if saved < -CLEAR else " ")
        if rows[0] and used + len(token) + len(gap) > width:
            yield _three(rows, gap), len(rows[0])
            rows, used = [[], [], []], 0
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell.ljust(len(token)))
        used += len(token) + len(gap)
    yield _three(rows, gap), len(rows[0])


def _three(rows: list[list[str]], gap: str) -> list[str]:
    return [f"{name:<7}{gap.join(row)}".rstrip() for name, row in zip(("text", "bits", "n-gram"), rows, strict=True)]
