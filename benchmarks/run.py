"""Measure everything that needs nothing but a corpus, and write docs/benchmarks.md.

python benchmarks/run.py [--corpus FILE] [--only startup ladder] [--nanogpt PATH] [--lmplz PATH] [--soak MINUTES]
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import budgets
import count_models
import footprint
import generate
import gpu_steps
import hovering
import inspecting
import page
import saving
import serve
import serve_soak
import shards
import sharing
import soak
import startup
import step_throughput
import studio_cost
import time_to_loss
import token_rates
import vocabularies
from machine import clearhead, facts

import clearhead as package
from clearhead.config import DataConfig
from clearhead.data.named import DOWNLOADABLE, PYTHON_DOCS, find_local
from clearhead.data.sources import read_source


@dataclass(frozen=True)
class Corpus:
    """The text that is measured on."""

    name: str
    argument: str
    """What the command line is given: a path, or a name."""
    text: str


def find_corpus(asked: Path | None) -> Corpus:
    """The file that was asked for; else shakespeare where it is at hand, else the text that Python carries."""
    local = find_local(DOWNLOADABLE["shakespeare"]) if asked is None else asked
    argument = PYTHON_DOCS if local is None else str(local)
    source = read_source([argument], DataConfig())
    name = "shakespeare" if asked is None and local else source.name
    return Corpus(name, argument, "\n".join(source.documents))


class Bench:
    """The measurements, in a folder of their own with an empty cache."""

    def __init__(self, corpus: Corpus, folder: Path, chosen: argparse.Namespace) -> None:
        self.corpus, self.folder, self.chosen = corpus, folder, chosen
        self.run: str | None = None

    def environment(self, name: str) -> dict[str, str]:
        """An environment whose cache is empty."""
        return {"CLEARHEAD_CACHE": str(self.folder / f"cache-{name}")}

    def startup(self) -> dict[str, Any]:
        return startup.measure()

    def ladder(self) -> dict[str, Any]:
        told, seconds = clearhead("ladder", self.corpus.argument, "--json", env=self.environment("ladder"))
        columns = ("name", "nats_per_token", "bits_per_char", "parameters", "fit_seconds", "context", "note")
        rungs = [
            {c: round(rung[c], 4) if isinstance(rung[c], float) else rung[c] for c in columns}
            for rung in json.loads(told)["rungs"]
        ]
        return {"seconds": round(seconds, 1), "rungs": rungs}

    def tokenizers(self) -> dict[str, Any]:
        copies = max(1, round(10e6 / len(self.corpus.text)))
        return {"rates": token_rates.measure(self.corpus.text * copies, 3)}

    def shards(self) -> dict[str, Any]:
        text = self.folder / "text.txt"
        text.write_text(self.corpus.text, encoding="utf-8")
        return shards.measure(text, megabytes=64, gigabytes=1)

    def adamw(self) -> dict[str, Any]:
        return self.train(*page.ADAMW.split())

    def train(self, *flags: str) -> dict[str, Any]:
        words = ("train", self.corpus.argument, *flags, "--out", str(self.folder / "runs"), "--json")
        told, seconds = clearhead(*words, env=self.environment("train"))
        said = json.loads(told)
        self.run = said["run"]
        return {
            "seconds_of_the_command": round(seconds, 1),
            "seconds_of_training": round(said["seconds"], 1),
            "steps": said["steps"],
            "val_nats_per_token": round(said["val_nats_per_token"], 4),
            "val_bits_per_char": round(said["val_bits_per_char"], 4),
            "mixture_val_nats_per_token": next(
                round(rung["nats_per_token"], 4) for rung in said["ladder"]["rungs"] if rung["name"] == "mixture"
            ),
        }

    def generate(self) -> dict[str, Any]:
        if self.run is None:
            self.train()
        run = package.load(self.run)
        return {f"{count}_at_once": _tokens_per_second(run, count) for count in (1, 8)}

    def decoding(self) -> dict[str, Any]:
        corpus, chosen = Path(self.corpus.argument), self.chosen
        others = chosen.nanogpt, chosen.llama2c, chosen.mixture
        return {
            f"{threads} thread{'s' if threads > 1 else ''}, {name}": figures
            for threads in (1, 2)
            for name, figures in generate.measure(corpus, *others, threads, 5).items()
        }

    def serving(self) -> dict[str, Any]:
        return serve.measure(clients=64, rounds=5, corpus=self.corpus.argument)

    def counting(self) -> dict[str, Any]:
        return count_models.measure(self.corpus.text, count_models.ORDERS, 5, self.chosen.lmplz)

    def budgets(self) -> dict[str, Any]:
        chosen = self.chosen
        return {"runs": budgets.measure(chosen.times, chosen.corpora, chosen.seeds, chosen.nanogpt)}

    def nanogpt(self) -> dict[str, Any]:
        return step_throughput.measure(Path(self.corpus.argument), self.chosen.nanogpt)

    def time_to_loss(self) -> dict[str, Any]:
        return time_to_loss.measure(Path(self.corpus.argument), self.chosen.nanogpt, repeats=3)

    def footprint(self) -> dict[str, Any]:
        return {"runs": list(footprint.measure(self.corpus.argument))}

    def sharing(self) -> dict[str, Any]:
        return sharing.measure(4.0)

    def studio(self) -> dict[str, Any]:
        return studio_cost.measure(self.corpus.argument, pairs=12)

    def hovering(self) -> dict[str, Any]:
        return hovering.measure(self.corpus.argument)

    def gpu(self) -> dict[str, Any]:
        return gpu_steps.measure_sizes(self.chosen.nanogpt)

    def vocabularies(self) -> dict[str, Any]:
        asked = (vocabularies.CORPORA, list(vocabularies.TOKENIZERS), vocabularies.SECONDS, vocabularies.SEEDS)
        means = vocabularies.summary(list(vocabularies.measure(*asked)))
        return {"processor_seconds": vocabularies.SECONDS, "means": means}

    def inspecting(self) -> dict[str, Any]:
        return inspecting.measure(self.corpus.argument, self.corpus.text)

    def saving(self) -> dict[str, Any]:
        return saving.measure(self.corpus.argument, steps=6, repeat=5)

    def soak(self) -> dict[str, Any]:
        return soak.soak(self.chosen.soak, seed=1)

    def serving_soak(self) -> dict[str, Any]:
        return serve_soak.soak(self.chosen.soak, clients=16)


def _tokens_per_second(run: "package.Run", count: int, tokens: int = 1_000) -> str:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run.samples("", max_new_tokens=tokens, num_samples=count)
        seconds.append(time.perf_counter() - start)
    return f"{count * tokens / min(seconds):,.0f} tokens per second"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure, and write docs/benchmarks.md.")
    parser.add_argument("--corpus", type=Path, help="a text file (default: shakespeare if at hand, else python-docs)")
    parser.add_argument("--only", nargs="+", choices=list(page.SECTIONS), help="measure these sections only")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT, to measure beside it")
    parser.add_argument("--gpu", action="store_true", help="measure on the GPU too")
    parser.add_argument("--llama2c", type=Path, help="a checkout of llama2.c with its run compiled")
    parser.add_argument("--mixture", type=Path, help="the folder of a trained mixture, large and of context 256")
    parser.add_argument("--lmplz", type=Path, help="KenLM's lmplz, to count beside it")
    parser.add_argument("--times", nargs="+", default=budgets.TIMES, help="time budgets to train for")
    parser.add_argument("--corpora", nargs="+", default=budgets.CORPORA, help="texts to train on for these times")
    parser.add_argument("--seeds", nargs="+", type=int, default=budgets.SEEDS, help="of these runs")
    parser.add_argument(
        "--soak", type=float, default=0.0, help="minutes of kills and resumes, and as many of load on a server"
    )
    return parser.parse_args()


def main() -> int:
    chosen = parse()
    corpus = find_corpus(chosen.corpus)
    missing = {name for name, flag in page.NEEDS.items() if not getattr(chosen, flag)}
    if absent := sorted(missing.intersection(chosen.only or ())):
        raise SystemExit(f"--only {absent[0]} needs --{page.NEEDS[absent[0]]}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(corpus, Path(folder), chosen)
        for name in chosen.only or [name for name in page.SECTIONS if name not in missing]:
            print(f"measuring {name} ...", flush=True)
            measured = {
                "date": time.strftime("%Y-%m-%d"),
                "machine": facts(),
                "corpus": {"name": corpus.name, "characters": len(corpus.text)},
                "figures": getattr(bench, name)(),
            }
            page.record({name: measured})  # after each: a failure later loses nothing
    print(f"wrote {page.PAGE.relative_to(page.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
