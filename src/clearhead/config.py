"""Every knob and its default, in one file without torch.

A run's effective configuration is one `RunConfig`: sections of frozen dataclasses, written to and read from TOML.
A preset is a set of defaults; a configuration file changes some of them, a flag on the command line wins.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import tomli_w

from clearhead.errors import ConfigError, did_you_mean
from clearhead.fields import LARGEST, between, check_literals, positive, update, without_none

VAL_FRACTION = 0.1
"""The share of a text, or of its documents, that is only ever validated on."""
DEV_FRACTION = 0.02
"""The share of the training text that decides (order of the n-gram, patience, best) and is not trained on."""
MOST_VAL_CHARACTERS, MOST_DEV_CHARACTERS = 10_000_000, 2_000_000
"""Of a very large text no more is held back: it would not judge better, and be read for hours."""
MIN_SPLIT_CHARACTERS = 50
"""A validation or dev split shorter than this says nothing; the text is then not split."""
BPE_VOCAB_SIZE = 4_096
"""Ids of `--tokenizer bpe` unless told otherwise."""
SHARD_TOKENS = 1 << 25
"""Tokens of a shard of a prepared folder, about."""
UNKNOWN_BITS = 21
"""What hiding one character behind an unknown token costs: log2 of Unicode's 1.1 million code points."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How a text is read."""

    lines: bool = False
    """Every line is a document of its own (a list of names, of sentences)."""
    text_field: str = "text"
    """The field that holds the text in JSON Lines files."""
    errors: Literal["strict", "replace"] = "strict"
    """Bytes that are not UTF-8: stop and name the offset, or put U+FFFD in their place."""

    def __post_init__(self) -> None:
        check_literals(self)


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """How text becomes ids."""

    tokenizer: str = "char"
    """char, word, byte or bpe, or the path of a tokenizer.json: of a run, or a byte-level BPE such as GPT-2's."""
    vocab_size: int | None = None
    """word: keep this many of the most frequent words, the rest are unknown (default: keep all). bpe: learn this many
    tokens (default: 4096)."""
    lowercase: bool = False
    """word: read the text in lower case."""
    unk: bool = False
    """Keep an id for the unknown even when training and validation text need none."""

    def __post_init__(self) -> None:
        if self.vocab_size is not None:
            positive(self, "vocab_size")
        for name in ("vocab_size", "lowercase"):
            if getattr(self, name) and self.tokenizer == "char":
                raise ConfigError(f"{name} has no meaning for --tokenizer char; add --tokenizer word")
        if self.tokenizer == "byte" and (self.vocab_size or self.lowercase or self.unk):
            raise ConfigError("--tokenizer byte knows all 256 bytes: vocab_size, lowercase and unk do not apply")
        if self.tokenizer == "bpe" and (self.lowercase or self.unk):
            raise ConfigError("--tokenizer bpe says every text as it is: lowercase and unk do not apply")
        if self.from_file and (self.vocab_size or self.lowercase or self.unk):
            raise ConfigError("a tokenizer from a file is as it is: vocab_size, lowercase and unk do not apply")

    @property
    def from_file(self) -> bool:
        """Whether `tokenizer` is a path: it ends with .json, as no name does."""
        return self.tokenizer.endswith(".json")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a GPT; the defaults are those of the preset `modern`."""

    n_embd: int = 128
    """Width: the length of a token's vector."""
    n_head: int = 4
    """Attention heads per layer; n_embd is divided among them."""
    n_layer: int = 4
    """Blocks."""
    positions: Literal["learned", "rope", "none"] = "rope"
    """How a token knows where it stands."""
    norm: Literal["layernorm", "rmsnorm", "none"] = "rmsnorm"
    """Normalisation before attention, before the feed-forward and before the head."""
    norm_eps: float = 1e-6
    """Added to the variance before its root."""
    activation: Literal["relu", "gelu", "gelu_tanh", "swiglu", "relu2"] = "swiglu"
    """Non-linearity of the feed-forward."""
    ffn_width: int | None = None
    """Hidden width of the feed-forward (default: 4 n_embd; swiglu 8/3 n_embd to a multiple of 8)."""
    qkv_bias: bool = False
    """Biases in the query, key and value projections."""
    bias: bool = False
    """Biases in the other projections and in LayerNorm."""
    head_bias: bool = False
    """A bias in lm_head."""
    qk_norm: bool = True
    """RMSNorm of queries and keys per head, before the rotation."""
    rope_theta: float = 10_000.0
    """Base of the rotary wavelengths."""
    tie_weights: bool = False
    """lm_head shares the token embedding's weights."""
    scale_embedding: bool = False
    """Multiply token embeddings by sqrt(n_embd)."""
    without: Literal["none", "scale", "mask", "residual", "feed_forward"] = "none"
    """A part that is left out, to see what it is worth: the scale 1/sqrt(head size), the mask (the loss is then no
    prediction: every token sees those that it is to predict), the residual connections, the feed-forward."""

    def __post_init__(self) -> None:
        check_literals(self)
        positive(self, "n_embd", "n_head", "n_layer")
        for name, most in (("n_embd", 65_536), ("n_layer", 1_024)):
            between(self, name, 1, most)
        if self.ffn_width is not None:
            between(self, "ffn_width", 1, 1 << 20)
        if self.n_embd % self.n_head:
            below = self.n_embd // self.n_head * self.n_head
            near = " or ".join(str(n) for n in (below, below + self.n_head) if n)
            raise ConfigError(f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}; try {near}")
        if self.positions == "rope" and self.head_size % 2:
            raise ConfigError(
                f"rope turns pairs, but the head size n_embd/n_head={self.head_size} is odd; "
                f"try n_embd={self.n_embd + self.n_head}"
            )
        between(self, "norm_eps", 0.0, 1.0)
        between(self, "rope_theta", 1.0, 1e12)

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.n_embd // self.n_head

    @property
    def feed_forward_width(self) -> int:
        """Hidden width of the feed-forward, the default filled in.

        >>> Architecture(n_embd=128).feed_forward_width, Architecture(activation="relu").feed_forward_width
        (344, 512)
        """
        if self.ffn_width is not None:
            return self.ffn_width
        return round(8 * self.n_embd / 3 / 8) * 8 if self.activation == "swiglu" else 4 * self.n_embd


