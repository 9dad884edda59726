"""A text as a run sees it: what every token of it costs, and what the run would say next."""

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from clearhead.errors import ConfigError, CorpusError

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.models.base import LanguageModel

MOST = 8_192
"""Tokens that are scored at once."""
TOP = 5
"""Of the likeliest tokens so many are told."""
KEPT = 4
"""Counted tables in memory."""


class Scoring:
    """The counted bigrams that texts are held against; the last few are kept."""

    def __init__(self) -> None:
        self._counted: OrderedDict[Hashable, LanguageModel | None] = OrderedDict()

    def bigram(self, run: "Run") -> "LanguageModel | None":
        """The bigram of the ladder on a run's text; None where that is gone, or has too many tokens for a table."""
        import torch

        from clearhead.evaluation.ladder import LARGEST_TABLE, fit_bigram

        key = (run.path, run.directory.corpus_file.stat().st_mtime_ns)
        if key not in self._counted:
            try:
                with torch.random.fork_rng(devices=[]):  # a fresh table draws numbers before it is set
                    small = run.tokenizer.vocab_size <= LARGEST_TABLE
                    self._counted[key] = fit_bigram(run.data, run.tokenizer)[0] if small else None
            except CorpusError:
                return None
            while len(self._counted) > KEPT:
                self._counted.popitem(last=False)
        return self._counted[key]


def score(run: "Run", text: str, counted: "LanguageModel | None") -> dict[str, Any]:
    """Bits of every token of a text, beside the counted bigram's, and what the model held likeliest there.

    Each token is seen as the run sees it when it draws there. The bits of a first token are null where nothing stands
    before it, all of the bigram's where there is none.
    """
    import numpy as np

    from clearhead.generation.scoring import score_windows
    from clearhead.inspection.baselines import stream_losses
    from clearhead.serving.writing import Vocabulary

    ids, hidden = _encode(run, text)
    names = Vocabulary(run.tokenizer).names
    tokens: list[dict[str, Any]] = [{"text": names[ids[0]], "bits": None, "bigram_bits": None, "top": []}]
    for position, said in score_windows(run.model, ids):
        shares, likeliest = said.exp().topk(min(TOP, said.shape[1]))
        for row, token in enumerate(ids[position : position + len(said)]):
            top = [[names[i], p] for i, p in zip(likeliest[row].tolist(), shares[row].tolist(), strict=True)]
            tokens.append({"text": names[token], "bits": -float(said[row, token]) / math.log(2), "top": top})
    nats = [None] * (len(ids) - 1) if counted is None else stream_losses(counted, np.asarray(ids)).tolist()
    for token, loss in zip(tokens[1:], nats, strict=True):
        token["bigram_bits"] = None if loss is None else loss / math.log(2)
    return {"tokens": tokens[hidden:], "step": run.step}


def logits(run: "Run", text: str, seed: int | None = None) -> dict[str, Any]:
    """The logits of the token after a text, over the whole vocabulary; null for one that is never written.

    Without a text those with which `generate` begins. Pieces that the model has never seen are left out, as there.
    `u` is the number in [0, 1) that decides the first token which `generate` draws with the seed; null without one.
    """
    from clearhead.generation.sampling import chances
    from clearhead.generation.text import encode_prompt, forbidden_tokens
    from clearhead.inspection.next import logits_after
    from clearhead.serving.writing import Vocabulary

    prompt = encode_prompt(run.tokenizer, text)
    values = logits_after(run.model, prompt.ids)[0].tolist()
    for token in forbidden_tokens(run.tokenizer):
        values[token] = None
    return {
        "tokens": Vocabulary(run.tokenizer).names,
        "logits": values,
        "u": None if seed is None else chances(seed, 0).random(),
        "context": len(prompt.ids),
        "dropped": prompt.dropped,
        "step": run.step,
    }


def _encode(run: "Run", text: str) -> tuple[list[int], int]:
    """The ids of a text, end-of-text first where documents begin so, and how many of them are not the text's."""
    if not text:
        raise ConfigError("the text is empty: there is nothing to score; give at least one character")
    ids, eot = run.tokenizer.encode(text).tolist(), run.tokenizer.eot_id
    if len(ids) > MOST:
        raise ConfigError(f"the text has {len(ids):,} tokens; at most {MOST:,} are scored at once")
    return (ids, 0) if eot is None else ([eot, *ids], 1)
