"""Parameters of which each rank holds some rows: FSDP2's DTensors, as optimizers and savers see them.

A parameter of M rows lies on N ranks as `torch.chunk` cuts it: ceil(M / N) rows on each, fewer on the last ones, maybe
none. Shapes: a matrix is (M, n).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether this rank holds a part of a tensor. DTensor is not imported to ask: that takes 0.8 s."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """The rows that this rank holds, not a copy; of an ordinary tensor all."""
    if not is_sharded(tensor):
        return tensor
    with torch.no_grad():
        part: Any = tensor
        return part.to_local()


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor, on every rank; all ranks call it together."""
    part: Any = tensor
    return part.full_tensor() if is_sharded(tensor) else tensor


class Deal:
    """Sharded matrices dealt out whole: each rank gets some, works on them, and gives every rank its rows back.

    So N ranks share the work on whole matrices; either way one exchange carries all that is sent.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        first: Any = weights[0]
        self._group = first.device_mesh.get_group()
        self._rank, self._ranks = dist.get_rank(self._group), range(dist.get_world_size(self._group))
        self._shapes = [weight.shape for weight in weights]
        # The largest first, each to who has least to do: shapes are alike on all ranks, so the deal is too.
        loads = [0 for _ in self._ranks]
        self._dealt: list[list[int]] = [[] for _ in self._ranks]
        for index in sorted(range(len(weights)), key=lambda index: -self._shapes[index].numel()):
            owner = loads.index(min(loads))
            self._dealt[owner].append(index)
            loads[owner] += self._shapes[index].numel()

    @property
    def mine(self) -> list[int]:
        """The numbers of the matrices that this rank gets."""
        return self._dealt[self._rank]

    def gather(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """This rank's matrices, whole, from every rank's rows of all matrices."""
        sent = [[rows[index] for index in dealt] for dealt in self._dealt]
        shapes = [[self._part(index, rank) for index in self.mine] for rank in self._ranks]
        return [torch.cat(parts) for parts in zip(*self._exchange(sent, shapes, rows[0]), strict=True)]

    def scatter(self, matrices: Sequence[Tensor], like: Tensor) -> list[Tensor]:
        """This rank's rows of all matrices, from every rank's whole ones; `like` is any tensor of their type."""
        cut = [
            matrix.split([self._part(index, rank)[0] for rank in self._ranks])
            for index, matrix in zip(self.mine, matrices, strict=True)
        ]
        shapes = [[self._part(index, self._rank) for index in dealt] for dealt in self._dealt]
        got = self._exchange([[parts[rank] for parts in cut] for rank in self._ranks], shapes, like)
        found = {
            index: part
            for dealt, parts in zip(self._dealt, got, strict=True)
            for index, part in zip(dealt, parts, strict=True)
        }
        return [found[index] for index in range(len(self._shapes))]

    def _part(self, index: int, rank: int) -> torch.Size:
        """The shape of what a rank holds of a matrix."""
        rows, *others = self._shapes[index]
        most = -(-rows // len(self._ranks))
        return torch.Size([max(0, min(most, rows - rank * most)), *others])

    def _exchange(
        self, sent: Sequence[Sequence[Tensor]], shapes: Sequence[Sequence[torch.Size]], like: Tensor
    ) -> list[list[Tensor]]:
        """What every rank sends to this one, in these shapes, for what this one sends to every rank."""
        flat = torch.cat([like.new_empty(0), *(part.flatten() for parts in sent for part in parts)])
        sizes = [sum(shape.numel() for shape in each) for each in shapes]
        got = like.new_empty(sum(sizes))
        dist.all_to_all_single(got, flat, sizes, [sum(p.numel() for p in parts) for parts in sent], self._group)
        return [
            [part.view(shape) for part, shape in zip(piece.split([s.numel() for s in each]), each, strict=True)]
            for piece, each in zip(got.split(sizes), shapes, strict=True)
        ]
