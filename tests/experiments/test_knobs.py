"""What can be turned, how it is written, and what is refused in one line."""

import pytest

from clearhead.errors import ConfigError
from clearhead.experiments.knobs import build_knob, combinations, merged, read_knob
from clearhead.experiments.recipe import SMALL, configure
from clearhead.experiments.search import Range, read_space


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("n_embd=2,8", [{"n_embd": 2}, {"n_embd": 8}]),
        ("n-embd=2, 8", [{"n_embd": 2}, {"n_embd": 8}]),
        ("dropout=0,0.2", [{"dropout": 0.0}, {"dropout": 0.2}]),
        ("learning_rate=1e-3,3e-3", [{"learning_rate": 1e-3}, {"learning_rate": 3e-3}]),
        ("positions=learned,none", [{"positions": "learned"}, {"positions": "none"}]),
        ("ffn_width=none,64", [{"ffn_width": None}, {"ffn_width": 64}]),
        ("bias=on,off", [{"bias": True}, {"bias": False}]),
        ("scale=on,off", [{"without": "none"}, {"without": "scale"}]),
        ("tokenizer=char,byte", [{"tokenizer": "char"}, {"tokenizer": "byte"}]),
    ],
)
def test_a_word_becomes_values_of_the_knobs_type(word, values):
    knob = read_knob(word)
    assert [value.settings for value in knob.values] == values
    for value in values:
        configure(value)  # each is a setting that there is


def test_values_of_python_are_taken_as_they_are():
    assert build_knob("n_embd", [2, 8]) == read_knob("n_embd=2,8")
    assert build_knob("bias", [True, False]).values[0].settings == {"bias": True}
    assert build_knob("scale", [True, False]) == read_knob("scale=on,off")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("n_emb=2,8", "unknown knob 'n_emb': did you mean 'n_embd'"),
        ("n_embd", "'n_embd' is no knob; write n_embd=value,value"),
        ("n_embd=", "one value, and there is nothing to compare"),
        ("n_embd=8", "n_embd=8 is one value"),
        ("n_embd=8,08", "has 08 twice"),
        ("n_embd=8,x", "n_embd='x' has the wrong type; it wants a whole number"),
        ("n_embd=8,1.5", "n_embd='1.5' has the wrong type"),
        ("dropout=0,much", "dropout='much' has the wrong type; it wants a number"),
        ("bias=on,perhaps", "bias='perhaps' has the wrong type; it is on or off"),
        ("mask=on,maybe", "mask=maybe is unknown: a part is on or off"),
        ("seed=1,2", "--seeds 5"),
        ("lines=on,off", "changes the validation text"),
        ("n_embd=8,,9", "n_embd has an empty value"),
    ],
)
def test_what_is_no_knob_is_one_clear_line(word, says):
    with pytest.raises(ConfigError, match=says) as caught:
        read_knob(word)
    assert "\n" not in str(caught.value)


def test_two_knobs_make_a_grid():
    grid = list(combinations([read_knob("n_embd=8,16"), read_knob("n_layer=1,2,3")]))
    assert [tuple(merged(choice).values()) for choice in grid] == [(8, 1), (8, 2), (8, 3), (16, 1), (16, 2), (16, 3)]


def test_a_grid_that_sets_one_thing_twice_or_is_too_large_is_refused():
    with pytest.raises(ConfigError, match="scale and mask both set without"):
        list(combinations([read_knob("scale=on,off"), read_knob("mask=on,off")]))
    many = ",".join(map(str, range(1, 6)))
    with pytest.raises(ConfigError, match="5 x 5 = 25 settings are too many"):
        list(combinations([read_knob(f"n_layer={many}"), read_knob(f"patience={many}")]))


def test_what_follows_from_a_setting():
    config = configure({"max_iters": 50, "learning_rate": 1e-2})
    assert config.train.min_lr == pytest.approx(1e-3), "the rate falls to a tenth of what it is turned to"
    assert (config.train.warmup_iters, config.train.eval_interval) == (5, 10)
    assert config.architecture.n_embd == SMALL["n_embd"]
    assert configure({"learning_rate": 1e-2, "min_lr": 1e-5}).train.min_lr == 1e-5
    assert configure({"preset": "modern"}).train.optimizer == "muon"


def test_ranges_of_a_search():
    assert read_space("n_layer=1..4") == Range("n_layer", 1, 4, whole=True)
    assert read_space("norm=layernorm,none") == read_knob("norm=layernorm,none")
    for word, says in (
        ("n_layer=4..1", "4 must be below 1"),
        ("norm=a..b", "no range of numbers"),
        ("n_layer=1..x", "wrong type"),
        ("scale=on..off", "no range of numbers"),
        ("n_lyer=1..2", "did you mean 'n_layer'"),
    ):
        with pytest.raises(ConfigError, match=says):
            read_space(word)
