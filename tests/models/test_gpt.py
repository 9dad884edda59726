import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from lecture_gpt import LectureGPT, stacked
from safetensors.torch import load_file, save_file

from clearhead.config import PRESETS, GPTConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.models.gpt import Block, FeedForward, GPTLanguageModel, build_norm
from clearhead.registry import resolve

SMALL: dict[str, Any] = {"vocab_size": 13, "block_size": 8, "n_embd": 16, "n_head": 2, "n_layer": 2}


def gpt(**options) -> GPTLanguageModel:
    torch.manual_seed(0)
    return GPTLanguageModel(GPTConfig(**{**SMALL, **options})).eval()


def test_stacked_weights_of_the_lecture_give_its_logits():
    torch.manual_seed(3)
    lecture = LectureGPT(vocab_size=13, block_size=8, n_embd=16, n_head=2, n_layer=2)
    ours = gpt(**PRESETS["lecture"])
    ours.load_state_dict(stacked(lecture))
    idx, targets = torch.randint(13, (3, 8)), torch.randint(13, (3, 8))
    logits, loss = ours(idx, targets)
    theirs, their_loss = lecture(idx, targets)
    torch.testing.assert_close(logits, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, their_loss, atol=1e-5, rtol=1e-5)
    assert ours.num_parameters() == sum(p.numel() for p in lecture.parameters())


def test_the_lectures_names():
    model = gpt(positions="learned")
    names = [name for name, _ in model.named_children()]
    assert set(names) == {
        "token_embedding_table",
        "position_embedding_table",
        "dropout",
        "blocks",
        "ln_f",
        "lm_head",
    }
    assert [name for name, _ in model.get_submodule("blocks.0").named_children()] == ["ln1", "sa", "ln2", "ffwd"]
    assert isinstance(model.blocks[0], Block)
    assert not hasattr(gpt(positions="rope"), "position_embedding_table")
    assert resolve("models", GPTLanguageModel.kind) is GPTLanguageModel


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_biases_they_say(preset):
    biases = {name.removesuffix(".bias") for name, _ in gpt(**PRESETS[preset]).named_parameters() if "bias" in name}
    assert ("blocks.0.sa.qkv" in biases) == (preset == "gpt2")
    assert ("blocks.0.sa.proj" in biases) == ("ln_f" in biases) == (preset != "modern")
    assert ("lm_head" in biases) == (preset == "lecture")


def test_a_block_is_two_pre_norm_residuals():
    block = gpt(**PRESETS["lecture"]).blocks[0]
    x = torch.randn(2, 5, 16)
    half = x + block.get_submodule("sa")(block.get_submodule("ln1")(x))
    expected = half + block.get_submodule("ffwd")(block.get_submodule("ln2")(half))
    torch.testing.assert_close(block(x), expected)


ACTIVATIONS = {
    "relu": lambda h: h.clamp(min=0),
    "relu2": lambda h: h.clamp(min=0) ** 2,
    "gelu": lambda h: h * (1 + torch.erf(h / math.sqrt(2))) / 2,
    "gelu_tanh": lambda h: h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))) / 2,
    "swiglu": lambda h: h[..., :7] * torch.sigmoid(h[..., :7]) * h[..., 7:],
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward_is_its_formula(activation):
    torch.manual_seed(0)
    ffwd = FeedForward(GPTConfig(**SMALL, activation=activation, ffn_width=7, bias=True))
    x = torch.randn(2, 3, 16)
    hidden = ACTIVATIONS[activation](x @ ffwd.up.weight.T + ffwd.up.bias)
    torch.testing.assert_close(ffwd(x), hidden @ ffwd.proj.weight.T + ffwd.proj.bias, atol=1e-6, rtol=1e-5)


