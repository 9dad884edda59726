"""`clearhead runs`: what has been trained here, whether it is whole, and how to take it along."""

from collections.abc import Sequence
from importlib import import_module

from clearhead.cli.runs.listing import Arguments, run_listing
from clearhead.errors import ConfigError, did_you_mean

__all__ = ["ACTIONS", "Arguments", "run"]

ACTIONS = {
    "verify": "clearhead.cli.runs.verify",
    "export": "clearhead.cli.runs.export",
    "import": "clearhead.cli.runs.import_",
}
"""Action -> its module."""


def run(argv: Sequence[str]) -> int:
    """List the runs, or do to them what the first word says."""
    if not argv or argv[0].startswith("-"):
        return run_listing(argv)
    action, *rest = argv
    if action not in ACTIONS:
        raise ConfigError(f"unknown action '{action}': {did_you_mean(action, ACTIONS)}; without one, runs lists them")
    return import_module(ACTIONS[action]).run(rest)
