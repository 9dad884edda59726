"""The estimate and the full split, against the lecture's numbers and against slow twins."""

import math
from string import ascii_letters

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.config import UNKNOWN_BITS, DataConfig, GPTConfig, RunConfig, TokenizerConfig
from clearhead.data.prepare import prepare
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.loss import estimate_loss, measured, split_loss
from clearhead.models.base import Cache, HistoryCache, LanguageModel, Output
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel


class Recited(LanguageModel):
    """Gives the losses it was told to give, and remembers its mode."""

    kind, vocab_size, context = "recited", 2, 1

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses, self.modes = iter(losses), []

    def forward(self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None) -> Output:
        self.modes.append(self.training)
        return Output(torch.zeros(*idx.shape, 2), torch.tensor(next(self.losses)))

    def new_cache(self, slots: int) -> Cache:
        return HistoryCache(slots, 1)

    def to_config(self) -> dict[str, object]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, object]) -> "Recited":
        return cls([])


def test_the_lectures_losses_average():
    model = Recited([1.2, 1.1, 1.15, 1.05, 1.5, 1.45, 1.6, 1.4]).train()
    idx = torch.zeros(1, 1, dtype=torch.long)
    asked = []

    def get_batch(split: str, k: int) -> tuple[Tensor, Tensor]:
        asked.append((split, k))
        return idx, idx

    losses = estimate_loss(model, get_batch, 4)
    assert losses == pytest.approx({"train": 1.125, "val": 1.4875})
    assert asked == [(split, k) for split in ("train", "val") for k in range(4)]
    assert not any(model.modes), "dropout must be off while estimating"
    assert model.training, "and training goes on afterwards"


@pytest.fixture
def data(poem) -> TokenDataset:
    return prepare(RunConfig(), [str(poem)]).data


def test_a_gpt_is_scored_on_windows_that_do_not_overlap(data):
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(vocab_size=data.meta.vocab_size, block_size=16, n_embd=16, n_head=2, n_layer=1))
    ids = torch.from_numpy(data.ids("val").astype("int64"))
    losses = []
    with torch.no_grad():
        for start in range(0, len(ids) - 1, 16):
            x, y = ids[start : start + 16], ids[start + 1 : start + 17]
            logits = model(x[None, : len(y)]).logits[0]
            losses += F.cross_entropy(logits, y, reduction="none").tolist()
    loss = split_loss(model, data, "val")
    assert loss.tokens == len(losses) == len(ids) - 1
    assert loss.nats_per_token == pytest.approx(np.mean(losses), rel=1e-5)
    assert loss.bits_per_char == pytest.approx(sum(losses) / math.log(2) / data.meta.characters["val"], rel=1e-5)


def test_a_count_model_sees_all_the_text_before(data):
    model = BigramLanguageModel.from_counts(data.ids("train"), data.meta.vocab_size, 1.0)
    ids = torch.from_numpy(data.ids("val").astype("int64"))
    table = model.token_embedding_table.weight.log_softmax(-1)
    expected = -table[ids[:-1], ids[1:]].mean().detach()
    assert split_loss(model, data, "val").nats_per_token == pytest.approx(float(expected), rel=1e-5)


def test_the_beginning_of_a_split(data):
    model = BigramLanguageModel.from_counts(data.ids("train"), data.meta.vocab_size, 1.0)
    part = split_loss(model, data, "train", max_tokens=100)
    assert part.tokens >= 100
    assert part.characters == pytest.approx(
        data.meta.characters["train"] * part.tokens / (len(data.ids("train")) - 1), abs=1
    )


def test_hiding_a_character_costs_21_bits(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abcd" * 500 + "xyzw" * 25, encoding="utf-8")  # the last 100 characters were never seen
    data = prepare(RunConfig(), [str(path)]).data
    assert data.meta.hidden["val"] == 100
    tokens = len(data.ids("val")) - 1
    loss = measured(tokens * math.log(2), data, "val")
    assert loss.nats_per_token == pytest.approx(math.log(2))
    assert loss.bits_per_char == pytest.approx((tokens + UNKNOWN_BITS * 100) / data.meta.characters["val"])


def test_separators_cost_bits_but_add_no_characters(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("".join(f"{a}{b}{a}\n" for a in "abcdefgh" for b in ascii_letters), encoding="utf-8")
    config = RunConfig(data=DataConfig(lines=True), tokenizer=TokenizerConfig())
    data = prepare(config, [str(path)]).data
    documents = data.meta.characters["val"] // 3
    assert len(data.ids("val")) == data.meta.characters["val"] + documents + 1
    uniform = measured(math.log(2) * (len(data.ids("val")) - 1), data, "val")
    assert uniform.bits_per_char == pytest.approx((3 * documents + documents) / (3 * documents))


def test_evaluating_moves_no_random_stream(data):
    model = GPTLanguageModel(
        GPTConfig(vocab_size=data.meta.vocab_size, block_size=8, n_embd=8, n_head=2, n_layer=1, dropout=0.5)
    )
    state = torch.get_rng_state()
    split_loss(model, data, "val")
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(model, nn.Module)
    assert model.training
