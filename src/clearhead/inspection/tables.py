"""The tables that hold a vector for each token, and who is near whom in them.

Shapes: V tokens, C numbers each, k neighbours, n queries.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError, TokenizerError
from clearhead.inspection.view import HIDDEN, WHITE_SPACE, visible
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.tokenizers.base import UNKNOWN_GLYPH, Tokenizer

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Metric = Literal["cosine", "euclidean"]

NEIGHBOURS = 5
TOO_FEW = 20
"""Occurrences in the training text below which a vector is mostly where it began: too few to tell."""
_CELLS = 1 << 20
"""Similarities held at once: 8 MB stay near the processor, 128 MB take twice as long."""


@dataclass(frozen=True)
class Table:
    """A vector for each token."""

    name: str
    """embedding, head, both (a tied one) or rows (of a bigram)."""
    about: str
    """What its vectors are, in words."""
    vectors: Floats = field(metadata=HIDDEN)
    """(V, C)"""


def inner_gpt(model: LanguageModel) -> GPTLanguageModel | None:
    """The GPT that a model is, or that a mixture holds; None for counted models and tables."""
    inner = model.gpt if isinstance(model, MixtureLanguageModel) else model
    return inner if isinstance(inner, GPTLanguageModel) else None


def tables_of(model: LanguageModel) -> list[Table]:
    """The tables of a model in float64; ConfigError for one that has none.

    A bigram's row is what follows its token, not a learned place among others. Softmax ignores a shift, so its rows
    are centred.
    """
    if isinstance(model, BigramLanguageModel):
        rows = _numbers(model.token_embedding_table.weight)
        about = "logits of the next token, each row less its mean: a look-up table; near are tokens with like followers"
        return [Table("rows", about, rows - rows.mean(1, keepdims=True))]
    gpt = inner_gpt(model)
    if gpt is None:
        raise ConfigError(f"an {model.kind} model counts and has no embeddings; look into a gpt or a bigram")
    embedding, head = _numbers(gpt.token_embedding_table.weight), _numbers(gpt.lm_head.weight)
    if gpt.config.tie_weights:
        return [
            Table("both", "what a token brings, and what the stream must look like to predict it (tied)", embedding)
        ]
    return [
        Table("embedding", "what a token brings into the stream", embedding),
        Table("head", "what the stream must look like to predict it", head),
    ]


def token_counts(data: TokenDataset, vocab_size: int) -> Integers:
    """(V,) how often each token stands in the training text, dev included."""
    ids = data.ids("counts")
    counts = np.zeros(vocab_size, dtype=np.int64)
    for start in range(0, len(ids), _CELLS):
        counts += np.bincount(ids[start : start + _CELLS], minlength=vocab_size)
    return counts


def labels(tokenizer: Tokenizer) -> tuple[str, ...]:
    """(V,) every token as a person reads it, all different: white space as glyphs, " king" as king.

    The space before a word is left out unless the word stands in the vocabulary without it, too. Special tokens, and
    bytes that are no character, have the tokenizer's names.
    """
    texts = [_readable(token, tokenizer) for token in range(tokenizer.vocab_size)]
    there, space = set(texts), WHITE_SPACE[" "]
    bare = [text[1:] if len(text) > 1 and text[0] == space else text for text in texts]
    return tuple(
        short if short == text or short not in there else text for text, short in zip(texts, bare, strict=True)
    )


def find_token(word: str, tokenizer: Tokenizer, counts: Integers) -> int:
    """The id that a person means: the token itself, with glyphs for white space, or the word with its space.

    Of several the most frequent. TokenizerError when there is none.
    """
    written = word
    for space, glyph in WHITE_SPACE.items():
        written = written.replace(glyph, space)
    found = [token for text in (written, f" {written}") if (token := _single(text, tokenizer)) is not None]
    found += [
        token for token in (tokenizer.eot_id, tokenizer.unk_id) if token is not None and _is(word, token, tokenizer)
    ]
    if not found:
        raise TokenizerError(f"{word!r} is no token of this model; name one of its {tokenizer.vocab_size:,}, as shown")
    return max(found, key=lambda token: counts[token])


def similarity(queries: Floats, vectors: Floats, metric: Metric) -> Floats:
    """(n, V) of queries (n, C) to every vector (V, C), the nearest highest: the cosine, or minus the distance.

    A vector of zeros has the cosine 0 with all.
    """
    if metric == "cosine":
        return _unit(queries) @ _unit(vectors).T
    squares = (queries**2).sum(1)[:, None] + (vectors**2).sum(1) - 2 * queries @ vectors.T
    return -np.sqrt(np.maximum(squares, 0.0))


def nearest(vectors: Floats, metric: Metric, k: int = NEIGHBOURS) -> tuple[Integers, Floats]:
    """(V, k) ids of every token's nearest others among all, and how near; fewer columns where there are fewer.

    Equally near ones come in the order of their ids.
    """
    parts = [_best(block, k) for block in _others(vectors, metric)]
    ids, near = zip(*parts, strict=True)
    return np.concatenate(ids), np.concatenate(near)


def kept(original: Integers, drawn: Floats) -> float:
    """The share of each token's neighbours (V, k) that are among its k nearest in a picture (V, d).

    >>> line = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> kept(nearest(line, "euclidean", 1)[0], -line)
    1.0
    """
    pictured, _ = nearest(drawn, "euclidean", original.shape[1])
    same = (original[:, :, None] == pictured[:, None, :]).any(-1)
    return float(same.mean())


def _others(vectors: Floats, metric: Metric) -> Iterator[Floats]:
    """Blocks of rows of the similarity of all to all, each to itself minus infinity."""
    V = len(vectors)
    rows = max(1, _CELLS // V)
    for start in range(0, V, rows):
        block = similarity(vectors[start : start + rows], vectors, metric)
        block[np.arange(len(block)), start + np.arange(len(block))] = -np.inf
        yield block


def _best(scores: Floats, k: int) -> tuple[Integers, Floats]:
    """(n, k) columns of the highest scores (n, V), and these; never the one at minus infinity."""
    k = min(k, scores.shape[1] - 1)
    ids = np.sort(torch.from_numpy(scores).topk(k).indices.numpy(), axis=1)  # numpy's partition takes 30 times as long
    found = np.take_along_axis(scores, ids, 1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1), np.take_along_axis(found, order, 1)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)


def _numbers(weight: Tensor) -> Floats:
    return weight.detach().cpu().double().numpy()


def _readable(token: int, tokenizer: Tokenizer) -> str:
    text = tokenizer.decode([token])
    named = not text or UNKNOWN_GLYPH in text
    return tokenizer.token_text(token) if named else visible(text)


def _single(text: str, tokenizer: Tokenizer) -> int | None:
    """The id of a text that is one known token."""
    try:
        ids = tokenizer.encode(text)
    except TokenizerError:
        return None
    return int(ids[0]) if len(ids) == 1 and int(ids[0]) != tokenizer.unk_id else None


def _is(word: str, token: int, tokenizer: Tokenizer) -> bool:
    return tokenizer.token_text(token) == word
