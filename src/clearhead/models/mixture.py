"""The mixture: the probabilities of a counted n-gram and of a GPT, averaged by what is known at each position.

Shapes: B rows, T positions, V vocabulary, n = B T.
"""

import math
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.errors import ConfigError
from clearhead.models.base import Cache, HistoryCache, LanguageModel, Output, check_tensors, cross_entropy
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.ngram import Contexts, NgramLanguageModel

CLUES = 5
"""What the weight of a position is made of, see `clues`."""


def clues(counted: Tensor, neural: Tensor, seen: Tensor, read: Tensor) -> Tensor:
    """What says which part to trust, before the next token is known: (..., CLUES).

    From the log-probabilities (..., V) of the n-gram and of the GPT, how often the n-gram's longest known context
    was seen (...) and how many tokens the GPT has read before the current one (...). The logarithm of 1 plus: tokens
    read, times seen, the entropy of either part in nats, and the n-gram's divergence from the GPT: how much more than
    the GPT it would lose on average if the GPT were right. The length matched, the number of followers, the largest
    probabilities and other measures of agreement, all tried beside these, took off less than 0.002 nats per token.

    >>> certain, even = torch.tensor([0.9999, 0.0001]).log(), torch.tensor([0.5, 0.5]).log()
    >>> known = clues(even, certain, seen=torch.tensor(3), read=torch.tensor(0))
    >>> [round(fact, 2) for fact in known.expm1().tolist()]
    [0.0, 3.0, 0.69, 0.0, 0.69]
    """
    p, q = counted.exp(), neural.exp()
    divergence = (q * (neural - counted)).sum(-1).clamp(min=0)  # rounding may leave less than none
    facts = read, seen, -(p * counted).sum(-1), -(q * neural).sum(-1), divergence
    return torch.stack(torch.broadcast_tensors(*(fact.to(neural) for fact in facts)), dim=-1).log1p()


def log_odds(gate: Tensor, known: Tensor) -> Tensor:
    """log(a / (1 - a)) (...) of the n-gram's weight a, by a gate (1 + CLUES,) and what is known, clues (..., CLUES)."""
    return gate[0] + (known * gate[1:]).sum(-1)  # no matrix product: autocast would round it


def mixed(counted: Tensor, neural: Tensor, odds: Tensor) -> Tensor:
    """The log of a p_ngram + (1 - a) p_gpt (...), from log-probabilities (...) and the log odds of a, broadcast."""
    return torch.logaddexp(F.logsigmoid(odds) + counted, F.logsigmoid(-odds) + neural)


class Opinions(NamedTuple):
    """What the parts of a mixture say at (B, T) positions."""

    counted: Tensor
    """(B, T, V) log-probabilities of the n-gram."""
    neural: Tensor
    """(B, T, V) log-probabilities of the GPT."""
    known: Tensor
    """(B, T, CLUES)."""


class MixtureCache(Cache):
    """The GPT's keys and values, and the n-gram's history, which reaches back beyond the GPT's window."""

    def __init__(self, keys: Cache, history: HistoryCache) -> None:
        self.keys, self.history = keys, history
        self.lengths = keys.lengths  # the same tensor: a row is as long as the window that the GPT has read

    def rows(self, index: slice) -> "MixtureCache":
        """A view of some rows; what is written through it is written here."""
        return MixtureCache(self.keys.rows(index), self.history.rows(index))

    def reset(self) -> None:
        """Forget everything, what preceded the window too."""
        self.keys.reset()
        self.history.reset()

    def copy_row(self, source: int, target: int) -> None:
        """Let the row `target` know what the row `source` knows."""
        self.keys.copy_row(source, target)
        self.history.copy_row(source, target)

    def precede(self, idx: Tensor) -> None:
        """Tell the n-gram of the tokens idx (B, T) before the window."""
        self.history.precede(idx)


