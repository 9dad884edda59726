"""Which runs are in memory: read on first use, and the one unused for longest makes room for another."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clearhead.api import Run
from clearhead.config import ServeConfig
from clearhead.errors import ClearheadError, ConfigError
from clearhead.runs.checkpoint import MODEL
from clearhead.runs.directory import RunDirectory
from clearhead.runs.sharded import is_shard
from clearhead.serving.errors import ApiError, busy, short
from clearhead.serving.lane import Lane
from clearhead.serving.writing import Vocabulary
from clearhead.training.memory import free_memory

UNKNOWN_MEMORY = 4 << 30
"""Bytes for runs where the system does not tell what is free."""

log = logging.getLogger("clearhead.serving")


@dataclass(eq=False)
class Loaded:
    """A run in memory."""

    run: Run
    lane: Lane
    users: int = 0
    """Requests that it answers at the moment."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer, with what is looked up of it."""
        return self.lane.vocabulary


@dataclass(eq=False)
class Place:
    """A registered run, in memory or not."""

    directory: RunDirectory
    bytes: int
    """What it takes, or would: weights as they lie on the disk, and a cache of all slots."""
    created: int
    """Seconds since 1970."""
    loaded: Loaded | None = None
    taken: bool = False
    """Its bytes are counted: it is in memory, or being read."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is read: once is enough for all who ask."""


class Shelf:
    """The registered runs by their names; no other name leads to a file."""

    def __init__(self, runs: Sequence[RunDirectory], config: ServeConfig) -> None:
        self.config = config
        self.room = _room(config)
        self.places: dict[str, Place] = {}  # the least recently used first
        for run in runs:
            if run.name in self.places:
                raise ConfigError(f"two runs are called {run.name}; rename one folder, or serve one of them")
            self.register(run)

    def register(self, run: RunDirectory) -> None:
        """Let a run be asked for by its name; ConfigError when there will never be memory for it."""
        needs = footprint(run, self.config.slots)
        if needs > self.room:
            raise ConfigError(
                f"{run.name} takes {needs >> 20:,} MB with {self.config.slots} slots, more than the "
                f"{self.room >> 20:,} MB there are for runs; choose fewer --slots or a larger --max_memory"
            )
        self.places[run.name] = Place(run, needs, int(run.manifest_file.stat().st_mtime))

    @property
    def names(self) -> list[str]:
        """All registered names, in alphabetical order."""
        return sorted(self.places)

    def find(self, name: str) -> Place:
        """A registered run; ApiError (404) for any other name."""
        if name not in self.places:
            known = ", ".join(self.names)
            raise ApiError(
                404, f"there is no model {short(name)}; choose one of {known}", param="model", code="model_not_found"
            )
        return self.places[name]

    async def take(self, name: str) -> Loaded:
        """A run for one request, read from the disk if need be; give it back with `release`.

        ApiError (404) for an unknown name, (503) while all memory is in use, (422) for a run that is broken.
        """
        place = self.find(name)
        async with place.lock:
            self.places[name] = self.places.pop(name)
            if place.loaded is None:
                self._make_room(place.bytes)
                place.loaded = await self._read(place)
            place.loaded.users += 1
            return place.loaded

    def release(self, loaded: Loaded) -> None:
        """A request is done with a run."""
        loaded.users -= 1

    def _make_room(self, needed: int) -> None:
        """Let the runs that were unused for longest go until there is room; ApiError when all are in use."""
        for place in self.places.values():
            if self.taken + needed <= self.room:
                break
            if place.loaded is not None and place.loaded.users == 0:
                log.info("%s leaves the memory", place.directory.name)
                place.loaded, place.taken = None, False
        if self.taken + needed > self.room:
            raise busy("the memory is taken by models that are answering", retry_after=2)

    @property
    def loaded(self) -> int:
        """How many runs are in memory."""
        return sum(place.loaded is not None for place in self.places.values())

    @property
    def taken(self) -> int:
        """Bytes of the runs in memory, and of those that are being read."""
        return sum(place.bytes for place in self.places.values() if place.taken)

    async def _read(self, place: Place) -> Loaded:
        def read() -> Loaded:
            run = Run(place.directory)
            if run.config.trained == "gpt":  # the others have no matrices
                run = run.with_weights(self.config.weights)
            return Loaded(run, Lane(place.directory.name, run.model, Vocabulary(run.tokenizer), self.config.slots))

        place.taken = True
        try:
            return await asyncio.to_thread(read)
        except ClearheadError as error:
            place.taken = False
            log.error("%s cannot be read: %s", place.directory.name, error)
            name = place.directory.name
            raise ApiError(
                422, f"the model {name} cannot be read; the server's log says why", param="model", code="model_broken"
            ) from None


def footprint(run: RunDirectory, slots: int) -> int:
    """About how many bytes a run takes in memory: its weights, and keys and values of `slots` full windows."""
    weights = max(map(_weights_size, run.checkpoints.glob("*")), default=0)
    config = run.read_config()
    keys = 2 * config.architecture.n_layer * config.architecture.n_embd * config.train.block_size * 4
    return weights + (slots * keys if config.trained == "gpt" else 0)


def _weights_size(checkpoint: Path) -> int:
    """Bytes of its weights; of a checkpoint in parts with their moments, which are read too."""
    return sum(f.stat().st_size for f in checkpoint.glob("*") if f.name == MODEL or is_shard(f.name))


def _room(config: ServeConfig) -> int:
    """Bytes that runs may take."""
    if config.max_memory is not None:
        return config.max_memory << 20
    return (free_memory() or UNKNOWN_MEMORY) // 2
