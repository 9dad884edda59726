"""Tokens per second of processor time, ours beside llama2.c, nanoGPT and transformers, in one run.

    gcc -Ofast -fopenmp -o LLAMA2C/run LLAMA2C/run.c -lm
    python benchmarks/generate.py --corpus tinyshakespeare.txt --nanogpt PATH --llama2c LLAMA2C --threads 1 [--json]

All models have random weights, the same sizes and a vocabulary of 65, begin with one token and take the likeliest
until the context is full. Rounds alternate between the sides; a ratio is their median. Processor time is that of all
threads, so a machine that is shared slows nobody's figure; --threads holds for every side. llama2.c's is what 240
tokens cost beyond the first 16, so that reading its file does not count; its architecture is ours without the norm of
queries and keys. transformers runs GPT-2, which is its fastest.
"""

import contextlib
import io
import os
import resource
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does

import numpy as np
import torch
from machine import arguments, command, facts, show
from nanogpt import load_module

from clearhead import api
from clearhead.config import PRESETS, GPTConfig, SamplingConfig, Weights
from clearhead.generation.batch import Batch
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.models.weights import with_weights
from clearhead.tokenizers.char import CharTokenizer

V, CONTEXT = 65, 256
SIZES = {"0.8M": {"n_layer": 4, "n_head": 4, "n_embd": 128}, "10.6M": {"n_layer": 6, "n_head": 6, "n_embd": 384}}
Side = Callable[[], float]
"""Seconds of processor time for one token of one row."""


def timed(work: Callable[[], object], tokens: int) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) / tokens


def our_gpt(size: Mapping[str, int], **changes: Any) -> GPTLanguageModel:
    torch.manual_seed(1)
    config = GPTConfig(**{**PRESETS["modern"], **size, "vocab_size": V, "block_size": CONTEXT, **changes})
    model = GPTLanguageModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return model


def ours(
    model: LanguageModel, rows: int = 1, tokens: int = CONTEXT - 1, temperature: float = 0, guess: bool = True
) -> Side:
    """Our batch, as generate and serve use it."""
    sampling = SamplingConfig(temperature=temperature)

    def side() -> float:
        batch = Batch(model, rows, guess=guess)
        for row in range(rows):
            batch.admit([row % V], sampling)
        return timed(lambda: [batch.step() for _ in range(tokens)], tokens * rows)

    return side


def nanogpt(checkout: Path, size: Mapping[str, int], rows: int = 1, tokens: int = 64) -> Side:
    """nanoGPT's own generate, which keeps no cache; fewer tokens, so its contexts are shorter than ours."""
    module = load_module(checkout)
    with contextlib.redirect_stdout(io.StringIO()):
        model = module.GPT(module.GPTConfig(**size, vocab_size=V, block_size=CONTEXT, bias=False, dropout=0.0)).eval()
    idx = torch.arange(rows)[:, None] % V
    return lambda: timed(lambda: model.generate(idx, tokens, top_k=1), tokens * rows)


