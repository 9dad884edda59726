"""Train a small language model on your own text, learn exactly how good it is, and talk to it.

Public names are imported on first use, so `import clearhead` costs milliseconds and no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clearhead.api import Run, compare, import_checkpoint, ladder, load, train
    from clearhead.experiments.entrance import experiment

__version__ = "0.1.0"

_PUBLIC = {
    "train": "clearhead.api",
    "load": "clearhead.api",
    "ladder": "clearhead.api",
    "compare": "clearhead.api",
    "import_checkpoint": "clearhead.api",
    "Run": "clearhead.api",
    "experiment": "clearhead.experiments.entrance",
}

__all__ = ["Run", "__version__", "compare", "experiment", "import_checkpoint", "ladder", "load", "train"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import_module("clearhead.runtime").share_cores()
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'clearhead' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
