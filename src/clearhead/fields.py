"""Frozen records of settings: checks of their fields, updates from nested mappings, TOML."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from clearhead.errors import ConfigError, did_you_mean

LARGEST = 2**63 - 1
"""The largest whole number that TOML, and most of what counts with it, holds."""
_MOST_TOML = 1 << 14
"""Bytes of a configuration file, at most: ours have 2,000, and a dotted key takes tomllib time in its square."""


def positive(section: object, *names: str) -> None:
    """Refuse a field that is below 1, or beyond all counting."""
    for name in names:
        if (value := getattr(section, name)) < 1:
            raise ConfigError(f"{name}={value} must be at least 1")
        between(section, name, 1, LARGEST)


def between(section: object, name: str, low: float, high: float) -> None:
    """Refuse a field outside low .. high; NaN is outside."""
    if not low <= (value := getattr(section, name)) <= high:
        raise ConfigError(f"{name}={value} is outside {low:g} .. {high:g}; choose a value within")


def check_literals(section: object) -> None:
    """Every Literal field holds one of its values (files and Python callers are not checked by the flags)."""
    for name, hint in get_type_hints(type(section)).items():
        choices = [str(choice) for choice in get_args(hint) if isinstance(choice, str)]
        value = getattr(section, name)
        if choices and value not in choices:
            raise ConfigError(f"{name}={value!r} is unknown: {did_you_mean(str(value), choices)}")


def load_config(path: Path) -> dict[str, Any]:
    """The values of a TOML file, for `RunConfig.updated`; ConfigError when it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")  # a FIFO would be waited for, a device read without end
        if path.stat().st_size > _MOST_TOML:
            raise ValueError(f"more than {_MOST_TOML:,} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        raise ConfigError(
            f"{str(path)!r} is no readable TOML configuration: {error}; give one like a run's config.toml"
        ) from None


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    """A nested mapping without its None values: TOML has no null."""
    return {
        key: without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def finite(value: Any) -> Any:
    """Nested JSON values with None for what is not finite: JSON has no NaN.

    >>> finite({"loss": [1.0, float("nan")]})
    {'loss': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def update(section: Any, values: Mapping[str, Any], where: str = "") -> Any:
    """A copy of nested records with the values of a nested mapping put in; ConfigError for what does not fit."""
    hints = get_type_hints(type(section))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ConfigError(f"unknown setting '{where}{name}': {did_you_mean(name, hints)}")
        current = getattr(section, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}{name} is a section of settings, not the value {value!r}")
            changes[name] = update(current, value, f"{where}{name}.")
        else:
            changes[name] = _typed(value, hints[name], f"{where}{name}")
    return dataclasses.replace(section, **changes)


def _typed(value: Any, hint: Any, name: str) -> Any:
    """The value when it has the field's type (an int passes for a float); ConfigError otherwise."""
    kinds = {str if isinstance(choice, str) else choice for choice in get_args(hint) or (hint,)}
    if type(value) is int and not -LARGEST <= value <= LARGEST:
        raise ConfigError(f"{name} is a number of {value.bit_length()} bits; choose one below {LARGEST:g}")
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        wanted = " or ".join(sorted(kind.__name__ for kind in kinds if kind is not type(None)))
        raise ConfigError(f"{name}={value!r} has the wrong type; it wants {wanted}")
    return value
