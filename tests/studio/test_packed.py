"""Arrays on their way to the page: every bit of them, in one piece, and quickly asked for."""

import asyncio
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

import clearhead
from clearhead.studio.packed import pack, unpack
from clearhead.studio.studio import Studio
from clearhead.studio.views_packed import SIDE, attention_packed
from studio.opened import Client


def test_what_is_packed_comes_out_bit_by_bit() -> None:
    x = np.array([[1.5, np.nan], [-np.inf, 3e38]], np.float32)
    packed = pack({"name": "ä", "none": None}, {"x": x, "empty": np.zeros((0, 3)), "y": np.arange(5.0)})
    document, arrays = unpack(packed)
    assert document == {"name": "ä", "none": None}
    np.testing.assert_array_equal(arrays["x"], x)
    assert arrays["empty"].shape == (0, 3)
    assert arrays["y"].tolist() == [0, 1, 2, 3, 4]
    assert (int.from_bytes(packed[:4], "little") + 4) % 4 == 0, "float32 must lie where a browser can read it"


def test_patterns_and_chains_are_those_of_python(atelier: Client, atelier_runs: Path) -> None:
    run = clearhead.load(atelier_runs / "poem")
    whole: Any = run.attention("The wind").view
    document, arrays = unpack(_bytes(atelier, "attention", text="The wind"))
    np.testing.assert_array_equal(arrays["wei"], whole.wei)
    assert document["tokens"] == list(whole.tokens)
    assert document["cell"] == 1
    assert document["step"] == run.step
    one: Any = run.attention("The wind", layer=1, head=0, position=3).view
    document, arrays = unpack(_bytes(atelier, "attention", text="The wind", layer=1, head=0, position=3))
    for name in ("q", "k", "v", "products", "scores", "wei", "wei_unscaled", "out"):
        np.testing.assert_array_equal(arrays[name], getattr(one.chain, name))
    np.testing.assert_array_equal(arrays["saved"], one.saved)
    assert (document["layer"], document["head"], document["position"]) == (1, 0, 3)


def test_a_long_text_has_the_largest_weights_of_blocks(poem: Path, tmp_path: Path) -> None:
    shape: Any = {"n_embd": 8, "n_head": 1, "n_layer": 1, "block_size": 300}
    run = clearhead.train(poem, out=tmp_path, progress=False, max_iters=1, batch_size=1, eval_iters=1, **shape)
    document, arrays = unpack(attention_packed(run))
    wei: Any = run.attention().view
    assert document["cell"] == 3
    assert arrays["wei"].shape == (1, 1, 100, 100)
    assert max(arrays["wei"].shape) <= SIDE
    assert arrays["wei"][0, 0, 7, 2] == wei.wei[0, 0, 21:24, 6:9].max()


def test_vectors_are_those_of_the_checkpoint(atelier: Client, atelier_runs: Path) -> None:
    run = clearhead.load(atelier_runs / "poem")
    _, arrays = unpack(_bytes(atelier, "vectors"))
    for found in run.embeddings().view.tables:  # type: ignore[union-attr]
        np.testing.assert_array_equal(arrays[found.table.name], found.table.vectors.astype(np.float32))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"text": "The wind", "layer": 9, "head": 0}, "there is no layer 9"),
        ({"text": ""}, "the text is empty"),
        ({"layer": "x"}, "cannot be read"),
        ({"lair": 1}, "unknown parameter 'lair'"),
    ],
)
def test_bad_input_is_one_line(asked: dict[str, Any], words: str, atelier: Client) -> None:
    answer = _asked(atelier, "attention", asked)
    assert answer.status == 400
    assert words in answer.json["error"]["message"]


def test_what_is_quick_does_not_wait_for_what_is_dear(tmp_path: Path) -> None:
    studio, done = Studio(tmp_path), threading.Event()

    async def both() -> bytes:
        dear = asyncio.create_task(studio.remembered("dear", lambda: b"dear" if done.wait(60) else b""))
        await asyncio.sleep(0.01)
        quick = await asyncio.wait_for(studio.remembered("quick", lambda: b"quick", quick=True), 30)
        assert not dear.done()
        done.set()
        return quick + await dear

    assert asyncio.run(both()) == b"quickdear"


def _asked(client: Client, what: str, asked: dict[str, Any]) -> Any:
    return client.ask("GET", f"/api/runs/poem/{what}?{urlencode(asked)}", headers=client.key)


def _bytes(client: Client, what: str, **asked: Any) -> bytes:
    answer = _asked(client, what, asked)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/octet-stream"
    return answer.body