@dataclass(frozen=True, kw_only=True)
class GPTConfig(Architecture):
    """All that `GPTLanguageModel` needs: an architecture with its vocabulary and context."""

    vocab_size: int
    """Number of tokens."""
    block_size: int = 64
    """The longest context, in tokens."""
    dropout: float = 0.0
    """Share of activations zeroed in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "vocab_size")
        between(self, "block_size", 1, 1 << 20)
        between(self, "dropout", 0.0, 0.95)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained, in the lecture's words."""

    batch_size: int = 12
    """Windows per step, over all ranks and micro-batches."""
    block_size: int = 64
    """Context in tokens."""
    max_iters: int = 2_000
    """Steps."""
    eval_interval: int = 250
    """Steps between evaluations."""
    eval_iters: int = 20
    """Batches per split in an evaluation."""
    optimizer: str = "adamw"
    """adamw, or muon: Muon for the matrices of the blocks, AdamW for the rest."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW, reached after the warm-up."""
    min_lr: float = 1e-4
    """Rate at the last step."""
    muon_learning_rate: float = 0.02
    """Peak rate of Muon; it falls by the same share as AdamW's."""
    warmup_iters: int = 100
    """Steps of linear warm-up."""
    decay: Literal["cosine", "linear"] = "cosine"
    """How the rate falls."""
    decay_iters: int | None = None
    """Steps, the last ones, over which the rate falls; before them it stays at its peak (default: all after the
    warm-up)."""
    dev_iters: int = 0
    """Steps, the last ones, in which half of every batch is from dev, when dev has decided all that it decides."""
    weight_decay: float = 0.1
    """Decay of the weights, on matrices only."""
    beta1: float = 0.9
    """AdamW: memory of the gradient."""
    beta2: float = 0.99
    """AdamW: memory of its square."""
    grad_clip: float = 1.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    dropout: float = 0.0
    """Share of activations zeroed in training."""
    accumulation: int = 1
    """Micro-batches per step: batch_size is divided by it, the result is the same."""
    patience: int = 0
    """Stop after this many evaluations without a better dev loss; 0 never stops early."""
    save_interval: int = 500
    """Steps between checkpoints."""
    save_minutes: float | None = None
    """Save also when this many minutes have passed since the last save (default: by steps only)."""
    keep: int = 2
    """Checkpoints kept, besides the best; at least 2."""
    seed: int = 1337
    """Of initialisation, batches and dropout."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu), or a torch device such as cuda:1."""
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """Of the forward and backward pass; auto is bfloat16 where the hardware multiplies in it, else float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto compiles on a GPU in runs long enough to earn its warm-up back."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes train together: ddp, every one holds the whole model; fsdp, each holds a part of it."""

    def __post_init__(self) -> None:
        check_literals(self)
        positive(self, "batch_size", "block_size", "max_iters", "eval_interval", "eval_iters")
        positive(self, "accumulation", "save_interval")
        between(self, "keep", 2, 1 << 20)
        if self.save_minutes is not None:
            between(self, "save_minutes", 0.01, 1e6)
        if self.decay_iters is not None:
            positive(self, "decay_iters")
        for name in ("warmup_iters", "dev_iters", "patience", "seed"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"{name}={value} must not be negative")
            between(self, name, 0, LARGEST)
        between(self, "block_size", 1, 1 << 20)
        between(self, "batch_size", 1, 1 << 20)
        for name, low, high in (
            ("learning_rate", 0.0, 100.0),
            ("min_lr", 0.0, 100.0),
            ("muon_learning_rate", 0.0, 100.0),
            ("weight_decay", 0.0, 10.0),
            ("beta1", 0.0, 0.9999),
            ("beta2", 0.0, 0.99999),
            ("grad_clip", 0.0, 1e9),
            ("dropout", 0.0, 0.95),
        ):
            between(self, name, low, high)
        if self.batch_size % self.accumulation:
            near = -(-self.batch_size // self.accumulation) * self.accumulation
            raise ConfigError(
                f"batch_size={self.batch_size} is not divisible by accumulation={self.accumulation}; "
                f"try --batch_size {near}"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run. `architecture` speaks of `--model gpt` and `mixture`, `order` of `ngram` and `mixture`."""

    model: str = "gpt"
    """gpt, mixture (the GPT with the n-gram), bigram or ngram."""
    preset: str = "modern"
    """Defaults for the GPT: lecture, gpt2 or modern."""
    init: str | None = None
    """Initialisation by name (default: the preset's)."""
    order: int | None = None
    """ngram, mixture: tokens per n-gram (default: chosen on dev)."""
    data: DataConfig = field(default_factory=DataConfig)
    """How the text is read."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """How it becomes ids."""
    architecture: Architecture = field(default_factory=Architecture)
    """The shape of a GPT."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How it is trained."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"unknown preset '{self.preset}': {did_you_mean(self.preset, PRESETS)}")
        if self.order is not None:
            between(self, "order", 1, 32)
        if self.model in ("bigram", "ngram") and self.train.parallel == "fsdp":
            raise ConfigError(f"parallel=fsdp divides layers, and a model={self.model} has none; leave it out")
        if self.model == "mixture" and self.architecture.without == "mask":
            raise ConfigError("model=mixture weighs predictions, and without=mask makes none; try --model gpt")

    @classmethod
    def from_preset(cls, preset: str, model: str = "gpt") -> Self:
        """The defaults of a preset and a model; ConfigError when there is no preset of that name."""
        if preset not in PRESETS:
            raise ConfigError(f"unknown preset '{preset}': {did_you_mean(preset, PRESETS)}")
        return cls(
            preset=preset,
            model=model,
            architecture=Architecture(**PRESETS[preset]),
            train=TrainConfig(**MODEL_TRAIN.get(model, PRESET_TRAIN.get(preset, {}))),
        )

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """A copy with flat settings put in, by the flags' names: max_iters, n_layer, tokenizer, lines, ..."""
        sections = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        home = {
            f.name: section
            for section, value in sections.items()
            if dataclasses.is_dataclass(value)
            for f in dataclasses.fields(value)
        }
        own = [name for name, value in sections.items() if not dataclasses.is_dataclass(value)]
        values: dict[str, Any] = {}
        for name, value in settings.items():
            if name in home:
                values.setdefault(home[name], {})[name] = value
            elif name in own:
                values[name] = value
            else:
                raise ConfigError(f"unknown setting '{name}': {did_you_mean(name, [*home, *own])}")
        return self.updated(values)

    @property
    def trained(self) -> str:
        """The model that gradients train: of a mixture the GPT."""
        return "gpt" if self.model == "mixture" else self.model

    def gpt(self, vocab_size: int) -> GPTConfig:
        """The GPT of this run over a vocabulary."""
        return GPTConfig(
            **dataclasses.asdict(self.architecture),
            vocab_size=vocab_size,
            block_size=self.train.block_size,
            dropout=self.train.dropout,
        )

    def to_toml(self) -> str:
        """The configuration as TOML, every value explicit (None is left out: TOML has no null)."""
        return tomli_w.dumps(without_none(dataclasses.asdict(self)))

    def updated(self, values: Mapping[str, Any]) -> Self:
        """A copy with the values of a nested mapping (a TOML document) put in; unknown names are refused."""
        return update(self, values)


PRESETS: dict[str, dict[str, Any]] = {
    "lecture": {
        "positions": "learned",
        "norm": "layernorm",
        "norm_eps": 1e-5,
        "activation": "relu",
        "bias": True,
        "head_bias": True,
        "qk_norm": False,
    },
    "gpt2": {
        "positions": "learned",
        "norm": "layernorm",
        "norm_eps": 1e-5,
        "activation": "gelu",
        "qkv_bias": True,
        "bias": True,
        "qk_norm": False,
        "tie_weights": True,
    },
    "modern": {},
}
"""What each preset changes in `Architecture`."""

PRESET_TRAIN: dict[str, dict[str, Any]] = {
    "modern": {
        "optimizer": "muon",
        "learning_rate": 5e-3,
        "min_lr": 5e-5,
        "weight_decay": 0.0,
        "decay": "linear",
    },
}
"""What a preset changes in `TrainConfig` for the model it shapes."""

MODEL_TRAIN: dict[str, dict[str, Any]] = {
    "bigram": {
        "batch_size": 32,
        "max_iters": 3_000,
        "learning_rate": 3e-2,
        "min_lr": 3e-3,
        "weight_decay": 0.0,
    },
}
"""What another model than the GPT changes in `TrainConfig` (decay would keep a table from its optimum)."""

PRESET_INIT = {"lecture": "normal", "gpt2": "scaled", "modern": "zero_projections"}
"""The initialisation that belongs to a preset."""


Weights = Literal["float32", "bfloat16", "int8"]
"""What the matrices of a GPT are held in while text is drawn."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How text is drawn from a model."""

    temperature: float = 1.0
    """Below 1 bolder, above 1 wilder; 0 always takes the likeliest token."""
    top_k: int | None = None
    """Draw from this many of the likeliest tokens only."""
    top_p: float | None = None
    """Draw from the likeliest tokens that hold this share of the probability."""
    min_p: float | None = None
    """Draw from tokens at least this share as likely as the likeliest only."""
    repetition_penalty: float = 1.0
    """Above 1, tokens that the text already holds become less likely; below 1, more."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids, each with a number that is added to its logit, -100 .. 100."""
    logprobs: int | None = None
    """Tell each token's log-probability, and those of this many of the likeliest."""
    max_new_tokens: int = 500
    """Tokens to draw at most."""
    stop: tuple[str, ...] = ()
    """End before any of these texts."""
    seed: int = 1337
    """Same seed, same text."""
    num_samples: int = 1
    """Texts to draw; each is the same alone or among others."""

    def __post_init__(self) -> None:
        check_sampling(self.temperature, self.top_k, self.top_p, self.min_p)
        between(self, "repetition_penalty", 0.01, 100.0)
        for token, bias in self.logit_bias:
            if token < 0 or not -100.0 <= bias <= 100.0:
                raise ConfigError(f"logit_bias={token} {bias} is no id with a number within -100 .. 100")
        if self.logprobs is not None:
            between(self, "logprobs", 0, 100)
        between(self, "max_new_tokens", 0, 1 << 40)
        between(self, "num_samples", 1, 4_096)
        between(self, "seed", 0, 2**63 - 1)
        if "" in self.stop:
            raise ConfigError("stop='' would end every text before it begins; leave it out")


def check_sampling(temperature: float, top_k: int | None, top_p: float | None, min_p: float | None = None) -> None:
    """ConfigError when no distribution can be sharpened or cut like this."""
    if not 0.0 <= temperature <= 1e6:
        raise ConfigError(f"temperature={temperature} is outside 0 .. 1e+06; 0 is greedy, 1 is the model's own")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k={top_k} leaves no token to draw; choose at least 1, or leave it out")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise ConfigError(f"top_p={top_p} is outside 0 .. 1, 0 excluded; 1 keeps every token")
    if min_p is not None and not 0.0 <= min_p <= 1.0:
        raise ConfigError(f"min_p={min_p} is outside 0 .. 1; 0 keeps every token, 1 only the likeliest")


STUDIO_PORT = 8765
"""Where the studio listens, on this machine alone."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """How runs are served, and how much of the machine that may take."""

    host: str = "127.0.0.1"
    """The address to listen on; any but this machine's own needs a key."""
    port: int = 8000
    """The port to listen on; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names under which programs may reach this server."""
    slots: int = 32
    """Texts of one run that are written at the same time."""
    weights: Weights = "float32"
    """int8 or bfloat16 write faster, from rounded weights; `clearhead generate --weights` tells what that costs."""
    max_queue: int = 256
    """Texts that may wait for a slot."""
    max_queue_tokens: int = 1 << 18
    """Tokens, of prompts and to be written, that those may come to."""
    max_prompt_tokens: int | None = None
    """The longest prompt (default: 16 x block_size); of one longer than the context the model sees the end."""
    max_new_tokens: int = 4_096
    """The most tokens of one text."""
    time_limit: float = 120.0
    """Seconds that one request may take, its wait included."""
    drain: float = 30.0
    """Seconds for the requests that are being answered when the server is told to stop."""
    max_memory: int | None = None
    """Megabytes of runs in memory (default: half of what is free); the one unused for longest makes room."""
    max_body: int = 1_024
    """Kilobytes of a request's body."""

    def __post_init__(self) -> None:
        between(self, "port", 0, 65_535)
        positive(self, "slots", "max_queue", "max_queue_tokens", "max_new_tokens", "max_body")
        between(self, "slots", 1, 1 << 12)
        between(self, "time_limit", 0.1, 1e6)
        between(self, "drain", 0.0, 1e6)
        for name in ("max_prompt_tokens", "max_memory"):
            if getattr(self, name) is not None:
                positive(self, name)