class MixtureLanguageModel(LanguageModel):
    """p(w) = a p_ngram(w) + (1 - a) p_gpt(w), linear interpolation (Jelinek & Mercer 1980).

    The weight a of a position is a logistic function of its `clues`: a mixture of two experts with a gate (Jordan &
    Jacobs 1994). `gate` holds the log odds where all clues are 0, then what each clue adds; one number instead is one
    weight for all positions. ConfigError when the vocabularies differ, when the gate has another shape or is not
    finite, or when one weight leaves 0 .. 1.
    """

    kind: ClassVar[str] = "mixture"
    gate: Tensor
    """(1 + CLUES,)"""

    def __init__(self, ngram: NgramLanguageModel, gpt: GPTLanguageModel, gate: Tensor | float) -> None:
        super().__init__()
        if ngram.vocab_size != gpt.vocab_size:
            raise ConfigError(
                f"an n-gram of {ngram.vocab_size} tokens and a GPT of {gpt.vocab_size} cannot be mixed; "
                "fit both with the same tokenizer"
            )
        self.ngram, self.gpt = ngram, gpt
        self.vocab_size, self.block_size = gpt.vocab_size, gpt.block_size
        self.context, self.lookback = max(ngram.context, gpt.context), ngram.context
        checked = _checked(gate) if isinstance(gate, Tensor) else _constant(gate)
        self.register_buffer("gate", checked.to(gpt.device, torch.float32, copy=True))

    def forward(self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None) -> Output:
        """Log-probabilities (B, T, V) after each of idx (B, T), and the loss; ConfigError when T exceeds block_size.

        Without a cache nothing precedes idx. With one, the n-gram sees what the cache was told by `precede`, too.
        """
        assert cache is None or isinstance(cache, MixtureCache), "a cache comes from this model's new_cache"
        keys, history = (None, None) if cache is None else (cache.keys, cache.history)
        read = torch.arange(idx.shape[1])  # (T,)
        if keys is not None:
            read = keys.lengths[:, None] + read  # (B, T), before the GPT moves the lengths
        said = self.opinions(self.ngram.look_up(idx.cpu(), history), self.gpt(idx, cache=keys).logits, read)
        logits = mixed(said.counted, said.neural, log_odds(self.gate, said.known)[..., None])  # (B, T, V)
        return Output(logits, None if targets is None else cross_entropy(logits, targets))

    def opinions(self, contexts: Contexts, logits: Tensor, read: Tensor) -> Opinions:
        """What both parts say, from the n-gram's contexts (n = B T), the GPT's logits (B, T, V), and how many tokens
        the GPT had read before each position: (T,) or (B, T)."""
        neural = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        counted = self.ngram.log_probabilities(contexts).view(neural.shape).to(neural)
        seen = torch.from_numpy(self.ngram.times_seen(contexts)).view(neural.shape[:-1])
        return Opinions(counted, neural, clues(counted, neural, seen, read))

    def new_cache(self, slots: int) -> MixtureCache:
        """An empty cache for `slots` rows."""
        return MixtureCache(self.gpt.new_cache(slots), self.ngram.new_cache(slots))

    def to_config(self) -> dict[str, Any]:
        """What describes both parts."""
        return {"ngram": self.ngram.to_config(), "gpt": self.gpt.to_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A mixture of that shape, half and half, of parts that know no text."""
        ngram, gpt = NgramLanguageModel.from_config(config["ngram"]), GPTLanguageModel.from_config(config["gpt"])
        return cls(ngram, gpt, 0.5)

    @classmethod
    def restore(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """The mixture with the tables and weights of a checkpoint; CheckpointError names what does not fit."""
        parts: dict[str, dict[str, Tensor]] = {"ngram": {}, "gpt": {}, "": {}}
        for name, tensor in tensors.items():
            part = name.partition(".")[0]
            parts[part if part in parts else ""][name.removeprefix(f"{part}.")] = tensor
        check_tensors(
            {"gate": torch.zeros(1 + CLUES)}, {name: odds.nan_to_num(nan=math.nan) for name, odds in parts[""].items()}
        )
        ngram = NgramLanguageModel.restore(config["ngram"], parts["ngram"])
        model = cls(ngram, GPTLanguageModel.restore(config["gpt"], parts["gpt"]), 0.5)
        model.gate.copy_(tensors["gate"])
        return model

    def num_parameters(self) -> int:
        """Those of both parts: n-grams counted and weights trained."""
        return self.ngram.num_parameters() + self.gpt.num_parameters()


def _constant(weight: float) -> Tensor:
    """The gate that gives the n-gram one weight everywhere; of 0 or 1 the odds are infinite, and one part is alone."""
    if not 0 <= weight <= 1:
        raise ConfigError(f"a weight of {weight:g} mixes no probabilities; it must be within 0 .. 1")
    gate = torch.zeros(1 + CLUES)
    gate[0] = torch.logit(torch.tensor(weight, dtype=torch.float64))
    return gate


def _checked(gate: Tensor) -> Tensor:
    """A gate that fits the clues."""
    if gate.shape != (1 + CLUES,):
        raise ConfigError(
            f"a gate of shape {tuple(gate.shape)} does not fit {CLUES} clues; it needs {1 + CLUES} numbers"
        )
    if not bool(gate.isfinite().all()):
        raise ConfigError("a gate with numbers that are not finite mixes no probabilities; fit it again")
    return gate
