"""Weights of other projects: the same logits here, or one line that says why not."""

import io
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.config import PRESETS
from clearhead.errors import CheckpointError
from clearhead.initialise.pretrained import LECTURE, NANOGPT, Foreign
from clearhead.initialise.recognise import read_foreign
from initialise.foreign_models import SHAPE, lecture, lecture_state, nanogpt, nanogpt_checkpoint

V = 11


@pytest.fixture
def idx() -> Tensor:
    return torch.randint(V, (3, SHAPE["block_size"]), generator=torch.Generator().manual_seed(1))


def saved(path: Path, what: Any) -> Path:
    torch.save(what, path)
    return path


def assert_same(foreign: Foreign, theirs: Tensor, idx: Tensor) -> None:
    """Our model, and the forward pass that an import is held against, give the logits of their own module."""
    assert theirs.std() > 0.3, "flat logits would agree whatever the weights"
    with torch.no_grad():
        torch.testing.assert_close(foreign.model()(idx).logits, theirs, atol=1e-5, rtol=0)
    torch.testing.assert_close(foreign.logits(idx), theirs.double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_head", [1, 3, 4])
def test_nanogpts_checkpoint_gives_its_logits(tmp_path: Path, idx: Tensor, n_head: int, bias: bool) -> None:
    model = nanogpt(V, bias=bias, n_head=n_head)
    foreign = read_foreign(saved(tmp_path / "ckpt.pt", nanogpt_checkpoint(model)))
    with torch.no_grad():
        assert_same(foreign, model(idx), idx)
    assert (foreign.layout, foreign.step, foreign.n_head) == (NANOGPT, 250, n_head)
    assert foreign.own_val_loss == pytest.approx(1.4697)
    config = foreign.config
    assert (config["bias"], config["qkv_bias"], config["tie_weights"]) == (bias, bias, True)
    assert (config["activation"], config["dropout"], config["ffn_width"]) == ("gelu", 0.2, None)


def test_a_state_dict_of_nanogpt_wants_its_heads_named(tmp_path: Path, idx: Tensor) -> None:
    model = nanogpt(V)
    path = saved(tmp_path / "state.pt", model.state_dict())
    with pytest.raises(CheckpointError, match=r"state\.pt has no model_args.*add --n_head N"):
        read_foreign(path)
    with torch.no_grad():
        assert_same(read_foreign(path, n_head=3), model(idx), idx)
    with pytest.raises(CheckpointError, match="n_embd=24 is not divisible by n_head=7"):
        read_foreign(path, n_head=7)
    with pytest.raises(CheckpointError, match="n_head=3, not 4; leave --n_head out"):
        read_foreign(saved(path, nanogpt_checkpoint(model)), n_head=4)


def test_a_head_that_is_not_tied_stays_so(tmp_path: Path, idx: Tensor) -> None:
    model = nanogpt(V)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(V, 24, generator=torch.Generator().manual_seed(3)))
    foreign = read_foreign(saved(tmp_path / "ckpt.pt", nanogpt_checkpoint(model)))
    with torch.no_grad():
        assert_same(foreign, model(idx), idx)
    assert not foreign.config["tie_weights"]


@pytest.mark.parametrize("n_head", [1, 3, 4])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3}])
def test_the_lectures_state_dict_gives_its_logits(tmp_path: Path, idx: Tensor, n_head: int, wrap: Any) -> None:
    model = lecture(V, n_head=n_head)
    foreign = read_foreign(saved(tmp_path / "gpt.pt", wrap(lecture_state(model))))
    with torch.no_grad():
        assert_same(foreign, model(idx, idx)[0], idx)
    assert (foreign.layout, foreign.n_head, foreign.step, foreign.own_val_loss) == (LECTURE, n_head, 0, None)
    assert (foreign.config["activation"], foreign.config["dropout"]) == ("relu", 0.2)


def test_masks_need_not_be_there(tmp_path: Path, idx: Tensor) -> None:
    model = lecture(V)
    weights = {name: tensor for name, tensor in lecture_state(model).items() if "tril" not in name}
    with torch.no_grad():
        assert_same(read_foreign(saved(tmp_path / "gpt.pt", weights)), model(idx, idx)[0], idx)


def test_a_bigram_is_its_table(tmp_path: Path, idx: Tensor) -> None:
    table = torch.randn(V, V, generator=torch.Generator().manual_seed(5))
    foreign = read_foreign(saved(tmp_path / "bigram.pt", OrderedDict({"token_embedding_table.weight": table})))
    assert_same(foreign, table[idx], idx)
    assert torch.equal(foreign.model().state_dict()["token_embedding_table.weight"], table)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_read(tmp_path: Path, idx: Tensor, dtype: torch.dtype) -> None:
    foreign = read_foreign(saved(tmp_path / "gpt.pt", lecture_state(lecture(V).to(dtype))))
    with torch.no_grad():
        ours = foreign.model()(idx).logits
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), foreign.logits(idx), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["nanogpt", "lecture"])
def test_every_weight_moves_their_logits(tmp_path: Path, idx: Tensor, kind: str) -> None:
    """Else a weight in the wrong place could pass the check unseen."""
    what = nanogpt_checkpoint(nanogpt(V)) if kind == "nanogpt" else lecture_state(lecture(V))
    foreign = read_foreign(saved(tmp_path / "ckpt.pt", what))
    right = foreign.logits(idx)
    for name, tensor in foreign.weights.items():
        kept = tensor.clone()
        tensor.copy_(kept.flip(0))
        moved = float((foreign.logits(idx) - right).abs().max())
        tensor.copy_(kept)
        assert moved > 1e-2, name


