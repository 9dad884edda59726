"""One studio for all tests of this folder that do not train."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.opened import Client, opened


@pytest.fixture(scope="session")
def atelier_runs(served_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three tiny runs of its own: poem, verse, names."""
    out = tmp_path_factory.mktemp("studio") / "runs"
    shutil.copytree(served_runs, out)
    return out


@pytest.fixture(scope="session")
def atelier(atelier_runs: Path) -> Iterator[Client]:
    """A studio on them."""
    with opened(atelier_runs) as client:
        yield client
