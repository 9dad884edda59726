"""Experiments: one knob, or two, turned over paired seeds; runs like any other, and one verdict."""
