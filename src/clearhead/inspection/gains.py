"""Who gains what, and where? Every rung of the waterfall on the same stretch of text, token by token.

Shapes: N targets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import score_split
from clearhead.inspection.baselines import count_baselines
from clearhead.inspection.view import plain
from clearhead.inspection.waterfall import Costs, costs
from clearhead.models.base import LanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.tokenizers.base import Tokenizer

TARGETS = 600


@dataclass(frozen=True)
class Gains:
    """A stretch of validation text, and what each rung pays for each of its tokens."""

    before: str
    """The text that precedes it, as much as any model reads."""
    tokens: tuple[str, ...]
    """(N,) the text of each target."""
    rungs: tuple[Costs, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return plain(self)


def gains(
    model: LanguageModel,
    tokenizer: Tokenizer,
    data: TokenDataset,
    mixture: MixtureLanguageModel | None = None,
    targets: int = TARGETS,
) -> Gains:
    """The first tokens of the validation text before which every rung has all the context that it wants."""
    ids = data.ids(score_split(data))
    wanted = max(1, model.block_size or 1, mixture.lookback if mixture else 0)
    first = min(wanted, len(ids) - 1)
    at = np.arange(first, min(len(ids), first + targets))
    baselines = count_baselines(data, tokenizer, model, mixture)
    rungs = tuple(costs(model, mixture, data, baselines, at))
    texts = tuple(tokenizer.decode([token]) for token in ids[at].tolist())
    return Gains(tokenizer.decode(ids[:first].tolist()), texts, rungs)