def test_tokens_may_stand_in_another_order(tmp_path: Path, idx: Tensor) -> None:
    order = random.Random(2).sample(range(V), V)
    numbers = torch.tensor(order)
    for what in (
        nanogpt_checkpoint(nanogpt(V)),
        lecture_state(lecture(V)),
        {"token_embedding_table.weight": torch.randn(V, V)},
    ):
        foreign = read_foreign(saved(tmp_path / "ckpt.pt", what))
        with torch.no_grad():
            ours = foreign.model(order)(idx).logits
        torch.testing.assert_close(ours.double(), foreign.logits(numbers[idx])[..., numbers], atol=1e-5, rtol=0)


def test_the_table_is_read_both_ways() -> None:
    """Each of their tensors belongs to one of ours: cut apart by the same names, our weights are theirs again."""
    foreign = Foreign(Path(), LECTURE, lecture_weights(), {**PRESETS["lecture"], **SHAPE, "vocab_size": V}, 3)
    theirs: dict[str, Tensor] = {}
    for ours, tensor in foreign.model().state_dict().items():
        names = LECTURE.their_names(ours, foreign.n_head)
        theirs |= dict(zip(names, tensor.chunk(len(names)), strict=True))
    assert theirs.keys() == foreign.weights.keys()
    assert all(torch.equal(tensor, foreign.weights[name]) for name, tensor in theirs.items())


def lecture_weights() -> dict[str, Tensor]:
    return {name: tensor for name, tensor in lecture_state(lecture(V)).items() if "tril" not in name}


