"""The rungs of the ladder: one protocol, many models."""
