"""One browser and one studio for all tests of this folder; every page is watched for what must never happen."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from conftest import POEM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader"]
"""3-D needs WebGL, and a test machine has no graphics card."""
PATIENCE = 60_000
"""Milliseconds; a page that is ready goes on at once."""


@dataclass
class Studio:
    """A studio in a process of its own."""

    out: Path
    process: subprocess.Popen[str]
    link: str
    """Opens the page; whoever has it may train."""

    @property
    def address(self) -> str:
        """Without the key."""
        return self.link.split("/?")[0]

    @property
    def token(self) -> str:
        """The key."""
        return self.link.split("token=")[1]

    def close(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, and wait for that."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(20)


@contextmanager
def studio_on(out: Path, port: int = 0) -> Iterator[Studio]:
    """A studio of a folder."""
    words = [sys.executable, "-m", "clearhead", "studio", "--out", str(out), "--port", str(port), "--no_browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.match(r"ready (http://\S+)", process.stdout.readline())
    assert found is not None, "the studio did not say where it is"
    studio = Studio(out, process, found.group(1))
    try:
        yield studio
    finally:
        studio.close()
        process.stdout.close()


@dataclass
class Watch:
    """What a page said and asked for."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Parts of errors that a test provokes."""

    def follow(self, page: "Page") -> None:
        """Write down what this page does from now on."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def check(self) -> None:
        """Nothing went wrong in the page (what its policy forbids is an error), and nothing left this machine."""
        unexpected = [error for error in self.errors if not any(part in error for part in self.expected)]
        assert unexpected == []
        elsewhere = [url for url in self.requests if urlsplit(url).hostname not in (None, "127.0.0.1")]
        assert elsewhere == []


@dataclass
class Visitor:
    """A person in front of a browser."""

    context: "BrowserContext"
    watch: Watch

    def open(self, studio: Studio, address: str = "") -> "Page":
        """A new tab with this address behind the "#"."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        self.watch.follow(page)
        page.goto(f"{studio.link}#{address}")
        return page


def ready(page: "Page", view: str) -> Any:
    """The section of a view, when it stands."""
    section = page.locator(f"section[data-view={view}]")
    section.and_(page.locator("[data-state=ready], [data-state=error]")).wait_for()
    assert section.get_attribute("data-state") == "ready", section.inner_text()
    return section


def _program() -> str:
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail("CI has no Chromium: the studio's page would go untested")
    pytest.skip("there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium; no longer than a file's tests, for an event loop runs meanwhile, and others have loops of their own."""
    program = _program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def visitor(browser: "Browser") -> Iterator[Visitor]:
    """A person with a fresh browser; at the end nothing must have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    made = Visitor(context, Watch())
    yield made
    context.close()
    made.watch.check()


@pytest.fixture
def empty_studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio of a folder that is not there yet. Ask for it before the visitor: then it ends after its pages."""
    with studio_on(tmp_path / "runs") as running:
        yield running


@pytest.fixture(scope="session")
def studio_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tiny runs on one text: `poem` (a GPT) and `table` (a bigram)."""
    import clearhead

    folder = tmp_path_factory.mktemp("studio")
    text = folder / "poem.txt"
    text.write_text(POEM * 40, encoding="utf-8")
    common: Any = {"out": folder / "runs", "progress": False, "device": "cpu", "eval_iters": 2, "warmup_iters": 3}
    shape: Any = {"n_embd": 32, "n_head": 2, "n_layer": 2, "block_size": 32, "batch_size": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        clearhead.train(text, name="poem", max_iters=120, eval_interval=40, save_interval=40, keep=4, **shape, **common)
        clearhead.train(text, name="table", model="bigram", max_iters=80, eval_interval=20, **common)
    return folder / "runs"


@pytest.fixture(scope="session")
def studio(studio_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio of these runs, which tests only look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        with studio_on(studio_runs) as running:
            yield running
