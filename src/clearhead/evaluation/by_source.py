"""The validation loss of each source of a prepared folder whose sources are kept apart."""

import math

from clearhead.config import UNKNOWN_BITS
from clearhead.data.shards import ShardDataset
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.loss import FULL_PRECISION, SplitLoss, token_losses
from clearhead.models.base import LanguageModel
from clearhead.runtime import Runtime


def losses_by_source(
    model: LanguageModel, data: TokenDataset, runtime: Runtime = FULL_PRECISION
) -> dict[str, SplitLoss]:
    """By name; the nats of all are those of the whole split. Empty where sources are not kept apart, or none validates.

    What stands before a source's text is looked at as in `split_loss`: the end of the source before it.
    """
    if not isinstance(data, ShardDataset) or not data.manifest.shares or len(data.ids("val")) < 2:
        return {}
    losses, found = token_losses(model, data, "val", runtime).double(), {}
    for number, (source, (begin, end)) in enumerate(
        zip(data.manifest.sources, data.manifest.spans("val"), strict=True)
    ):
        nats = losses[begin : end - 1]  # of the tokens behind the first of the span
        shards = [shard for shard in data.manifest.of("val") if shard.source == number]
        characters, hidden = (sum(getattr(s, name) for s in shards) for name in ("characters", "hidden"))
        if len(nats):
            total = float(nats.sum())
            bits = total / math.log(2) + UNKNOWN_BITS * hidden
            name = source.name if source.name not in found else f"{source.name} ({number + 1})"
            found[name] = SplitLoss(total / len(nats), bits / max(1, characters), len(nats), characters)
    return found
