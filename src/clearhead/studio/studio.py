"""All that one studio is made of: a folder of runs, what it knows of them, and who does the work."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

from starlette.requests import Request

from clearhead.studio.apart import Lane
from clearhead.studio.board import Board
from clearhead.studio.courses import Courses
from clearhead.studio.jobs import Jobs
from clearhead.studio.models import Models
from clearhead.studio.processes import Processes
from clearhead.studio.scoring import Scoring
from clearhead.studio.texts import Texts

ASIDE = ".studio"
"""The folder beside the runs that holds what is the studio's own: texts, jobs, lessons that are being told."""
KEPT = 64 << 20
"""Bytes of answers that are kept."""


class Studio:
    """A folder of runs, opened. Everything that must last lies in the folder: a server that is killed loses nothing."""

    def __init__(self, out: Path) -> None:
        self.out = out.absolute()
        aside = self.out / ASIDE
        processes = Processes()
        self.jobs = Jobs(aside / "jobs", processes)
        self.texts = Texts(aside / "texts")
        self.courses = Courses(aside / "lessons", self.out / "learn", processes)
        self.board = Board(self.out, self.jobs)
        self.models, self.scoring = Models(), Scoring()
        self.closing = False
        """Streams end, so that the server can."""
        self.on_close: list[Callable[[], None]] = []
        self.dear, self.quick = Lane(), Lane()
        """Who looks inside: what takes seconds, and what is over in a moment."""
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()

    def close(self) -> None:
        """The server is to stop: streams end, nothing new is taken. What trains goes on."""
        self.closing = True
        for call in (self.dear.close, self.quick.close, *self.on_close):
            call()

    @property
    def busy(self) -> bool:
        """Whether a look is being made."""
        return self.dear.busy or self.quick.busy

    async def remembered(self, key: Hashable, make: Callable[[], bytes], *, quick: bool = False) -> bytes:
        """What `make` makes, or has made for this key before; what is quick does not wait for what takes long."""
        lane = self.quick if quick else self.dear
        if key not in self._kept:
            self._keep(key, await lane.do(lambda: self._kept.get(key) or make()))
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: Hashable, made: bytes) -> None:
        self._kept[key] = made
        size = sum(map(len, self._kept.values()))
        while size > KEPT and len(self._kept) > 1:
            size -= len(self._kept.popitem(last=False)[1])


def studio_of(http: Request) -> Studio:
    """The studio that a request came to."""
    return http.app.state.studio
