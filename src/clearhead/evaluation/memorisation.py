"""Does a model copy? What its samples share with the training text, beside what fresh text shares with it."""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from clearhead.config import SamplingConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.overlap import GAP, LENGTHS, Codes, Overlap, codes_of, overlaps
from clearhead.generation.generate import stream_ids
from clearhead.generation.text import encode_prompt, forbidden_tokens
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Ids, Tokenizer, token_bytes

ROWS_AT_ONCE = 64
"""Samples drawn side by side: bounds the cache of a model."""
TOKENS_AT_ONCE = 1 << 18
PARTS = 24
"""Parts of validation text, each as much as the samples, at most: what is chance shows in how they differ."""
PART_TOKENS = 1 << 20
"""Tokens of all parts together, at most; one part is always taken."""

FAR = 2.0
"""Samples copy when at some length they share more than this many times what any part shares, or when their longest
overlap is more than this many times that of any part."""
OFTEN = 0.05
"""The least share of passages that is a sign of copying."""
FEW = 100
"""Fewer passages of a length say nothing: one long name among them would be a large share."""

LEGEND = "novel: the share of passages of that many characters that are nowhere in the training text"


@dataclass(frozen=True)
class Memorisation:
    """Overlap of samples, and of parts of validation text, with all training text: what gradients saw, and dev."""

    corpus: str
    train_characters: int
    samples: Overlap
    val: tuple[Overlap, ...]
    """Parts of validation text, each as long as the samples; () where the text was too short to hold any back."""

    @property
    def telling(self) -> int | None:
        """The length at which the samples go furthest beyond what fresh text shares; None when no length can tell."""
        limits = self._limits()
        return max(limits, key=lambda size: self.samples.shared(size) - limits[size], default=None)

    @property
    def copies(self) -> bool | None:
        """Whether the samples share clearly more than fresh text does; None where that cannot be said."""
        if (size := self.telling) is None:
            return None
        often = self.samples.shared(size) > self._limits()[size]
        return often or self.samples.longest > FAR * max(part.longest for part in self.val)

    @property
    def reading(self) -> str:
        """What the figures say, in one sentence."""
        if not self.val:
            return "no validation text to hold this against: the text is too short to hold any back"
        ends = [pick(part.longest for part in self.val) for pick in (min, max)]
        fresh = " to ".join(f"{end:,}" for end in dict.fromkeys(ends))
        longest = f"longest overlap {self.samples.longest:,} characters, validation text's {fresh}"
        if (size := self.telling) is None:
            return f"too little text, or validation text that itself repeats the training text, to judge by: {longest}"
        if not self.copies:
            more = "no more" if self.samples.longest <= ends[1] else "not clearly more"
            return f"{more} copying than fresh text shows: {longest}"
        most = max(part.shared(size) for part in self.val)
        shares = (
            f"{self.samples.shared(size):.1%} of passages of {size} characters, validation text's {most:.1%} at most"
        )
        return f"warning, the samples copy more than fresh text would: {longest}; {shares}"

    def __str__(self) -> str:
        """A table for a person, with the passages and the reading."""
        title = (
            f"What also stands in the training text of {self.corpus} "
            f"({self.train_characters:,} characters, dev included)"
        )
        rows = [f"{head:<18}" + "".join(f"{cell:>12}" for cell in cells) for head, *cells in _rows(self)]
        quoted = [_quoted("samples", self.samples)]
        if self.val:
            quoted.append(_quoted("validation", max(self.val, key=lambda part: part.longest)))
        parts = f"validation: the middle of {len(self.val)} texts as long as the samples, and of these the most alike"
        return "\n".join([title, *rows, LEGEND, *[parts] * (len(self.val) > 1), *quoted, self.reading])

    def _limits(self) -> dict[int, float]:
        """Length -> the share above which samples copy, for lengths with enough passages and room above it."""
        texts = (self.samples, *self.val)
        enough = [n for n in LENGTHS if self.val and all(text.passages.get(n, 0) >= FEW for text in texts)]
        limits = {n: max(OFTEN, FAR * max(part.shared(n) for part in self.val)) for n in enough}
        return {n: limit for n, limit in limits.items() if limit < 1}


