"""Weights before the first step, by name."""
