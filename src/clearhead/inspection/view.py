"""What every inspection returns: a record of numbers that reads well and knows itself as JSON."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

WHITE_SPACE = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}
"""White space and what stands for it where a person reads: a space that cannot be seen explains nothing."""


@dataclasses.dataclass(frozen=True)
class View(ABC):
    """One inspection's findings. Subclasses are frozen records; `str` is the view as text, for a terminal.

    A field with `metadata=HIDDEN` is for figures and further work, and stays out of the JSON document.
    """

    @property
    @abstractmethod
    def title(self) -> str:
        """One line that says what this is, of which model."""

    @abstractmethod
    def __str__(self) -> str:
        """The findings as text, tables aligned, every figure with its unit."""

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON values; arrays as lists, what is not finite as None."""
        document = {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.metadata != HIDDEN}
        return {"view": type(self).__module__.rpartition(".")[2], "title": self.title, **document}


HIDDEN: Mapping[str, Any] = {"json": False}


def plain(value: Any) -> Any:
    """A value as JSON knows it: records and mappings as dictionaries, arrays as lists, no NaN, no infinity.

    >>> plain({"p": np.array([0.5, np.nan])})
    {'p': [0.5, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.metadata != HIDDEN}
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def visible(text: str) -> str:
    """A token's text as a person can see it: white space as glyphs, what cannot be printed as its code point.

    >>> visible("a b\\n"), visible("\\x00")
    ('a␣b↵', 'U+0000')
    """
    return "".join(WHITE_SPACE.get(c) or (c if c.isprintable() else f"U+{ord(c):04X}") for c in text)
