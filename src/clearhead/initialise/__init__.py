"""Weights before the first step, by name."""

from clearhead.initialise.named import default_name, expected_first_loss, initialise, names_for

__all__ = ["default_name", "expected_first_loss", "initialise", "names_for"]