def test_norms_are_their_formulas():
    x = torch.randn(4, 16) * 3 + 1
    centred = x - x.mean(-1, keepdim=True)
    layer = build_norm(GPTConfig(**SMALL, norm="layernorm", norm_eps=0.1, bias=True))
    torch.testing.assert_close(layer(x), centred / (x.var(-1, correction=0, keepdim=True) + 0.1).sqrt())
    rms = build_norm(GPTConfig(**SMALL, norm="rmsnorm", norm_eps=0.1))
    torch.testing.assert_close(rms(x), x / (x.square().mean(-1, keepdim=True) + 0.1).sqrt())
    assert build_norm(GPTConfig(**SMALL, norm="none"))(x) is x


def test_token_embeddings_are_scaled_and_positions_are_not():
    model, scaled = gpt(positions="learned"), gpt(positions="learned", scale_embedding=True)
    idx = torch.tensor([[1, 2, 3]])
    token, position = model.token_embedding_table(idx), model.get_parameter("position_embedding_table.weight")[:3]
    torch.testing.assert_close(model.embed(idx), token + position)
    torch.testing.assert_close(scaled.embed(idx), token * 4 + position)
    torch.testing.assert_close(model.embed(idx[:, :1], torch.tensor([2])), token[:, :1] + position[2])


def test_more_tokens_than_the_context_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"^9 tokens do not fit block_size=8; pass the last 8$"):
        gpt()(torch.zeros(1, 9, dtype=torch.long))


def test_a_tied_head_is_one_weight_saved_once(tmp_path):
    model = gpt(tie_weights=True)
    assert model.lm_head.weight is model.token_embedding_table.weight
    untied = gpt(tie_weights=False)
    assert model.num_parameters() == untied.num_parameters() - 13 * 16
    assert "lm_head.weight" not in model.state_dict()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = GPTLanguageModel.restore(model.to_config(), load_file(tmp_path / "model.safetensors"))
    assert again.lm_head.weight is again.token_embedding_table.weight
    idx = torch.arange(8)[None]
    assert torch.equal(again.eval()(idx).logits, model(idx).logits)


def test_a_checkpoint_that_does_not_fit_is_refused():
    model = gpt(tie_weights=True)
    state = model.state_dict()
    state.pop("token_embedding_table.weight")
    with pytest.raises(CheckpointError, match="token_embedding_table"):
        GPTLanguageModel.restore(model.to_config(), state)
    with pytest.raises(ConfigError, match="no setting 'n_heads'"):
        GPTLanguageModel.from_config({**model.to_config(), "n_heads": 2})


def test_dropout_works_in_training_only():
    model = gpt(dropout=0.5)
    idx = torch.arange(8)[None]
    assert torch.equal(model(idx).logits, model(idx).logits)
    model.train()
    assert not torch.equal(model(idx).logits, model(idx).logits)


def test_decay_sees_norms_as_vectors():
    assert {p.ndim for name, p in gpt().named_parameters() if "norm" in name or "ln" in name} == {1}


def test_the_products_run_in_bfloat16_under_autocast():
    model, idx = gpt(), torch.arange(8)[None]
    exact = model(idx).logits
    cache = model.new_cache(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, cached = model(idx).logits, model(idx, cache=cache).logits
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), exact, atol=0.05, rtol=0.05)
    torch.testing.assert_close(cached.float(), exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("preset", ["modern", "lecture"])
def test_restoring_loads_no_compiler(preset):
    """PyTorch's takes a second to load, which every command that reads a run would wait for."""
    told = subprocess.run([sys.executable, "-c", RESTORING.format(preset=preset)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == ["meta", "False"]


RESTORING = """
import sys
from clearhead.config import RunConfig
from clearhead.models.base import shapes_alone
from clearhead.models.gpt import GPTLanguageModel
model = GPTLanguageModel(RunConfig.from_preset("{preset}").gpt(7))
with shapes_alone():
    bare = GPTLanguageModel.from_config(model.to_config())
assert {{n: w.shape for n, w in bare.state_dict().items()}} == {{n: w.shape for n, w in model.state_dict().items()}}
GPTLanguageModel.restore(model.to_config(), model.state_dict())
print(bare.device, "torch._dynamo" in sys.modules)
"""
