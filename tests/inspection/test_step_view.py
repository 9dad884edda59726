"""One step forward and one backward, against the model and the closed form."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import inspection.tiny_models as small
from clearhead.config import TrainConfig
from clearhead.errors import ConfigError
from clearhead.inspection.backward import BigramStep, GPTStep, Memory
from clearhead.inspection.step import step
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.optim.adamw import build_adamw
from clearhead.runs.checkpoint import optimizer_tensors

TEXT = "abba cab\nab"
IDS = torch.from_numpy(small.TOKENIZER.encode(TEXT).astype("int64"))


@pytest.mark.parametrize("kind", small.KINDS)
def test_the_stages_end_in_the_loss(kind):
    model = small.lively(kind)
    found = step(model, small.TOKENIZER, TEXT)
    with torch.no_grad():
        _, loss = model(IDS[None, :-1], IDS[None, 1:])
    assert found.loss == pytest.approx(loss.item(), abs=1e-5)
    assert found.loss == pytest.approx(np.mean(found.losses), abs=1e-5)
    stages = {stage.name: stage for stage in found.stages if stage.block in (None, 1)}
    with torch.no_grad():
        last = model(IDS[None]).logits[0, -1]
    assert stages["logits"].first == pytest.approx(tuple(last[:4].tolist()), abs=1e-4)
    assert stages["logits"].shape == (11, 13)
    assert stages["wei = q @ k^T"].shape == (model.config.n_head, 11, 11)
    assert ("pos_emb" in stages) == (model.config.positions == "learned")
    assert found.choices[0][1] == pytest.approx(float(last.softmax(-1).max()), abs=1e-5)


def test_a_bigram_looks_rows_up():
    model = BigramLanguageModel(13)
    found = step(model, small.TOKENIZER, TEXT)
    assert [stage.name for stage in found.stages] == ["idx", "token_embedding_table", "logits", "softmax(logits)"]
    assert found.stages[2].first == pytest.approx(tuple(model.token_embedding_table.weight[IDS[-1], :4].tolist()))
    assert found.backward is None
    assert "nothing is multiplied" in str(found)


def test_the_gradient_of_a_row_is_softmax_minus_counts():
    torch.manual_seed(1)
    model = BigramLanguageModel(13)
    before = model.token_embedding_table.weight.detach().clone()
    back = step(model, small.TOKENIZER, TEXT, backward=True).backward
    assert isinstance(back, BigramStep)
    assert (back.token, back.seen, back.pairs) == ("a", 4, 10)
    cells = {cell.token: cell for cell in back.cells}
    assert (cells["b"].followed, cells["␣"].followed, cells["a"].followed) == (3, 1, 0)
    row = before[small.ALPHABET.index("a")].double().softmax(-1)
    for token, share in (("b", 0.75), ("␣", 0.25), ("c", 0.0)):
        p = float(row[small.ALPHABET.index(token.replace("␣", " "))])
        assert cells[token].gradient == pytest.approx(0.4 * (p - share), abs=1e-7)
        assert cells[token].formula == pytest.approx(cells[token].gradient, abs=1e-7)
        assert cells[token].after == pytest.approx(cells[token].before - back.rate * cells[token].gradient, abs=1e-6)
    assert back.gradient_error < 1e-6
    assert back.update_error < 1e-6
    assert back.rows_moved == len(set(TEXT[:-1]))
    assert back.loss_after < back.loss_before
    assert torch.equal(model.token_embedding_table.weight, before)
    assert model.token_embedding_table.weight.grad is None


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("kind", ["modern", "gpt2"])
def test_a_gpt_moves_and_stays(kind, optimizer):
    model = small.lively(kind)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train = TrainConfig(optimizer=optimizer, learning_rate=1e-3, precision="float32")
    back = step(model, small.TOKENIZER, TEXT, backward=True, train=train).backward
    assert isinstance(back, GPTStep)
    assert [m.name for m in back.tensors] == [name for name, _ in model.named_parameters()]
    assert all(m.update > 0 and m.ratio == pytest.approx(m.update / m.weight) for m in back.tensors)
    assert back.loss_after < back.loss_before
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert "without memory" in back.optimizer


def test_the_step_is_the_run_optimizers_next_one():
    """With AdamW's moments put back, the norms are those of a step made by hand."""
    model, train = small.lively("lecture"), TrainConfig(max_iters=50, learning_rate=1e-2, warmup_iters=5)
    optimizer = build_adamw(model, train)
    for _ in range(3):
        F.cross_entropy(model(IDS[None, :-1]).logits[0], IDS[1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    memory = Memory(3, {n: t.clone() for n, t in optimizer_tensors(optimizer, model).items()})
    back = step(model, small.TOKENIZER, TEXT, backward=True, train=train, memory=memory).backward
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 1e-2 * 4 / 5
    F.cross_entropy(model(IDS[None, :-1]).logits[0], IDS[1:]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), train.grad_clip)
    optimizer.step()
    assert isinstance(back, GPTStep)
    for moved, (name, weight) in zip(back.tensors, model.named_parameters(), strict=True):
        assert moved.update == pytest.approx((weight - before[name]).norm().item(), rel=1e-3), name
    assert "memory of step 3" in back.optimizer


def test_weights_of_zero_have_no_ratio():
    model = small.lively()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    found = step(model, small.TOKENIZER, TEXT, backward=True)
    assert isinstance(found.backward, GPTStep)
    head = found.backward.tensors[-1]
    assert (head.name, head.ratio) == ("lm_head.weight", None)
    assert "from zero" in str(found)
    assert found.loss == pytest.approx(math.log(13), abs=1e-5)


def test_only_what_makes_steps_can_show_one():
    with pytest.raises(ConfigError, match="an n-gram has no steps"):
        step(NgramLanguageModel.fit(IDS.numpy(), 13, 2), small.TOKENIZER, TEXT)
    with pytest.raises(ConfigError, match="one token has no next one"):
        step(small.lively(), small.TOKENIZER, "a", backward=True)
    with pytest.raises(ConfigError, match="no layer 2; layers are 0"):
        step(small.lively(), small.TOKENIZER, TEXT, block=2)
    assert step(small.lively(), small.TOKENIZER, "a").loss is None