def without(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights whose names do not hold a part."""
    return {name: tensor for name, tensor in weights.items() if part not in name}


L, N = lecture_weights(), nanogpt(V)
TABLE = "token_embedding_table.weight"
BROKEN: dict[str, tuple[Any, str]] = {
    "a tensor is missing": (without(L, "blocks.1.sa.heads.2.key.weight"), "lacks blocks.1.sa.heads.2.key.weight"),
    "heads are missing": (without(L, "heads"), "lacks blocks.0.sa.heads.0.query.weight"),
    "a layer is missing": (without(L, "blocks.0."), "lacks blocks.0.ffwd.net.0.weight"),
    "a block with no end": (L | {"blocks.999999.ln1.weight": torch.ones(24)}, "lacks blocks.10"),
    "a tensor is unknown": (L | {"extra.weight": torch.ones(2)}, "holds extra.weight, which"),
    "one head is smaller": (
        L | {"blocks.0.sa.heads.1.value.weight": torch.ones(4, 24)},
        r"heads.1.value.weight of shape \(4, 24\); its other tensors want \(8, 24\)",
    ),
    "vocabularies differ": (L | {"lm_head.weight": torch.ones(12, 24)}, r"lm_head.weight of shape \(12, 24\)"),
    "the embedding is a vector": (L | {TABLE: torch.ones(5)}, "it is a matrix"),
    "NaN": (L | {"ln_f.bias": torch.full((24,), float("nan"))}, "NaN or infinity in ln_f.bias"),
    "infinity": (L | {"ln_f.weight": -1 / torch.zeros(24)}, "NaN or infinity in ln_f.weight"),
    "whole numbers": (L | {"ln_f.bias": torch.ones(24, dtype=torch.int64)}, "of type torch.int64"),
    "a mask that sees the future": (L | {"blocks.0.sa.heads.0.tril": torch.ones(16, 16)}, "lets tokens see the future"),
    "a table that is no square": ({TABLE: torch.ones(3, 4)}, "a bigram's table is square"),
    "another project": ({"b.weight": torch.ones(2), "a.weight": torch.ones(2)}, "holds a.weight, b.weight: import kn"),
    "nothing": ({}, "holds no tensor"),
    "a list": ([torch.ones(2)], "holds a list, no state_dict"),
    "a number": ({"epoch": 3}, "holds 'epoch', which is no named tensor"),
    "twice": ({"a": torch.ones(1), "module.a": torch.ones(1)}, "holds a twice"),
    "sparse": ({TABLE: torch.eye(3).to_sparse()}, "not plain"),
    "a tensor of nothing": ({TABLE: torch.ones(1).expand(90_000, 90_000)}, "larger tensors than it holds"),
    "another width is said": (nanogpt_checkpoint(N, model_args=N.args | {"n_embd": 48}), "says n_embd=48, but its te"),
    "another bias is said": (nanogpt_checkpoint(N, model_args=N.args | {"bias": False}), "says bias=False"),
    "heads that are no number": (nanogpt_checkpoint(N, model_args={"n_head": "3"}), "has n_head='3'"),
    "a dropout that is none": (nanogpt_checkpoint(N, model_args=N.args | {"dropout": 2.0}), "dropout=2.0 is outside"),
    "a step before the first": (nanogpt_checkpoint(N, iter_num=-1), "iter_num=-1, which is no step"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_named(tmp_path: Path, case: str) -> None:
    what, reason = BROKEN[case]
    path = saved(tmp_path / "ckpt.pt", what)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_foreign(path).model()
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


def archive(entries: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in entries.items():
            written.writestr(name, data)
    return held.getvalue()


NO_CHECKPOINT = {
    "empty.pt": (b"", "is empty"),
    "notes.txt": (b"a text, not a checkpoint\n" * 9, "is no file that torch.save wrote"),
    "model.safetensors": (b"\x02\0\0\0\0\0\0\0{}", "is a safetensors file"),
    "renamed.pt": (b"\x02\0\0\0\0\0\0\0{}", "is a safetensors file"),
    "meta.pkl": (pickle.dumps({"vocab_size": 65}), "is no file that torch.save wrote"),
    "cut.pt": (b"PK\x03\x04" + bytes(100), "is damaged or cut short"),
    "other.zip": (archive({"a.txt": b"hello"}), "is damaged or cut short"),
    "bomb.pt": (archive({"a/data.pkl": bytes(1 << 22)}), "claims to hold more bytes than it has"),
}


@pytest.mark.parametrize("name", NO_CHECKPOINT)
def test_a_file_that_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    data, reason = NO_CHECKPOINT[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_foreign(path)
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder; name the file"):
        read_foreign(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist; name the file"):
        read_foreign(tmp_path / "none.pt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.pt")
        with pytest.raises(CheckpointError, match="is no file"):
            read_foreign(tmp_path / "fifo.pt")


class Malicious:
    """Would make a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("as_archive", [True, False])
@pytest.mark.parametrize("where", ["whole", "model", "tensor", "beside"])
def test_code_is_never_run(tmp_path: Path, where: str, as_archive: bool) -> None:
    marker, weights = tmp_path / "marker", lecture_state(lecture(V))
    evil = Malicious(marker)
    what = {
        "whole": evil,
        "model": {"model": evil},
        "tensor": weights | {"ln_f.bias": evil},
        "beside": {"model": weights, "config": evil},
    }[where]
    path = tmp_path / "ckpt.pt"
    torch.save(what, path, _use_new_zipfile_serialization=as_archive)
    with pytest.raises(CheckpointError) as caught:
        read_foreign(path)
    assert not marker.exists()
    assert ("is never loaded" in str(caught.value)) == as_archive
    assert "weights_only" not in str(caught.value), "torch's own words advise to switch the protection off"
    assert "\n" not in str(caught.value)


def test_a_whole_module_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt", torch.nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"holds torch.nn.modules.linear.Linear, .*torch.save\(model.state_dict"):
        read_foreign(path)


def same(a: Foreign, b: Foreign) -> bool:
    return (
        a.config == b.config
        and (a.n_head, a.step, a.own_val_loss) == (b.n_head, b.step, b.own_val_loss)
        and a.weights.keys() == b.weights.keys()
        and all(torch.equal(tensor, b.weights[name]) for name, tensor in a.weights.items())
    )


def flip_bits(tmp_path: Path, count: int) -> None:
    """Whatever bit is flipped: one line, or the very same weights (a bit of the archive's padding)."""
    path = saved(tmp_path / "ckpt.pt", nanogpt_checkpoint(nanogpt(V, n_embd=6, n_layer=1)))
    whole, right, rng = path.read_bytes(), read_foreign(path), random.Random(count)
    for _ in range(count):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with suppress(CheckpointError):
            assert same(read_foreign(path), right)


def test_flipped_bits_never_give_other_weights(tmp_path: Path) -> None:
    flip_bits(tmp_path, 100)


@pytest.mark.slow
def test_a_thousand_flipped_bits_never_give_other_weights(tmp_path: Path) -> None:
    flip_bits(tmp_path, 1_000)


def test_a_record_that_is_called_a_folder_is_read_all_the_same(tmp_path: Path, idx: Tensor) -> None:
    """torch.load alone returns memory that nobody has written, where one bit of the archive's directory says so."""
    path = saved(tmp_path / "gpt.pt", lecture_state(lecture(V)))
    right, data = read_foreign(path), bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    while not data[entry + 46 :].startswith(b"gpt/data/0"):
        entry = data.index(b"PK\x01\x02", entry + 1)
    data[entry + 38] |= 0x10  # external attributes
    path.write_bytes(data)
    assert same(read_foreign(path), right)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "ckpt.pt", nanogpt_checkpoint(nanogpt(V)))
    whole = path.read_bytes()
    for sixteenth in range(16):
        path.write_bytes(whole[: len(whole) * sixteenth // 16])
        with pytest.raises(CheckpointError):
            read_foreign(path)
