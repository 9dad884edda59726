"""What all tests share: folders of their own, and the texts they run on."""

import os
from pathlib import Path

import pytest

pytest_plugins = ("cli.shared_command", "serving.shared_server", "studio.shared_studio", "browser.shared_browser")
"""Second files named conftest would hide this one from `from conftest import`."""

ROOT = Path(__file__).parents[1]

POEM = """\
The wind went over the hill and the hill was still,
and the rain came after the wind and sang on the sill.
I love dogs, said the child, and the dogs love me;
I love cats, said the moon, and the cats love the sea.
What is the name of the road that goes over the hill?
It has no name, said the rain, it is still, it is still.
"""
"""A few lines of our own: small, repetitive, with every kind of character that matters."""


def corpus_file(name: str) -> Path:
    """A file of real text from CLEARHEAD_CORPORA or ../shared/corpora; the test is skipped where there is none."""
    folders = [*os.environ.get("CLEARHEAD_CORPORA", "").split(os.pathsep), str(ROOT.parent / "shared" / "corpora")]
    for folder in filter(None, folders):
        if (path := Path(folder) / name).is_file():
            return path.resolve()
    pytest.skip(f"{name} is not at hand: set CLEARHEAD_CORPORA to the folder that holds it")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a state that belong to this test run, never the user's."""
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("CLEARHEAD_STATE", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture
def poem(tmp_path: Path) -> Path:
    """A text of 9,396 characters."""
    path = tmp_path / "poem.txt"
    path.write_text(POEM * 29, encoding="utf-8")
    return path


@pytest.fixture
def shakespeare() -> Path:
    """Tiny Shakespeare, the lecture's text."""
    return corpus_file("tinyshakespeare.txt")


@pytest.fixture
def names() -> Path:
    """32,033 first names, one a line."""
    return corpus_file("names.txt")
