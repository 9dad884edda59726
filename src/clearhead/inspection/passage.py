"""A text as a model reads it: its tokens, as many as the model takes in, and what a person must be told of that."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError, TokenizerError
from clearhead.evaluation.ladder import score_split
from clearhead.inspection.tables import inner_gpt, labels
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.tokenizers.base import Tokenizer

WITHOUT = {
    "bigram": "a bigram has no {what}: it is one table, read row by row; see clearhead inspect bigram",
    "ngram": "an n-gram has no {what}: it counts; look into a gpt or a mixture",
}
"""Model kind -> why a view of a GPT's parts has nothing to show of it."""
A_FEW = 64
"""Tokens of the text that stands in where none is given, for a model that takes any number."""


@dataclass(frozen=True)
class Passage:
    """T tokens in a row."""

    idx: Tensor
    """(1, T) int64, on the CPU."""
    tokens: tuple[str, ...]
    """(T,) as people read them: white space as glyphs."""
    names: tuple[str, ...]
    """(V,) all tokens of the vocabulary in that way."""
    notes: tuple[str, ...]
    """What was cut off, put before or hidden."""

    def __len__(self) -> int:
        return len(self.tokens)

    def place(self, position: int) -> int:
        """A position from the beginning, or from the end if negative, as 0 .. T - 1; ConfigError outside."""
        if not -len(self) <= position < len(self):
            raise ConfigError(
                f"there is no position {position}; positions are 0 .. {len(self) - 1}, or -1 for the last"
            )
        return position % len(self)


def read_passage(text: str, model: LanguageModel, tokenizer: Tokenizer) -> Passage:
    """The tokens of a text, the last `block_size` of them; end-of-text first where documents begin so.

    ConfigError for an empty text, TokenizerError for what the model has never seen.
    """
    if not text:
        raise ConfigError("the text is empty: there is nothing to look at; give at least one character")
    ids = tokenizer.encode(text).astype(np.int64)
    hidden = int((ids == tokenizer.unk_id).sum()) if tokenizer.unk_id is not None else 0
    notes = [f"{hidden} of {len(ids)} tokens are unknown to the model"] * bool(hidden)
    if tokenizer.eot_id is not None:
        ids = np.concatenate([[tokenizer.eot_id], ids])
        notes.append("end-of-text stands before the text, as documents begin")
    most = model.block_size
    if most is not None and len(ids) > most:
        notes.append(f"the text has {len(ids):,} tokens, the model takes in {most:,}: these are the last {most:,}")
        ids = ids[-most:]
    names = labels(tokenizer)
    return Passage(torch.from_numpy(ids)[None], tuple(names[i] for i in ids.tolist()), names, tuple(notes))


def find_passage(text: str | None, model: LanguageModel, tokenizer: Tokenizer, data: TokenDataset | None) -> Passage:
    """The text that is asked for; unasked the beginning of the run's own. ConfigError where neither is at hand."""
    if text is not None:
        return read_passage(text, model, tokenizer)
    if data is None:
        raise ConfigError("no text to look at: the run's own is not at hand; give one")
    return _own_passage(model, tokenizer, data)


def _own_passage(model: LanguageModel, tokenizer: Tokenizer, data: TokenDataset) -> Passage:
    """The beginning of the validation text; of the training text where there is none."""
    split = score_split(data)
    ids = np.asarray(data.ids(split)[: model.block_size or A_FEW], dtype=np.int64)
    names = labels(tokenizer)
    said = "validation" if split == "val" else "training"
    tokens = tuple(names[i] for i in ids.tolist())
    note = f"no text was given: this is where the {said} text begins"
    return Passage(torch.from_numpy(ids)[None], tokens, names, (note,))


def gpt_of(model: LanguageModel, what: str) -> tuple[GPTLanguageModel, tuple[str, ...]]:
    """The GPT that a model is or holds, and a note where it holds one; ConfigError: the model has no `what`."""
    gpt = inner_gpt(model)
    if gpt is None:
        raise ConfigError(WITHOUT.get(model.kind, "a {kind} model has no {what}").format(kind=model.kind, what=what))
    return gpt, () if gpt is model else (f"the GPT of the {model.kind}; its n-gram counts and has no {what}",)


def token_id(word: str, tokenizer: Tokenizer) -> int:
    """The id of one token, written as it stands in a text or as views show it; TokenizerError when it is none."""
    names = labels(tokenizer)
    try:
        ids = tokenizer.encode(word).tolist()
    except TokenizerError:
        ids = []
    if len(ids) == 1 and ids[0] != tokenizer.unk_id:
        return ids[0]
    if word in names:
        return names.index(word)
    raise TokenizerError(f"{word!r} is not one token of this model; name one of its {len(names):,}, as views show them")
