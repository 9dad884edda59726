"""Which tokens a step learns from.

Shapes: B = batch_size rows, R of them on this rank, T = block_size positions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.config import TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.runtime import Runtime
from clearhead.training.parallel import ALONE, Ranks


@dataclass(frozen=True)
class Feed:
    """The batches of a run, each a pure function of its number; of every batch the rows that this rank computes."""

    data: TokenDataset
    train: TrainConfig
    runtime: Runtime
    ranks: Ranks = ALONE

    @property
    def dev_begins(self) -> int:
        """The step from which dev is learned from, when there is enough of it to fill a row; else the end."""
        fills = len(self.data.ids("dev")) > self.train.block_size
        return max(0, self.train.max_iters - self.train.dev_iters * fills)

    @property
    def rows(self) -> slice:
        """The global numbers of this rank's samples in a batch."""
        return self.ranks.rows(self.train.batch_size)

    @property
    def share(self) -> float:
        """The part of a batch that this rank computes."""
        return (self.rows.stop - self.rows.start) / self.train.batch_size

    def parts(self, wanted: int) -> int:
        """In how many parts a batch is computed of `wanted`: of ranks all make as many calls of the model."""
        return min(wanted, self.train.batch_size // self.ranks.size)

    def training(self, step: int) -> tuple[Tensor, Tensor]:
        """x, y (R, T) of a step, this rank's R of B rows, on the device; near the end half of the B are from dev."""
        x, y = self.batch("train", step)
        if step < self.dev_begins:
            return x, y
        dev_x, dev_y = self.batch("dev", step)
        kept = max(0, self.train.batch_size - self.train.batch_size // 2 - self.rows.start)
        return torch.cat([x[:kept], dev_x[kept:]]), torch.cat([y[:kept], dev_y[kept:]])

    def batch(self, split: str, number: int, stream: str = "train") -> tuple[Tensor, Tensor]:
        """x, y (R, T) of batch `number` of a split and a random stream, on the device; T is less where it is short."""
        x, y = self.data.get_batch(
            split,
            number,
            batch_size=self.train.batch_size,
            block_size=min(self.train.block_size, len(self.data.ids(split)) - 1),
            seed=self.train.seed,
            stream=stream,
            rows=self.rows,
        )
        return x.to(self.runtime.device), y.to(self.runtime.device)
