"""What can be turned: every setting by its flag's name, the named choices among them; and parts, on or off."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from clearhead.config import Architecture, DataConfig, RunConfig, TokenizerConfig, TrainConfig
from clearhead.errors import ConfigError, did_you_mean

PARTS = ("scale", "mask", "residual", "feed_forward")
"""Knobs of their own: scale=on,off is without=none,scale."""
FIXED = {
    "seed": "every value runs over the same seeds; --seeds 5 takes more of them",
    "device": "where it is computed is the same for all; give --device",
    **dict.fromkeys(
        (field.name for field in dataclasses.fields(DataConfig)),
        "it changes the validation text, and losses on different texts do not compare",
    ),
}
"""Settings that are no knobs, and why."""
SWITCH = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False}
MOST_ARMS = 24
"""Settings side by side, at most: a table of more says nothing that one could hold."""


@dataclass(frozen=True)
class Setting:
    """One value of a knob, as it was written, and what it sets."""

    word: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Knob:
    """A setting, and the values that it is given."""

    name: str
    values: tuple[Setting, ...]

    @property
    def last(self) -> Setting:
        """The last value."""
        return self.values[-1]

    @property
    def sets(self) -> set[str]:
        """The settings that its values change."""
        return {name for value in self.values for name in value.settings}


def read_knob(word: str) -> Knob:
    """A knob as the command line writes it, name=v1,v2,...; ConfigError for what is none.

    >>> read_knob("n_embd=8,32").values[1]
    Setting(word='32', settings={'n_embd': 32})
    """
    name, equals, values = word.partition("=")
    if not equals:
        raise ConfigError(f"'{word}' is no knob; write {word or 'n_embd'}=value,value")
    return build_knob(name, [value.strip() for value in values.split(",")] if values else [])


def build_knob(name: str, values: Sequence[Any]) -> Knob:
    """A knob and its values, each a word as on the command line, or the value itself.

    ConfigError for an unknown name, fewer than two values, one that is there twice, and a word of the wrong type.
    """
    name = check_name(name)
    found = tuple(setting(name, value) for value in values)
    words = [each.word for each in found]
    if len(found) < 2:
        raise ConfigError(f"{name}={','.join(words)} is one value, and there is nothing to compare; give two or more")
    for number, each in enumerate(found):
        if each.settings in [other.settings for other in found[:number]]:
            raise ConfigError(f"{name}={','.join(words)} has {each.word} twice; leave one of them out")
    return Knob(name, found)


def check_name(name: str) -> str:
    """A knob's name with underscores; ConfigError when there is none of it."""
    name = name.strip().lstrip("-").replace("-", "_")
    if name in FIXED:
        raise ConfigError(f"{name} is no knob: {FIXED[name]}")
    if name not in (known := hints()) and name not in PARTS:
        raise ConfigError(f"unknown knob '{name}': {did_you_mean(name, [*known, *PARTS])}")
    return name


def hints() -> dict[str, Any]:
    """The type of every knob that is a setting."""
    found: dict[str, Any] = {}
    for section in (RunConfig, TokenizerConfig, Architecture, TrainConfig):
        types_of = typing.get_type_hints(section)
        for field in dataclasses.fields(section):
            if not dataclasses.is_dataclass(types_of[field.name]):
                found[field.name] = types_of[field.name]
    found["tokenizer"] = str  # the section and its first setting share a name
    return {name: hint for name, hint in found.items() if name not in FIXED}


def combinations(knobs: Sequence[Knob]) -> Iterator[tuple[Setting, ...]]:
    """Every combination of the knobs' values, the last knob turning fastest; ConfigError where two set the same."""
    for number, knob in enumerate(knobs):
        for other in knobs[:number]:
            if common := sorted(knob.sets & other.sets):
                raise ConfigError(f"{other.name} and {knob.name} both set {common[0]}; leave one of them out")
    count = math.prod(len(knob.values) for knob in knobs)
    if count > MOST_ARMS:
        raise ConfigError(
            f"{' x '.join(str(len(knob.values)) for knob in knobs)} = {count} settings are too many to compare, "
            f"{MOST_ARMS} at most; give fewer values, or --search"
        )
    yield from product(*(knob.values for knob in knobs))


def setting(name: str, value: Any) -> Setting:
    """A value of a knob, as a word or as itself; ConfigError for one that it does not have."""
    word = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    if name in PARTS:
        on = value if isinstance(value, bool) else SWITCH.get(word)
        if on is None:
            raise ConfigError(f"{name}={word} is unknown: a part is on or off")
        return Setting("on" if on else "off", {"without": "none" if on else name})
    return Setting(word, {name: read_value(name, value) if isinstance(value, str) else value})


def read_value(name: str, word: str) -> Any:
    """The value that a word stands for, by the knob's type; ConfigError when it stands for none.

    >>> read_value("n_embd", "32"), read_value("learning_rate", "1e-3"), read_value("bias", "on")
    (32, 0.001, True)
    >>> read_value("ffn_width", "none") is None, read_value("norm", "none")
    (True, 'none')
    """
    kinds = _kinds(hints()[name])
    if word == "":
        raise ConfigError(f"{name} has an empty value; write {name}=value,value")
    if type(None) in kinds and word in ("none", "default"):
        return None
    if bool in kinds:
        if word.lower() not in SWITCH:
            raise ConfigError(f"{name}={word!r} has the wrong type; it is on or off")
        return SWITCH[word.lower()]
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(word)
            except ValueError:
                continue
    if {int, float} & set(kinds):
        wanted = "a whole number" if int in kinds else "a number"
        raise ConfigError(f"{name}={word!r} has the wrong type; it wants {wanted}")
    return word


def _kinds(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def describe(names: Sequence[str], choice: Sequence[Setting]) -> str:
    """A choice in words: n_embd=8, n_layer=2."""
    return ", ".join(f"{name}={value.word}" for name, value in zip(names, choice, strict=True))


def merged(choice: Sequence[Setting]) -> Mapping[str, Any]:
    """All that a choice sets."""
    return {name: value for one in choice for name, value in one.settings.items()}
