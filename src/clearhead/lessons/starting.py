"""Small experiments on first numbers, for the lesson on initialisation."""

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from clearhead.lessons.parts import Claim

if TYPE_CHECKING:
    from clearhead.lessons.desk import Desk

ROWS, COLUMNS = 4, 8
"""The lecture's batch."""
TABLES = 500
"""Random tables whose first losses are compared."""
READ = 100_000
"""Characters that a first gradient is of, at most."""


@dataclass(frozen=True)
class FirstLosses:
    """First losses of random tables, nats: 95 % of them lie between low and high."""

    mean: float
    low: float
    high: float


def first_losses(desk: "Desk") -> FirstLosses:
    """N(0, 1) tables on batches of the lecture's size."""
    import torch
    from torch.nn import functional as F

    generator, V = torch.Generator().manual_seed(1337), desk.tokenizer.vocab_size
    losses = []
    for step in range(TABLES):
        x, y = desk.data.get_batch("train", step, batch_size=ROWS, block_size=desk.data.fits(COLUMNS), seed=1337)
        table = torch.randn(V, V, generator=generator)
        losses.append(F.cross_entropy(table[x.flatten()], y.flatten()).item())
    found = torch.tensor(losses)
    low, high = found.quantile(torch.tensor([0.025, 0.975])).tolist()
    return FirstLosses(float(found.mean()), low, high)


def counts_gap(desk: "Desk") -> float:
    """Bits above the floor of the table that is set from the counts, one added to each."""
    from clearhead.evaluation.certificate import certify, sampled_pairs
    from clearhead.models.bigram import BigramLanguageModel

    ids, V = desk.data.ids("train"), desk.tokenizer.vocab_size
    model = BigramLanguageModel.from_counts(ids, V)
    return certify(model.token_embedding_table.weight, sampled_pairs(ids, 1, V)).gap / log(2)


def rows_that_differ(desk: "Desk") -> int:
    """Of the first gradient on a table of zeros over the training text's beginning: rows unlike any other."""
    import torch
    from torch.nn import functional as F

    ids = torch.from_numpy(desk.data.ids("train")[:READ].astype("int64"))
    V = desk.tokenizer.vocab_size
    table = torch.zeros(V, V, requires_grad=True)
    F.cross_entropy(table[ids[:-1]], ids[1:]).backward()
    assert table.grad is not None
    return len(torch.unique(table.grad, dim=0))


def tied_in_order() -> tuple[float, float]:
    """The size of a tied embedding of 65 x 64: head filled first, then tied; and tied first, then filled."""
    import torch
    from torch import nn

    sizes = []
    for tie_first in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1337)
            embedding, head = nn.Embedding(65, 64), nn.Linear(64, 65, bias=False)
            nn.init.normal_(embedding.weight, std=0.02)
            if tie_first:
                head.weight = embedding.weight
            nn.init.xavier_normal_(head.weight)
            head.weight = embedding.weight
            sizes.append(float(head.weight.detach().std()))
    return sizes[0], sizes[1]


def mixed_precision() -> Claim:
    """What stays in float32 when products are computed in bfloat16, asked of the torch that is here."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    layer, x, y = nn.Linear(8, 8), torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), torch.arange(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = layer(x)
        loss = F.cross_entropy(product.float(), y)
    loss.backward()
    assert layer.weight.grad is not None
    kept = {str(t.dtype).removeprefix("torch.") for t in (layer.weight, layer.weight.grad, loss)}
    lost = float(torch.tensor(1.0, dtype=torch.bfloat16) + 0.001)
    return Claim(
        "float32",
        product.dtype == torch.bfloat16 and kept == {"float32"} and lost == 1,
        "Under mixed precision the products are bfloat16; weights, their gradients and the loss stay in float32. "
        f"They must: in bfloat16 a weight of 1 with 0.001 added is {lost:g} again, and small updates would be lost.",
        f"Here products are {product.dtype}, weights, gradients and loss {', '.join(sorted(kept))}.",
        note="mixed precision halves every number",
    )
