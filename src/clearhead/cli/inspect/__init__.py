"""`clearhead inspect VIEW`: see inside a trained model. A module for each view."""

from collections.abc import Sequence
from importlib import import_module

from clearhead.errors import ConfigError, did_you_mean

VIEWS = {
    "bigram": "What entry [i, j] of the table means, and whether the table has stabilised.",
    "init": "Where each initialisation begins, and where it gets.",
    "embeddings": "Neighbours, analogies, projections, and what a dimension means.",
    "attention": "What each head looks at, and what it is worth.",
    "next": "From logits to the next token: temperature, top-k, top-p, the draw.",
    "trick": "The mathematical trick of self-attention on your own text.",
    "step": "One pass through the model in shapes and numbers; --backward: one training step.",
    "lens": "What each layer would say, and which part says what.",
    "loss": "Where the model is surprised, and what context is worth.",
    "report": "All that applies, in one HTML file.",
}
"""View -> one line."""
ACTIONS = {view: f"{__name__}.{view}" for view in VIEWS}
"""View -> its module."""


def run(argv: Sequence[str]) -> int:
    """Find the view, let it look, show what it found."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    name, *rest = argv
    if name not in VIEWS:
        raise ConfigError(f"unknown view '{name}': {did_you_mean(name, VIEWS)}")
    return import_module(ACTIONS[name]).run(rest)


def _help() -> str:
    width = max(map(len, VIEWS))
    views = "\n".join(f"  {name:<{width}}  {line}" for name, line in VIEWS.items())
    return (
        "usage: clearhead inspect VIEW [ARGUMENTS]\n\n"
        "See inside a trained model, the newest run by default.\n\n"
        f"{views}\n\n"
        "  clearhead inspect VIEW --help    all there is to say about one view\n\n"
        "Every view prints tables; --json one document; --html FILE a page that needs no network; --png and --svg\n"
        "FILE pictures, where Chrome or Chromium is installed."
    )
