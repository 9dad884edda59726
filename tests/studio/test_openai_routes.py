"""The OpenAI routes of the studio: every run of the folder, as it is now."""

import shutil
from pathlib import Path
from typing import Any

import clearhead
from clearhead.api import resume
from studio.opened import Client, address, opened


def models(client: Client) -> set[str]:
    return {model["id"] for model in client.get("/v1/models")["data"]}


def complete(client: Client, model: str, **asked: Any) -> Any:
    return client.post("/v1/completions", model=model, prompt="The ", max_tokens=8, seed=3, **asked)


def test_runs_write_as_generate_writes(atelier: Client, atelier_runs: Path) -> None:
    assert models(atelier) == {"poem", "verse", "names"}
    found = complete(atelier, "poem", logprobs=3)["choices"][0]
    assert found["text"] == clearhead.load(atelier_runs / "poem").generate("The ", max_new_tokens=8, seed=3)
    assert len(found["logprobs"]["tokens"]) == 8
    assert all(len(top) >= 3 for top in found["logprobs"]["top_logprobs"])
    asked = {"model": "poem", "prompt": "The ", "max_tokens": 8, "seed": 3, "stream": True}
    streamed = atelier.ask("POST", "/v1/completions", asked, atelier.key)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert streamed.body.endswith(b"data: [DONE]\n\n")


def test_the_shelf_follows_the_folder(tmp_path: Path, atelier_runs: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(atelier_runs / "poem", out / "poem")
    with opened(out) as client:
        assert models(client) == {"poem"}
        text = complete(client, "poem")["choices"][0]["text"]
        shutil.copytree(atelier_runs / "names", out / "names")
        assert models(client) == {"poem", "names"}
        client.post(address("poem", "rename"), name="other")
        assert models(client) == {"other", "names"}
        assert complete(client, "other")["choices"][0]["text"] == text
        assert client.refused("POST", "/v1/completions", model="poem", prompt="a")[2] == "model_not_found"
        client.post(address("names", "delete"), confirm="names")
        assert models(client) == {"other"}


def test_a_run_that_has_trained_on_is_read_again(tmp_path: Path, atelier_runs: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(atelier_runs / "poem", out / "poem")
    with opened(out) as client:
        before = client.post(address("poem", "logits"), text="The ")
        first = complete(client, "poem", logprobs=0)["choices"][0]["logprobs"]["token_logprobs"]
        resume(out / "poem", max_iters=40, progress=False)
        after = client.post(address("poem", "logits"), text="The ")
        assert (before["step"], after["step"]) == (30, 40)
        assert before["logits"] != after["logits"]
        assert complete(client, "poem", logprobs=0)["choices"][0]["logprobs"]["token_logprobs"] != first


def test_a_broken_run_is_not_served(tmp_path: Path, atelier_runs: Path) -> None:
    shutil.copytree(atelier_runs / "poem", tmp_path / "poem")
    (tmp_path / "poem" / "config.toml").write_text("broken =", encoding="utf-8")
    with opened(tmp_path) as client:
        assert models(client) == set()
