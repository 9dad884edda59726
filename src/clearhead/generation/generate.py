"""One loop that draws tokens from every rung of the ladder.

Shapes: B rows, T tokens of the prompt.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clearhead.config import SamplingConfig
from clearhead.errors import ConfigError
from clearhead.generation.batch import Batch
from clearhead.models.base import LanguageModel


def stream_ids(
    model: LanguageModel,
    idx: Tensor,
    sampling: SamplingConfig,
    *,
    rows: Sequence[int] | None = None,
    forbidden: Sequence[int] = (),
    use_cache: bool = True,
) -> Iterator[Tensor]:
    """Yield the next token of every row, (B,) int64 on the CPU, `sampling.max_new_tokens` times.

    idx (B, T) is the prompt, T at least 1. `rows` are the rows' numbers among all samples of a seed (default 0 ..
    B - 1): what is drawn depends on them and not on the company. `forbidden` tokens are never drawn.
    """
    B, T = idx.shape
    if T == 0:
        raise ConfigError("idx has no token; a model continues at least one, such as a line end")
    batch = Batch(model, B, forbidden=forbidden, use_cache=use_cache)
    for number, ids in zip(range(B) if rows is None else rows, idx.tolist(), strict=True):
        batch.admit(ids, sampling, row=number)
    for _ in range(sampling.max_new_tokens):
        yield torch.tensor([drawn.token for drawn in batch.step()])


def generate(
    model: LanguageModel,
    idx: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 1337,
    use_cache: bool = True,
) -> Tensor:
    """The lecture's: idx (B, T) int64 extended by max_new_tokens drawn from the model, (B, T + max_new_tokens).

    The model is asked in evaluation mode and left in the mode it had; no global random state is read or moved.
    """
    sampling = SamplingConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed
    )
    new = list(stream_ids(model, idx, sampling, use_cache=use_cache))
    return torch.cat([idx, *(tokens[:, None].to(idx.device) for tokens in new)], dim=1)
