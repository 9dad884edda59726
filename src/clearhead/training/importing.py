"""Weights that another project trained become a run: recognised, held against their own forward pass, judged."""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clearhead.config import Architecture, DataConfig, RunConfig, TokenizerConfig
from clearhead.data.corpus import Corpus, read_corpus
from clearhead.data.prepare import retokenise
from clearhead.errors import CheckpointError, CorpusError
from clearhead.evaluation.loss import SplitLoss, evaluating, split_loss
from clearhead.files import check_name, file_name, sha256_file
from clearhead.initialise.pretrained import BIGRAM, Foreign
from clearhead.initialise.recognise import read_foreign
from clearhead.models.base import LanguageModel
from clearhead.runs.checkpoint import save_checkpoint
from clearhead.runs.corpus import corpus_record
from clearhead.runs.directory import RunDirectory, create_run
from clearhead.runtime import choose_runtime, environment
from clearhead.tokenizers.char import CharTokenizer
from clearhead.training.events import Evaluated, Event, Finished, Notice, Saved
from clearhead.training.sinks import EventFile

MOST_DIFFERENCE = 1e-4
"""Between our logits and those of the other project's forward pass, at most."""
CHECKED_TOKENS = 2_048
"""Of the text; every token of the vocabulary comes once besides."""
TRAIN_TOKENS = 1 << 14
"""Of the training text, by which its loss is estimated."""
GPT2_VOCABULARIES = (50_257, 50_304)
"""GPT-2's pieces of words, and the same padded to a multiple of 64."""


@dataclass(frozen=True)
class Agreement:
    """How far our logits are those of the other project."""

    difference: float
    """The largest, absolute."""
    tokens: int
    """At how many places they were compared."""

    def __str__(self) -> str:
        return (
            f"logits agree with an independent forward pass of its own tensors to {self.difference:.1e} "
            f"({self.tokens:,} tokens; at most {MOST_DIFFERENCE:g} is let pass)"
        )


@dataclass(frozen=True)
class Imported:
    """A run that was made of another project's weights, and how far they can be believed."""

    run: RunDirectory
    foreign: Foreign
    parameters: int
    agreement: Agreement
    train: float
    """Estimated, in nats per token."""
    val: SplitLoss | None
    """None where the text is too short for a validation split."""
    notices: list[str]

    @property
    def summary(self) -> str:
        """What was recognised, on one line."""
        return (
            f"{self.foreign.path.name} is of {self.foreign.layout.words}: {_shape(self.foreign)}"
            f"{self.parameters:,} parameters, {self.foreign.vocab_size} characters, step {self.foreign.step:,}"
        )

    @property
    def record(self) -> dict[str, Any]:
        """What the run's checkpoint keeps of where it came from."""
        return {
            "layout": self.foreign.layout.name,
            "file": self.foreign.path.name,
            "sha256": sha256_file(self.foreign.path),
            "logits_difference": self.agreement.difference,
            "checked_tokens": self.agreement.tokens,
            "best_val_loss": self.foreign.own_val_loss,
        }

    def events(self) -> Iterator[Event]:
        """What the run's event file tells."""
        step, val = self.foreign.step, self.val and self.val.nats_per_token
        yield from (Notice(step, line) for line in (self.summary, str(self.agreement), *self.notices))
        yield Evaluated(step, self.train, val, dev=None, best=True, below=(), seconds=0.0)
        yield Saved(step, self.run.checkpoint(step).name)
        yield Finished(step, "done", 0.0)


def import_weights(
    checkpoint: Path,
    text: Sequence[str],
    *,
    data: DataConfig | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    n_head: int | None = None,
) -> Imported:
    """A checkpoint of nanoGPT or of the lecture as a run in `out`, over the text that it was trained on.

    Its vocabulary is the text's: the sorted characters. CheckpointError where checkpoint and text do not fit, or our
    logits are not theirs; whatever is wrong with the input is found before the run's folder is made.
    """
    check_name(name)
    reading = data or DataConfig()
    foreign, corpus = read_foreign(checkpoint, n_head), read_corpus(text, reading, TokenizerConfig())
    tokenizer, order = _vocabulary(corpus, foreign)
    model = foreign.model(order)
    agreement = _agreement(model, foreign, _batch(corpus, tokenizer, foreign.config.get("block_size", 64)), order)
    config = _config(foreign, reading)
    train, val = _losses(model, corpus, tokenizer, config)
    run = create_run(
        out,
        name or f"{file_name(corpus.name)}-{foreign.layout.name}",
        config=config,
        tokenizer=tokenizer,
        corpus=corpus_record(corpus),
        environment=environment(),
    )
    notices = [*corpus.notices, *_doubts(corpus, foreign, val)]
    imported = Imported(run, foreign, model.num_parameters(), agreement, train, val, notices)
    try:
        _fill(imported, model)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return imported


