"""One server for all tests of this folder, and its runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.live import Live, make_runs, serving


@pytest.fixture(scope="session")
def served_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three tiny runs: poem, verse, names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return make_runs(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def live(served_runs: Path) -> Iterator[Live]:
    """A server of the three, that all tests share."""
    with serving([served_runs / name for name in ("poem", "verse", "names")]) as server:
        yield server
