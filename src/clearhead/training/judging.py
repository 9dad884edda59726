"""What a trainer says of its model between steps: losses by split, the rungs it has passed, a sample."""

from dataclasses import dataclass
from functools import partial

from clearhead.config import SamplingConfig
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.loss import estimate_loss, measured, token_losses
from clearhead.generation.text import stream_text
from clearhead.initialise import expected_first_loss
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.events import Started
from clearhead.training.feed import Feed
from clearhead.training.sharding import shards, whole_model

DEV_TOKENS = 1 << 16
"""Dev tokens looked at in each evaluation, at most."""
SAMPLE_TOKENS = 120
A_TRIFLE = 1e-3
"""Nats: less than this below a rung is not below it."""


@dataclass
class Judge:
    """Looks at a model and its text; nothing of training moves."""

    model: LanguageModel
    tokenizer: Tokenizer
    feed: Feed
    rungs: dict[str, float]
    """Validation loss by counted rung, in nats per token."""

    def losses(self, step: int, micro_batches: int) -> tuple[dict[str, float], float | None]:
        """The estimates by split, and the loss over dev as long as it decides; each rank computes its part of both."""
        feed, ranks = self.feed, self.feed.ranks
        splits = [split for split in ("train", "val") if len(feed.data.ids(split)) > 1]
        batch = partial(feed.batch, stream="estimate")
        parts = feed.parts(micro_batches)
        estimated = estimate_loss(self.model, batch, feed.train.eval_iters, splits, feed.runtime, parts)
        losses = dict(zip(splits, ranks.total(*(estimated[split] * feed.share for split in splits)), strict=True))
        if len(feed.data.ids("dev")) <= 1 or step > feed.dev_begins:
            return losses, None
        dev = token_losses(self.model, feed.data, "dev", feed.runtime, DEV_TOKENS, (ranks.rank, ranks.size))
        nats, tokens = ranks.total(float(dev.double().sum()), len(dev))
        return losses, measured(nats, feed.data, "dev", int(tokens)).nats_per_token

    def rungs_above(self, val: float | None) -> tuple[str, ...]:
        """The rungs that a validation loss is clearly below."""
        return tuple(name for name, nats in self.rungs.items() if val is not None and val < nats - A_TRIFLE)

    def sample(self) -> str:
        """A short text of the model's own, the same for the same weights; nothing where nobody is told."""
        ranks = self.feed.ranks
        model = whole_model(self.model, ranks) if shards(self.feed.train) else self.model
        if model is None or not ranks.first:
            return ""
        sampling = SamplingConfig(max_new_tokens=SAMPLE_TOKENS, seed=self.feed.train.seed)
        return "".join(stream_text(model, self.tokenizer, "", sampling))

    def started(self, run: str, init: str | None, step: int) -> Started:
        """The event that opens a run, or its going on at a step."""
        data, train = self.feed.data, self.feed.train
        train_tokens, judged = len(data.ids("train")), score_split(data)
        return Started(
            step=step,
            run=run,
            model=self.model.kind,
            parameters=self.model.num_parameters(),
            max_iters=train.max_iters,
            tokens_per_step=train.batch_size * train.block_size,
            train_tokens=train_tokens,
            characters_per_token=data.meta.characters[judged] / max(1, len(data.ids(judged))),
            train_characters_per_token=data.meta.characters["train"] / max(1, train_tokens),
            device=self.feed.runtime.device_name,
            expected_first_loss=expected_first_loss(self.model, init) if init else None,
            rungs=self.rungs,
        )