def _vocabulary(corpus: Corpus, foreign: Foreign) -> tuple[CharTokenizer, list[int] | None]:
    """The characters of the whole text, and for each of our ids the checkpoint's, where they are not the same.

    Both projects know one text without separators. Where ours is lines, end-of-text takes the place of the line end.
    """
    documents = corpus.train + corpus.val
    if corpus.separated and any("\n" in document for document in documents):
        raise CorpusError(
            f"{corpus.name} is several documents, and a checkpoint of {foreign.layout.words} knows no end-of-text to "
            "stand between them; give the one file that it was trained on"
        )
    tokenizer = CharTokenizer.train(documents, eot=corpus.separated)
    if tokenizer.vocab_size != foreign.vocab_size:
        raise CheckpointError(_mismatch(corpus, foreign, tokenizer))
    if not corpus.separated:
        return tokenizer, None
    theirs = {character: number for number, character in enumerate(sorted({*tokenizer.characters, "\n"}))}
    return tokenizer, [theirs[character] for character in (*tokenizer.characters, "\n")]


def _mismatch(corpus: Corpus, foreign: Foreign, tokenizer: CharTokenizer) -> str:
    """Why the sizes of two vocabularies may differ."""
    theirs, ours = foreign.vocab_size, tokenizer.vocab_size
    if theirs in GPT2_VOCABULARIES:
        return (
            f"{foreign.path} has GPT-2's vocabulary of {theirs:,} pieces of words; import reads checkpoints whose "
            "tokens are characters: train nanoGPT on its character data"
        )
    cause = "it was trained on another text, or on another part of this one; give the very file"
    if "\r" in tokenizer.characters and theirs == ours - 1:
        cause = "its lines end with \\r\\n, which both projects read as \\n; convert the line ends"
    elif theirs > ours and theirs % 64 == 0:
        cause = "a vocabulary that is padded to a multiple of 64 cannot be read, or this is another text"
    return f"{foreign.path} has {theirs:,} tokens, but {corpus.name} has {ours:,} different characters: {cause}"


def _batch(corpus: Corpus, tokenizer: CharTokenizer, block_size: int) -> Tensor:
    """idx (B, T): the validation text's beginning, then every token once, over whole contexts again and again."""
    text = "".join((corpus.val or corpus.train)[:CHECKED_TOKENS])[:CHECKED_TOKENS]
    ids = np.concatenate([tokenizer.encode(text), np.arange(tokenizer.vocab_size)]).astype(np.int64)
    return torch.from_numpy(np.resize(ids, (-(-len(ids) // block_size), block_size)))


def _agreement(model: LanguageModel, foreign: Foreign, idx: Tensor, order: list[int] | None) -> Agreement:
    """Our logits beside theirs on idx (B, T); CheckpointError where they are not the same."""
    numbers = torch.arange(foreign.vocab_size) if order is None else torch.tensor(order)
    with evaluating(model):
        difference = float((model(idx).logits.double() - foreign.logits(numbers[idx])[..., numbers]).abs().max())
    if not difference <= MOST_DIFFERENCE:  # NaN is no agreement either
        raise CheckpointError(
            f"{foreign.path} gives other logits here than by its own forward pass: they differ by {difference:.3g}, "
            f"at most {MOST_DIFFERENCE:g} is let pass; nothing was written"
        )
    return Agreement(difference, idx.numel())


def _config(foreign: Foreign, data: DataConfig) -> RunConfig:
    """The configuration of a run that ended where the checkpoint stands."""
    config = RunConfig.from_preset(foreign.layout.preset, foreign.layout.kind)
    train = replace(config.train, max_iters=max(1, foreign.step))
    if foreign.layout is BIGRAM:
        return replace(config, data=data, train=train)
    architecture = Architecture(**{f.name: foreign.config[f.name] for f in fields(Architecture)})
    own = {name: foreign.config[name] for name in ("block_size", "dropout")}
    return replace(config, data=data, architecture=architecture, train=replace(train, **own))


def _losses(
    model: LanguageModel, corpus: Corpus, tokenizer: CharTokenizer, config: RunConfig
) -> tuple[float, SplitLoss | None]:
    """Nats per token of training text, estimated, and the loss on all validation text."""
    runtime = choose_runtime(config.train).exact
    data = retokenise(corpus, tokenizer)
    model.to(runtime.device)
    train = split_loss(model, data, "train", runtime, TRAIN_TOKENS).nats_per_token
    return train, split_loss(model, data, "val", runtime) if len(data.ids("val")) > 1 else None


def _doubts(corpus: Corpus, foreign: Foreign, val: SplitLoss | None) -> Iterator[str]:
    """What a reader of the loss should know."""
    if corpus.separated:
        yield (
            "validation lines are chosen by their text here, by position in the other project: "
            "it has trained on most of them, and the loss says less than it seems"
        )
    guessing = math.log(foreign.vocab_size)
    if val and val.nats_per_token > guessing:
        yield (
            f"the loss is above that of guessing, ln {foreign.vocab_size} = {guessing:.4f}: "
            "is this the text that the checkpoint was trained on?"
        )


def _shape(foreign: Foreign) -> str:
    if foreign.layout is BIGRAM:
        return ""
    return "{n_layer} layers, {n_head} heads, width {n_embd}, context {block_size}, ".format_map(foreign.config)


def _fill(imported: Imported, model: LanguageModel) -> None:
    """The checkpoint, the pointers and the events; then the run is closed."""
    run, step = imported.run, imported.foreign.step
    save_checkpoint(run, step, model, state={"imported": imported.record})
    run.point("best", step)
    events = EventFile(run.events_file)
    try:
        for event in imported.events():
            events.handle(event)
    finally:
        events.close()
    run.seal()
