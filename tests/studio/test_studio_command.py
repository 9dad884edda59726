"""The command: a link, a page, an end that leaves training alone."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from clearhead.cli.main import main
from clearhead.studio import page
from clearhead.studio.app import TIME
from studio.opened import Client, started

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_is_ready_without_torch_and_ends_well_when_told(tmp_path: Path, how: signal.Signals) -> None:
    with started(tmp_path / "runs") as program:
        assert program.client.get("/api/runs") == {"runs": []}
        maps = Path(f"/proc/{program.process.pid}/maps")
        if maps.exists():
            assert "libtorch" not in maps.read_text(), "what needs torch is imported when it is asked for"
        assert program.end(how) == 0


def test_a_long_look_does_not_hold_up_the_end(tmp_path: Path, atelier_runs: Path) -> None:
    with started(atelier_runs) as program:
        refused: list[Any] = []
        long = "/api/runs/poem/look/init?steps=1000000"
        asked = threading.Thread(target=lambda: refused.append(program.client.refused("GET", long)))
        asked.start()
        program.client.get("/api/runs/poem/look/next", prompt="The ")  # beside it
        assert program.end(signal.SIGINT) == 0
        asked.join(20)
        assert refused == [(503, "the studio closes; try again in 1 s", "overloaded")]


def test_a_port_that_is_taken_is_a_line(tmp_path: Path, atelier: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studio", "--out", str(tmp_path), "--port", str(atelier.port), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"clearhead: cannot listen on 127.0.0.1:{atelier.port}: ")
    assert said.count("\n") == 1


def test_the_link_is_opened_in_a_browser(tmp_path: Path) -> None:
    """By a stand-in: webbrowser runs whatever BROWSER names."""
    seen, program = tmp_path / "seen", tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    program.chmod(0o755)
    words = [sys.executable, "-m", "clearhead", "studio", "--out", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "BROWSER": str(program)})
    assert process.stdout is not None
    try:
        link = process.stdout.readline().split()[1]
        for _ in range(200):
            if seen.exists() and seen.read_text().endswith("\n"):
                break
            subprocess.run(["sleep", "0.05"], check=True)
        assert seen.read_text().strip() == link
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


def test_the_page_is_told_what_there_is(atelier: Client, atelier_runs: Path) -> None:
    state = atelier.get("/api/state")
    assert state["out"] == str(atelier_runs)
    assert state["models"] == ["bigram", "gpt", "mixture", "ngram"]
    assert state["presets"] == ["gpt2", "lecture", "modern"]
    assert state["defaults"] == {"time": TIME}
    assert "utf-8" in state["encodings"]


def test_every_file_of_the_page_and_of_the_documentation_is_answered(atelier: Client) -> None:
    assert len(page.FILES) > 20
    for name, file in page.FILES.items():
        answer = atelier.ask("GET", f"/static/{name}", headers=atelier.key)
        assert (answer.status, answer.body) == (200, file.read_bytes()), name
    for name in ("studio.md", "understanding.md", "lessons/index.md"):
        answer = atelier.ask("GET", f"/docs/{name}", headers=atelier.key)
        assert answer.body == (ROOT / "docs" / name).read_bytes()
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_scripts_travel_compressed(atelier: Client) -> None:
    import gzip

    headers = {**atelier.key, "accept-encoding": "gzip, br"}
    answer = atelier.ask("GET", "/static/app.js", headers=headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == page.FILES["app.js"].read_bytes()
