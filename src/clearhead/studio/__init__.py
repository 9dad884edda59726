<<<<<<< HEAD
"""The studio: a page where a model is trained, watched, played with and understood."""
=======
"""The studio: one local page on which a model is trained, watched, played with and understood."""
>>>>>>> 04cc00cacceb0e41a43b5be02956eb8bd57ebf0c
