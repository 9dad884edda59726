"""The engine by itself: what is taken, admitted, told and let go of, without a server around it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearhead.api import Run
from clearhead.config import SamplingConfig, ServeConfig
from clearhead.runs.directory import RunDirectory
from clearhead.serving.engine import Engine
from clearhead.serving.errors import ApiError
from clearhead.serving.lane import Lane
from clearhead.serving.metrics import Metrics
from clearhead.serving.tickets import Request
from clearhead.serving.writing import Text, Vocabulary


@pytest.fixture(scope="module")
def run(served_runs: Path) -> Run:
    return Run(RunDirectory(served_runs / "poem"))


class Bench:
    """An engine whose readers are the test."""

    def __init__(self, run: Run, **settings) -> None:
        self.metrics = Metrics()
        self.config = ServeConfig(**{"slots": 2, "max_queue": 6, "max_queue_tokens": 1_000, **settings})
        self.engine = Engine(self.config, self.metrics, lambda call, *arguments: call(*arguments))
        self.run, self.vocabulary = run, Vocabulary(run.tokenizer)
        self.lane = self.new_lane()

    def new_lane(self, name: str = "poem") -> Lane:
        return Lane(name, self.run.model, self.vocabulary, self.config.slots)

    def request(
        self, tokens: int = 8, texts: int = 1, lane: Lane | None = None, seconds: float = 60, **more
    ) -> Request:
        ids = self.run.tokenizer.encode("The ").tolist()
        sampling = SamplingConfig(max_new_tokens=tokens, seed=1)
        self.woken = threading.Event()
        wanted = [Text(self.vocabulary, ids, sampling, number) for number in range(texts)]
        return Request(self.lane if lane is None else lane, wanted, time.monotonic() + seconds, self.woken.set, **more)

    def wait(self, request: Request) -> None:
        end = time.monotonic() + 20
        while not request.done:
            assert time.monotonic() < end
            time.sleep(0.002)


@pytest.fixture
def bench(run: Run) -> Iterator[Bench]:
    bench = Bench(run)
    yield bench
    bench.engine.stop()


def test_what_is_written_is_what_generate_writes(bench: Bench, run: Run):
    bench.engine.start()
    request = bench.request(tokens=50, texts=3)
    bench.engine.submit(request)
    bench.wait(request)
    assert [text.read().text for text in request.texts] == run.samples("The ", max_new_tokens=50, seed=1, num_samples=3)
    assert bench.metrics.requests["finished"] == 1
    assert bench.metrics.written_tokens == 150
    assert bench.metrics.prompt_tokens == 12


def test_the_queue_is_bounded_in_texts_and_in_tokens(bench: Bench):
    bench.engine.submit(bench.request(texts=4))
    with pytest.raises(ApiError, match="wait already") as full:
        bench.engine.submit(bench.request(texts=3))
    assert (full.value.status, full.value.retry_after) == (503, 1)
    bench.engine.submit(bench.request(texts=2))
    with pytest.raises(ApiError) as never:
        bench.engine.submit(bench.request(texts=7))
    assert never.value.status == 400, "trying again would not help"
    assert bench.metrics.requests["rejected"] == 1
    bench.engine.queue.drop(bench.engine.queue.waiting()[0].request)
    bench.engine.submit(bench.request(tokens=900))
    with pytest.raises(ApiError, match="3 texts and 928 tokens") as full:
        bench.engine.submit(bench.request(tokens=80))
    assert full.value.status == 503


def test_a_run_whose_slots_are_taken_holds_up_no_other(bench: Bench):
    busy = [bench.request(tokens=400, texts=1) for _ in range(2)]
    behind = bench.request(tokens=5)
    other = bench.request(tokens=5, lane=bench.new_lane("other"))
    for request in (*busy, behind, other):
        bench.engine.queue.most_tokens = 10_000
        bench.engine.submit(request)
    bench.engine.start()
    bench.wait(other)
    assert not behind.done
    assert not any(request.done for request in busy)
    bench.wait(behind)


def test_time_that_is_over(bench: Bench):
    bench.engine.queue.most_tokens = 1 << 20
    long = bench.request(tokens=100_000, texts=2, seconds=0.3)
    waits = bench.request(seconds=0.2)
    bench.engine.submit(long)
    bench.engine.submit(waits)
    bench.engine.start()
    bench.wait(long)
    bench.wait(waits)
    assert long.failure is not None
    assert (long.failure.status, long.failure.code) == (400, "time_limit")
    assert waits.failure is not None
    assert (waits.failure.status, waits.failure.code) == (503, "overloaded")
    assert bench.metrics.requests["expired"] == 2
    assert bench.lane.batch.free == 2


def test_cancelled_while_written_and_while_queued(bench: Bench):
    bench.engine.queue.most_tokens = 1 << 20
    requests = [bench.request(tokens=100_000, texts=2), bench.request(tokens=100_000, texts=2)]
    for request in requests:
        bench.engine.submit(request)
    bench.engine.start()
    time.sleep(0.1)
    for request in reversed(requests):
        bench.engine.cancel(request)
        bench.engine.cancel(request)
    for request in requests:
        bench.wait(request)
    assert bench.metrics.requests["cancelled"] == 2
    assert (bench.lane.batch.free, len(bench.engine.queue), bench.engine.queue.tokens) == (2, 0, 0)
    after = bench.request()
    bench.engine.submit(after)
    bench.wait(after)
    assert after.failure is None


def test_a_model_that_fails_takes_no_other_with_it(bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog):
    broken, sound = bench.new_lane("broken"), bench.request(tokens=200)
    monkeypatch.setattr(broken.batch, "step", lambda: [][0])
    failing = bench.request(lane=broken, texts=3)
    bench.engine.submit(failing)
    bench.engine.submit(sound)
    bench.engine.start()
    bench.wait(failing)
    bench.wait(sound)
    assert failing.failure is not None
    assert failing.failure.status == 500
    assert "IndexError" not in failing.failure.message
    assert "broken failed" in caplog.text
    assert sound.failure is None
    again = bench.request(lane=broken)  # its batch was made anew
    bench.engine.submit(again)
    bench.wait(again)
    assert again.failure is None


def test_a_prompt_that_fails_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog):
    bench.engine.start()
    bad = bench.request(lane=bench.new_lane("bad"))
    monkeypatch.setattr(bad.lane.batch, "admit", lambda *_, **__: [][0])
    bench.engine.submit(bad)
    bench.wait(bad)
    assert bad.failure is not None
    assert bad.failure.status == 500
    good = bench.request()
    bench.engine.submit(good)
    bench.wait(good)
    assert good.failure is None


def test_draining_and_stopping(bench: Bench):
    bench.engine.queue.most_tokens = 1 << 20
    bench.engine.start()
    open_ = bench.request(tokens=100_000)
    bench.engine.submit(open_)
    bench.engine.draining = True
    with pytest.raises(ApiError, match="shutting down") as refused:
        bench.engine.submit(bench.request())
    assert refused.value.status == 503
    assert not open_.done
    bench.engine.stop()
    assert open_.failure is not None
    assert open_.failure.status == 503
    assert not bench.engine.alive


def test_the_reader_of_a_stream_is_woken_seldom(bench: Bench):
    """Not for every token: with a thousand tokens a second that alone would keep a core busy."""
    told: list[int] = []
    request = bench.request(tokens=300, streaming=True)
    request.wake = lambda: told.append(request.texts[0].written)
    bench.engine.submit(request)
    bench.engine.start()
    bench.wait(request)
    time.sleep(0.05)
    assert told[0] == 1, "the first token at once"
    assert told[-1] == 300
    assert len(told) < 300


def test_counts_as_prometheus_reads_them():
    metrics = Metrics()
    metrics.gauges["texts_running"] = ("About.", lambda: 3)
    for seconds in (0.004, 0.2, 100.0):
        metrics.first_token.observe(seconds)
    lines = metrics.text().splitlines()
    assert "clearhead_texts_running 3" in lines
    assert 'clearhead_requests_total{outcome="rejected"} 0' in lines
    name = "clearhead_time_to_first_token_seconds"
    assert f'{name}_bucket{{le="0.01"}} 1' in lines
    assert f'{name}_bucket{{le="0.25"}} 2' in lines
    assert f'{name}_bucket{{le="+Inf"}} 3' in lines
    assert f"{name}_count 3" in lines
    for line in lines:
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2
