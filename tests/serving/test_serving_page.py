"""docs/serving.md is true: its curl commands are run, its Python is run, its table has the defaults."""

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from clearhead.config import ServeConfig
from serving.live import Live

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


CURL = [block.replace("\\\n", " ") for block in blocks("sh") if block.startswith("curl ")]


def here(text: str, live: Live) -> str:
    """With the address and the model of the tests' own server."""
    return text.replace("http://127.0.0.1:8000", live.address).replace("shakespeare", "poem")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("command", CURL, ids=lambda command: command.split()[1].rpartition("/")[2])
def test_the_curl_commands_answer(live: Live, command: str):
    said = subprocess.run(
        [*shlex.split(here(command, live)), "--silent", "--fail-with-body"], capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stdout + said.stderr
    if "stream" in command:
        assert said.stdout.endswith("data: [DONE]\n\n")
    else:
        assert "error" not in json.loads(said.stdout)


def test_there_are_commands():
    assert len(CURL) == 5


def test_the_python_runs(live: Live, capsys: pytest.CaptureFixture[str]):
    (block,) = blocks("py")
    exec(compile(here(block, live), "serving.md", "exec"), {"__name__": "page"})
    assert re.match(r"0 .*\n", capsys.readouterr().out)


def test_the_table_has_the_defaults():
    rows = dict(re.findall(r"^\| `--(\w+)` \| (\S+) \|", PAGE, re.MULTILINE))
    assert rows == {field.name: str(field.default) for field in dataclasses.fields(ServeConfig)}


def test_the_server_is_imported_by_nothing_else():
    """FastAPI costs a second: only who serves pays it."""
    script = (
        "import sys, clearhead.cli.serve, clearhead.api; sys.exit('fastapi' in sys.modules or 'uvicorn' in sys.modules)"
    )
    import sys

    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
