"""The studio: one local page on which a model is trained, watched, played with and understood."""
