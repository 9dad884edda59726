"""The studio: a page where a model is trained, watched, played with and understood."""