def transformers(size: Mapping[str, int], rows: int = 1, tokens: int = CONTEXT - 1) -> Side:
    """GPT-2 of transformers, its generate with a cache."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape: dict[str, Any] = {
        "vocab_size": V,
        "n_positions": CONTEXT,
        "bos_token_id": None,
        "eos_token_id": None,
        **size,
    }
    model: Any = GPT2LMHeadModel(GPT2Config(**shape)).eval()
    idx = torch.arange(rows)[:, None] % V
    settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    mask = torch.ones_like(idx)
    return lambda: timed(lambda: model.generate(idx, attention_mask=mask, **settings), tokens * rows)


def llama2c(checkout: Path, size: Mapping[str, int], folder: Path, threads: int) -> Side:
    """llama2.c's compiled `run`, on a file of random weights that never end a text."""
    program, model, words = checkout / "run", folder / "model.bin", folder / "tokenizer.bin"
    if not program.is_file():
        raise SystemExit(f"{checkout} holds no compiled run; the head of this file says how to make it")
    write_llama(model, words, size)

    def seconds(tokens: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told, _ = command(
            [str(program), str(model), "-z", str(words), "-t", "0", "-n", str(tokens)],
            env={"OMP_NUM_THREADS": str(threads)},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert told, "a text is printed"
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return lambda: (seconds(CONTEXT) - seconds(16)) / (CONTEXT - 16)


def write_llama(model: Path, words: Path, size: Mapping[str, int]) -> None:
    """A model and a vocabulary in llama2.c's formats: seven numbers, then the matrices by kind, layer after layer."""
    rng = np.random.default_rng(0)
    C, L, H = size["n_embd"], size["n_layer"], size["n_head"]
    W, hs = round(8 * C / 3 / 8) * 8, C // H
    head = rng.standard_normal((V, C)) * 0.05
    head[:3] = 0  # its three special tokens: never the likeliest
    shapes = [(V, C), None, *[(L, C, C)] * 4, None, (L, W, C), (L, C, W), (L, W, C)]
    with model.open("wb") as file:
        file.write(struct.pack("7i", C, W, L, H, H, -V, CONTEXT))
        for shape in shapes:
            values = np.ones((L, C)) if shape is None else rng.standard_normal(shape) * 0.05
            file.write(values.astype("<f4").tobytes())
        for values in (np.ones(C), np.zeros((2, CONTEXT, hs // 2)), head):
            file.write(values.astype("<f4").tobytes())
    with words.open("wb") as file:
        file.write(struct.pack("i", 8))
        for i in range(V):
            piece = b" " if i == 3 else b"t%d" % i
            file.write(struct.pack("fi", -1.0, len(piece)) + piece)


def mixture(corpus: Path, gpt: GPTLanguageModel) -> MixtureLanguageModel:
    """A GPT with the n-gram of a text, of the order that such texts choose."""
    text = corpus.read_text(encoding="utf-8")
    tokenizer = CharTokenizer.train([text])
    if tokenizer.vocab_size != V:
        raise SystemExit(f"{corpus} has {tokenizer.vocab_size} different characters; name one that has {V}")
    return MixtureLanguageModel(NgramLanguageModel.fit(tokenizer.encode(text), V, 6), gpt, 0.5).eval()


def compare(sides: Mapping[str, Side], rounds: int) -> dict[str, Any]:
    """Tokens per second of each side, and of the first over each other: medians over alternating rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # what is made at first use
    for number in range(rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            seconds[name].append(sides[name]())
    first, *others = sides
    found: dict[str, Any] = {name: round(1 / statistics.median(times)) for name, times in seconds.items()}
    for name in others:
        ratios = [b / a for a, b in zip(seconds[first], seconds[name], strict=True)]
        found[f"{first} / {name}"] = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} .. {max(ratios):.2f})"
    return found


def trained(run: Path, rounds: int) -> dict[str, Any]:
    """A run's mixture, drawn at temperature 1 with its n-gram's guesses and without, beside a GPT-2 of that size."""
    model = api.load(run.name, out=run.parent).model
    if not isinstance(model, MixtureLanguageModel) or model.block_size != CONTEXT:
        raise SystemExit(f"{run} holds no mixture with a context of {CONTEXT}; train one")
    config, found = model.gpt.config, {}
    size = {"n_layer": config.n_layer, "n_head": config.n_head, "n_embd": config.n_embd}
    for kind in ("float32", "bfloat16", "int8"):
        small = with_weights(model, kind)
        sides = {
            "guessing": ours(small, temperature=1),
            "without": ours(small, temperature=1, guess=False),
            "transformers": transformers(size),
        }
        found[f"{run.name}, {model.gpt.num_parameters():,}, {kind}"] = compare(sides, rounds)
    return found


def measure(
    corpus: Path, nanogpt_at: Path | None, llama2c_at: Path | None, run: Path | None, threads: int, rounds: int
) -> dict[str, Any]:
    """Every comparison; those with nanoGPT and llama2.c where their checkouts are given, with a run where one is."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(corpus, nanogpt_at, llama2c_at, threads, rounds, Path(folder))
    return {**found, **(trained(run, rounds) if run else {})}


def _measure(
    corpus: Path, nanogpt_at: Path | None, llama2c_at: Path | None, threads: int, rounds: int, folder: Path
) -> dict[str, Any]:
    found = {}
    for name, size in SIZES.items():
        gpt = our_gpt(size)
        sides = {"ours": ours(gpt), "transformers": transformers(size)}
        if nanogpt_at:
            sides["nanoGPT"] = nanogpt(nanogpt_at, size)
        found[f"{name}, batch 1"] = compare(sides, rounds)
        sides = {"ours": ours(gpt, 32, 127), "transformers": transformers(size, 32, 127)}
        found[f"{name}, batch 32"] = compare(sides, rounds)
        sides = {"mixture": ours(mixture(corpus, gpt), guess=False), "its GPT": ours(gpt)}  # guesses need training
        found[f"{name}, mixture"] = compare(sides, rounds)
        plain = our_gpt(size, qk_norm=False)
        kinds: tuple[Weights, ...] = ("int8", "bfloat16")
        sides = {"ours": ours(plain), **{kind: ours(with_weights(plain, kind)) for kind in kinds}}
        for kind in kinds:
            smaller = with_weights(gpt, kind)
            rounded = {kind: ours(smaller), "transformers": transformers(size)}
            found[f"{name}, {kind}"] = compare(rounded, rounds)
            rounded = {kind: ours(smaller, 32, 127), "transformers": transformers(size, 32, 127)}
            found[f"{name}, {kind}, batch 32"] = compare(rounded, rounds)
        if llama2c_at:
            peer = llama2c(llama2c_at, size, folder, threads)
            found[f"{name}, beside C"] = compare({"ours": ours(plain), "llama2.c": peer}, rounds)
            found[f"{name}, int8 beside C"] = compare({"int8": sides["int8"], "llama2.c": peer}, rounds)
        found[f"{name}, weights"] = compare(sides, rounds)
    return found


def main() -> int:
    parser = arguments("Tokens per second, ours beside others'.")
    parser.add_argument("--corpus", type=Path, required=True, help="one text file of 65 different characters")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--llama2c", type=Path, help="a checkout of llama2.c with its run compiled")
    parser.add_argument("--run", type=Path, help="the folder of a trained mixture, its context 256")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    figures = measure(chosen.corpus, chosen.nanogpt, chosen.llama2c, chosen.run, chosen.threads, chosen.rounds)
    show({**figures, "threads": chosen.threads, **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