def measure_memorisation(
    model: LanguageModel, tokenizer: Tokenizer, data: TokenDataset, sampling: SamplingConfig
) -> Memorisation:
    """Draw samples from the empty prompt, take as many tokens of validation text, and look for both in training text.

    The training text passes by once; memory depends on the samples. ConfigError for stop texts or empty samples.
    """
    if sampling.stop:
        raise ConfigError(f"stop={sampling.stop} would cut samples that are to be measured whole; leave it out")
    if sampling.max_new_tokens == 0:
        raise ConfigError("max_new_tokens=0 draws nothing that could be measured; try 500")
    reader = _Reader(tokenizer)
    texts = [_draw(model, tokenizer, sampling), *_parts(data.ids("val"), sampling.num_samples, sampling.max_new_tokens)]
    samples, *val = overlaps([reader.joined(text) for text in texts], reader.codes(data.ids("counts")))
    return Memorisation(data.meta.name, data.meta.characters["counts"], samples, tuple(val))


def _draw(model: LanguageModel, tokenizer: Tokenizer, sampling: SamplingConfig) -> Iterator[Ids]:
    """The ids (n,) of each sample. It does not end with a document: one name would be too little to judge by."""
    forbidden = forbidden_tokens(tokenizer)
    prompt = torch.tensor([encode_prompt(tokenizer, "").ids])
    for first in range(0, sampling.num_samples, ROWS_AT_ONCE):
        rows = range(first, min(first + ROWS_AT_ONCE, sampling.num_samples))
        drawn = stream_ids(model, prompt.expand(len(rows), -1), sampling, rows=rows, forbidden=forbidden)
        yield from np.array([tokens.numpy() for tokens in drawn], dtype=np.int64).reshape(-1, len(rows)).T


def _parts(ids: Ids, count: int, size: int) -> list[list[Ids]]:
    """Parts of a text, each of `count` stretches (size,) spread evenly over it; none overlap.

    All of a text that is shorter than one part; no part of no text.
    """
    if len(ids) <= count * size:
        return [[ids]] if len(ids) else []
    parts = max(1, min(PARTS, len(ids) // (count * size), PART_TOKENS // (count * size)))
    starts = np.linspace(0, len(ids) - size, parts * count).astype(int).tolist()
    return [[ids[start : start + size] for start in starts[part::parts]] for part in range(parts)]


class _Reader:
    """Turns ids into code points, in pieces; separators and unknown tokens into gaps."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokens = token_bytes(tokenizer)
        for special in (tokenizer.eot_id, tokenizer.unk_id):
            if special is not None:
                self.tokens[special] = chr(GAP).encode()

    def codes(self, ids: Ids) -> Iterator[Codes]:
        """The text of ids; what is no UTF-8 is a gap too."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for start in range(0, len(ids), TOKENS_AT_ONCE):
            raw = b"".join(map(self.tokens.__getitem__, ids[start : start + TOKENS_AT_ONCE].tolist()))
            yield codes_of(decoder.decode(raw))
        yield codes_of(decoder.decode(b"", final=True))

    def joined(self, texts: Iterable[Ids]) -> Codes:
        """Several texts as one, with gaps between."""
        return np.concatenate([part for ids in texts for part in (*self.codes(ids), codes_of(chr(GAP)))])


def _rows(report: Memorisation) -> list[tuple[str, ...]]:
    """A head and a row for each figure: of the samples, the middle of the parts, the part with most in common."""
    columns: list[tuple[str, Sequence[Overlap], float]] = [("samples", [report.samples], 1.0)]
    if report.val:
        columns.append(("validation", report.val, 0.5))
    if len(report.val) > 1:
        columns.append(("most alike", report.val, 1.0))
    rows = [
        ("", *(name for name, *_ in columns)),
        ("characters", *(f"{median(text.characters for text in texts):,.0f}" for _, texts, _ in columns)),
        ("longest overlap", *(f"{np.quantile([t.longest for t in texts], at):,.0f}" for _, texts, at in columns)),
    ]
    for size in [n for n in LENGTHS if any(n in text.novel for text in (report.samples, *report.val))]:
        shares = [([text.novel[size] for text in texts if size in text.novel], at) for _, texts, at in columns]
        rows.append((f"novel of length {size}", *(f"{np.quantile(n, 1 - at):.1%}" if n else "" for n, at in shares)))
        if all(min(novel, default=1.0) == 1.0 for novel, _ in shares):
            break  # and so are all longer passages
    return rows


def _quoted(name: str, overlap: Overlap) -> str:
    if overlap.offset is None:
        return f"{name}: not one character is shared"
    shown = overlap.passage if overlap.longest <= 100 else overlap.passage[:100] + " ..."
    return f"{name}: {shown!r}, character {overlap.offset:,} of the training text"
