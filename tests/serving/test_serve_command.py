"""`clearhead serve` as a program: ready, asked, told to stop."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clearhead.cli.main import main
from clearhead.errors import ConfigError
from clearhead.serving.template import Template


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ready_answers_and_drains(served_runs: Path):
    words = ["serve", str(served_runs / "poem"), "--port", "0", "--max_new_tokens", "20000"]
    server = subprocess.Popen(
        [sys.executable, "-m", "clearhead", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    ready, address = server.stdout.readline().split()
    assert ready == "ready"
    port = int(address.rpartition(":")[2])
    assert address == f"http://127.0.0.1:{port}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"model": "poem", "prompt": "The ", "max_tokens": 3_000})
    answers = []

    def ask() -> None:
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        answers.append(connection.getresponse().read())

    asking = threading.Thread(target=ask)
    asking.start()
    while b"clearhead_texts_running 1" not in get(port, "/metrics"):
        assert asking.is_alive()
        time.sleep(0.01)
    server.send_signal(signal.SIGTERM)
    asking.join(60)
    assert len(json.loads(answers[0])["choices"][0]["text"]) == 3_000, "what was open is finished"
    assert server.wait(30) == 0
    with pytest.raises(ConnectionRefusedError):
        get(port, "/health")
    assert server.stdout.read() == ""
    assert server.stderr is not None
    assert server.stderr.read() == ""


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse().read()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "add --key_file"),
        (["--host", "0.0.0.0", "--key_file", "keys"], "add --allowed_hosts"),
        (["--key_file", "none"], "key_file=none cannot be read"),
        (["--key_file", "empty"], "holds no key"),
        (["--port", "70000"], "port=70000 is outside"),
        (["--chat_template", "half.toml"], "lacks reply"),
        (["--slots", "0"], "slots=0 must be at least 1"),
        (["nobody"], "no run 'nobody'"),
        (["--max_memory", "1", "--slots", "4096"], "more than the 1 MB there are"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line(
    served_runs: Path, tmp_path: Path, monkeypatch, capsys, words: list[str], said: str
):
    monkeypatch.chdir(tmp_path)
    Path("keys").write_text("0123456789abcdef\n")
    Path("empty").write_text("\n")
    Path("half.toml").write_text('user = "{content}"\nassistant = "{content}"\n')
    runs = [] if words == ["nobody"] else [str(served_runs / "poem")]
    assert main(["serve", *runs, *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert "0123456789abcdef" not in told


def test_templates(tmp_path: Path):
    file = tmp_path / "chat.toml"
    file.write_text(
        'system = "{content}\\n"\nuser = "Q: {content}\\n"\nassistant = "A: {content}\\n"\n'
        'reply = "A:"\nstop = ["\\nQ:"]\n'
    )
    template = Template.read(file)
    turns = [("system", "S {content}"), ("user", "{0}"), ("assistant", "no"), ("user", "why?")]
    assert template.prompt(turns) == "S {content}\nQ: {0}\nA: no\nQ: why?\nA:"
    assert template.stop == ("\nQ:",)
    for broken, said in (
        ("user = 1", "lacks assistant"),
        ("usr = 'a'", "did you mean 'user'"),
        ("[", "no readable TOML"),
    ):
        file.write_text(broken)
        with pytest.raises(ConfigError, match=said):
            Template.read(file)
