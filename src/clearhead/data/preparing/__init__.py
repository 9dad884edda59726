"""A text of any size becomes a folder of shards: `sharding.py` leads through the files beside it."""
