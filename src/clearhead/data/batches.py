"""Where batches begin and what they hold: pure functions on an array of ids.

Shapes: n ids, B rows, T = block_size positions.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearhead.data.joined import JoinedIds
from clearhead.tokenizers.base import Ids

Offsets = npt.NDArray[np.integer]
"""(B,) where each row's window begins."""


def offsets(seed: int, step: int, batch_size: int, count: int) -> Offsets:
    """(B,) offsets, uniform on 0 .. count - 1; row b is a pure function of (seed, step, b), whatever the batch size.

    Philox is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the seed is its
    key and the step a part of its counter, so any step's numbers are had without those before.

    >>> offsets(1, 7, 4, 1000)[:2].tolist() == offsets(1, 7, 2, 1000).tolist()
    True
    """
    numbers = np.random.Philox(key=seed, counter=step << 128).random_raw(batch_size)
    return (numbers % np.uint64(count)).astype(np.int64)  # biased by count / 2**64: nothing


def weighted_offsets(
    seeds: tuple[int, int], step: int, batch_size: int, spans: Sequence[tuple[int, int]], shares: Sequence[float]
) -> Offsets:
    """(B,) offsets: each row's span begin .. end - 1 with the chances `shares`, then uniform in it.

    Row b is a pure function of (seeds, step, b): one seed draws spans, the other offsets.
    """
    draws, numbers = (np.random.Philox(key=seed, counter=step << 128).random_raw(batch_size) for seed in seeds)
    span = np.searchsorted(np.cumsum(shares)[:-1], draws / 2.0**64, side="right")
    begins, ends = np.array(spans, dtype=np.uint64).T
    return (begins[span] + numbers % (ends - begins)[span]).astype(np.int64)


def gather(ids: Ids | JoinedIds | Tensor, starts: Offsets, block_size: int) -> tuple[Tensor, Tensor]:
    """x, y (B, T) int64: the windows of ids (n,) that begin at the offsets, and the same one token later.

    Where ids are a tensor, so is the work, on its device; a GPU is not waited for.

    >>> x, y = gather(np.array([7, 4, 11, 11, 14, 26]), np.array([0, 2]), 3)
    >>> x.tolist(), y.tolist()
    ([[7, 4, 11], [11, 11, 14]], [[4, 11, 11], [11, 14, 26]])
    """
    if isinstance(ids, Tensor):
        first = torch.from_numpy(starts)
        first = first.pin_memory().to(ids.device, non_blocking=True) if ids.is_cuda else first.to(ids.device)
        rows = ids[first[:, None] + torch.arange(block_size + 1, device=ids.device)].long()  # (B, T + 1)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    if isinstance(ids, JoinedIds):
        rows = ids.rows(starts, block_size + 1)  # (B, T + 1)
    else:
        rows = ids[starts[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
    return _tensor(rows[:, :-1]), _tensor(rows[:, 1:])


def windows(ids: Ids, block_size: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """x, y (B, T) int64 batches that hold every id but the first exactly once as a target, in order.

    The last batch of full windows may have fewer rows; what remains comes as one shorter window, (1, T').
    """
    covered = (len(ids) - 1) // block_size * block_size
    for start in range(0, covered, batch_size * block_size):
        part = ids[start : min(start + batch_size * block_size, covered) + 1]
        yield _tensor(part[:-1].reshape(-1, block_size)), _tensor(part[1:].reshape(-1, block_size))
    if covered < len(ids) - 1:
        rest = ids[covered:]
        yield _tensor(rest[None, :-1]), _tensor(rest[None, 1:])


def _tensor(array: Ids) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
