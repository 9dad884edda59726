"""Settings: presets, files, flat names, and what is refused."""

import tomllib

import pytest

from clearhead.config import (
    PRESETS,
    Architecture,
    DataConfig,
    GPTConfig,
    RunConfig,
    SamplingConfig,
    TokenizerConfig,
    TrainConfig,
)
from clearhead.errors import ConfigError
from clearhead.fields import load_config


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_configuration_survives_toml(preset):
    config = RunConfig.from_preset(preset).with_settings({"max_iters": 7, "lines": True, "vocab_size": None})
    assert RunConfig().updated(tomllib.loads(config.to_toml())) == config


def test_flat_names_are_unique_over_all_sections():
    import dataclasses

    names = [f.name for section in (DataConfig, TokenizerConfig, Architecture, TrainConfig) for f in
             dataclasses.fields(section)] + ["model", "preset", "init", "order"]  # fmt: skip
    assert len(names) == len(set(names))


def test_flat_settings_find_their_section():
    config = RunConfig().with_settings({"n_layer": 2, "max_iters": 5, "tokenizer": "word", "model": "bigram"})
    assert (config.architecture.n_layer, config.train.max_iters) == (2, 5)
    assert (config.tokenizer.tokenizer, config.model) == ("word", "bigram")


def test_presets_are_the_plans():
    lecture, gpt2, modern = (RunConfig.from_preset(name).architecture for name in ("lecture", "gpt2", "modern"))
    assert (lecture.positions, lecture.norm, lecture.activation) == ("learned", "layernorm", "relu")
    assert (lecture.qkv_bias, lecture.bias, lecture.head_bias) == (False, True, True)
    assert (gpt2.activation, gpt2.tie_weights, gpt2.head_bias) == ("gelu", True, False)
    assert (modern.positions, modern.norm, modern.norm_eps, modern.qk_norm) == ("rope", "rmsnorm", 1e-6, True)
    assert (modern.activation, modern.bias, modern.tie_weights) == ("swiglu", False, False)
    assert modern.feed_forward_width == 344  # 8/3 of 128, to a multiple of 8


def test_a_bigram_is_trained_without_decay():
    assert RunConfig.from_preset("modern", "bigram").train.weight_decay == 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Architecture(n_embd=100, n_head=6), "n_embd=100 is not divisible by n_head=6; try 96 or 102"),
        (lambda: Architecture(n_embd=2, n_head=4), "try 4"),
        (lambda: Architecture(n_embd=12, n_head=4), "odd"),
        (lambda: Architecture(n_layer=-1), "n_layer=-1 must be at least 1"),
        (lambda: Architecture(activation="rellu"), "did you mean 'relu'"),  # pyright: ignore[reportArgumentType]
        (lambda: GPTConfig(vocab_size=0), "vocab_size=0"),
        (lambda: TrainConfig(max_iters=0), "max_iters=0"),
        (lambda: TrainConfig(dropout=float("nan")), "dropout=nan"),
        (lambda: TrainConfig(learning_rate=-1.0), "learning_rate=-1.0"),
        (lambda: TrainConfig(muon_learning_rate=-1.0), "muon_learning_rate=-1.0"),
        (lambda: TrainConfig(decay="line"), "linear"),  # pyright: ignore[reportArgumentType]
        (lambda: TrainConfig(batch_size=12, accumulation=5), "try --batch_size 15"),
        (lambda: TrainConfig(warmup_iters=-1), "warmup_iters=-1"),
        (lambda: TrainConfig(block_size=10**9), "block_size=1000000000"),
        (lambda: TokenizerConfig(tokenizer="char", lowercase=True), "--tokenizer word"),
        (lambda: TokenizerConfig(tokenizer="byte", unk=True), "256"),
        (lambda: RunConfig(preset="gtp2"), "did you mean 'gpt2'"),
        (lambda: RunConfig(order=0), "order=0"),
        (lambda: RunConfig().with_settings({"n_layers": 3}), "did you mean 'n_layer'"),
        (lambda: RunConfig().with_settings({"n_layer": "3"}), "wrong type"),
        (lambda: RunConfig().with_settings({"n_layer": True}), "wrong type"),
        (lambda: RunConfig().updated({"train": 3}), "section"),
        (lambda: RunConfig().updated({"train": {"max_itres": 3}}), "train.max_itres"),
        (lambda: SamplingConfig(temperature=-1.0), "temperature=-1.0"),
        (lambda: SamplingConfig(top_k=0), "top_k=0"),
        (lambda: SamplingConfig(top_p=0.0), "top_p=0.0"),
        (lambda: SamplingConfig(stop=("",)), "stop"),
    ],
)
def test_refused_in_one_line(make, says):
    with pytest.raises(ConfigError) as refusal:
        make()
    message = str(refusal.value)
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"train = ", b"\xff\xfe", b"[train]\nseed = 1\nseed = 2"])
def test_broken_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml"):
        load_config(path)
