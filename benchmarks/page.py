"""docs/benchmarks.md, written from benchmarks/figures.json: what was measured, with which command, when, on what."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "figures.json"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """\
# Benchmarks

This page is written by `python benchmarks/run.py` (also `make bench`) from the figures it has just measured, kept in
`benchmarks/figures.json`; a section that was not measured this time keeps its figures, its date and its machine. Times
are wall clock. What a figure of loss means is told in [The ladder](ladder.md).
"""

ADAMW = "--optimizer adamw --learning_rate 0.001 --min_lr 0.0001 --decay cosine --weight_decay 0.1"

SECTIONS = {
    "startup": ("Start-up", "python benchmarks/startup.py", "Medians of fresh processes."),
    "ladder": (
        "The counted rungs",
        "clearhead ladder {corpus}",
        "The whole command, nothing cached: start, reading, tokens, choice of order, counting, scoring.",
    ),
    "tokenizers": (
        "Tokenizers",
        "python benchmarks/token_rates.py FILE",
        "Megabytes of UTF-8 per second, the best of three; the first row is the lecture's list comprehension.",
    ),
    "shards": (
        "Shards",
        "python benchmarks/shards.py FILE",
        "`clearhead prepare`, megabytes of UTF-8 per second. Of one process, by its processor time, medians in turns "
        "with the lecture's list comprehension, and for BPE with the library's `encode_batch_fast` on the same text, "
        "which neither reads nor writes nor hashes; then the whole command by the clock, one worker per core, with the "
        "resident memory of all its processes together.",
    ),
    "counting": (
        "Counting beside KenLM",
        "python benchmarks/count_models.py --corpus FILE --lmplz PATH",
        "Interpolated modified Kneser-Ney of the same order on the same training text; medians of rounds in turns; "
        "`ratio` is to lmplz with 1 GB, below 1 is faster. lmplz reads numbers and writes an ARPA file; "
        "ours reads text "
        "and writes counts, and in process it counts alone. Both models are scored on the same validation text.",
    ),
    "budgets": (
        "What a time budget reaches",
        "python benchmarks/budgets.py --times 60s 2m --nanogpt PATH",
        "`clearhead train TEXT --time BUDGET`, whole processes with nothing cached; losses in nats per "
        "token over the full "
        "validation split, of the n-gram, of the GPT alone and of the mixture. Where it is shown, nanoGPT's recipe for "
        "a CPU had the same wall time, its steps counted off beforehand.",
    ),
    "train": (
        "Training with the default settings",
        "clearhead train {corpus}",
        "Planned for three minutes; one run. The loss is that of its best checkpoint over the full "
        "validation split, alone and in the mixture.",
    ),
    "generate": (
        "Generation",
        "clearhead generate --max_new_tokens 1000",
        "Tokens per second of the run above, by `Run.samples`, the best of three.",
    ),
    "decoding": (
        "Generation beside others",
        "python benchmarks/generate.py --corpus FILE --nanogpt PATH --llama2c PATH --run RUN --threads 1",
        "Tokens per second of processor time, of all threads together; a ratio is the median of five alternating "
        "rounds, its least and greatest in brackets. Random weights, a vocabulary of 65, from one token to a context "
        "of 256. llama2.c has our architecture without the norm of queries and keys (ours had none beside it), "
        "transformers runs GPT-2, nanoGPT keeps no cache and writes its first 64 tokens only. `guessing` and "
        "`without`: a trained mixture at temperature 1, its texts drawn with the n-gram's guesses (the same texts) and "
        "without; the run is `clearhead train tinyshakespeare.txt --model mixture --n_layer 6 --n_head 6 --n_embd 384 "
        "--block_size 256 --time 14m`, at 2.00 bits per character.",
    ),
    "serving": (
        "Serving",
        "python benchmarks/serve.py",
        "A model of the default size, context 256, drawn by `Batch` alone and by way of `clearhead serve` with 64 "
        "clients that read their streams in another process; shares are medians over neighbouring rounds, by the clock "
        "and by the processor time of drawing and of the server. The raw rate is that of as many threads as the server "
        "draws with: all cores but one. Then the first text of 8 clients that ask at once.",
    ),
    "adamw": (
        "The same model with AdamW",
        f"clearhead train {{corpus}} {ADAMW}",
        "4 layers, 4 heads, 128 wide, block 64, batch 12, 2,000 steps, dropout 0: what the recipe alone changes.",
    ),
    "nanogpt": (
        "Steps beside nanoGPT",
        "python benchmarks/step_throughput.py --nanogpt PATH --corpus FILE",
        "4 layers, 4 heads, 128 wide, block 64, batch 12, dropout 0, AdamW, eager. Same weights, batches "
        "and updates on "
        "both sides, so the last losses must agree; `tokens per second over theirs` is the median over neighbouring "
        "blocks of steps, above 1 is faster. nanoGPT computes in float32 on a CPU; ours in either type. Then the share "
        "of this processor's best matrix rate, in the same type, that our whole step of 6 layers, 384 "
        "wide, batch 64 x 256 "
        "reaches: 6 x parameters in matrices x tokens, and attention, over (16384 x 384) x (384 x 1536) products.",
    ),
    "time_to_loss": (
        "Time to a loss",
        "python benchmarks/time_to_loss.py --nanogpt PATH --repeats 3",
        "Whole processes, nothing cached, medians over repeats in alternating order; `ratio` is seconds "
        "over nanoGPT's of "
        "the same repeat. Ours is held to 850,000 parameters and a context of 64, and its time includes "
        "the ladder and the "
        "mixture. nanoGPT and transformers learn from the dev slice too, ours does not; transformers' Trainer never "
        "evaluates, and its GPT-2 keeps its own activation and biases.",
    ),
    "footprint": (
        "Memory and disk foretold",
        "python benchmarks/footprint.py --corpus FILE",
        "What `clearhead doctor --run` says, beside the peak of the process and the files of the same "
        "`clearhead train`: four steps, evaluations, checkpoints, ladder and mixture included. `ratio` is predicted "
        "over measured.",
    ),
    "sharing": (
        "Beside other programs",
        "python benchmarks/sharing.py",
        "Mean milliseconds of a step of the default model: with OpenMP's own spinning, and as Clearhead runs it; "
        "alone, and beside two processes that do nothing but count.",
    ),
    "gpu": (
        "On a GPU",
        "python benchmarks/gpu_steps.py --nanogpt PATH",
        "Training of three sizes by `Trainer.step`, compiled, in bfloat16, and of GPT-2's smallest beside nanoGPT's "
        "model and loop on the same batches in turns. The share is of 8192 x 8192 x 8192 products measured between the "
        "turns; a step counts 6 operations for each token and parameter, and those of attention as if no mask hid half "
        "of them. The text is generated.",
    ),
    "vocabularies": (
        "Characters beside BPE",
        "python benchmarks/vocabularies.py",
        "The same shape and planner's schedule for the same processor time on one thread: bits per character of all "
        "validation text, means over seeds with the lowest and the highest in brackets.",
    ),
    "inspecting": (
        "Looking inside",
        "python benchmarks/inspecting.py --corpus FILE",
        "Whole processes, medians in turns, of a run of the demo's size (4 layers, 4 heads, 128 wide, context 128): "
        "`clearhead inspect report` with its page, and `inspect attention` on 1,024 characters, also by a run whose "
        "context holds them all. Importing torch is a part of each.",
    ),
    "studio": (
        "The studio",
        "python benchmarks/studio_cost.py",
        "Fresh processes; then the default model trains in a run of the studio, and windows of four seconds in which a "
        "client reads its stream take turns with windows in which nobody does: the median of the pairs' ratios. "
        "Messages and memory are those of a run that makes 300 steps a second, read for 40 seconds.",
    ),
    "hovering": (
        "The page's own pictures",
        "python benchmarks/hovering.py",
        "Chromium, a GPT of 2 layers and 4 heads on 1,024 tokens: milliseconds until the patterns of all heads stand, "
        "and frames while the pointer jumps about in each picture. The first look imports torch and reads the run.",
    ),
    "saving": (
        "What a checkpoint costs",
        "python benchmarks/saving.py",
        "6 layers, 384 wide, batch 12 x 128. `save seconds` is the difference that a save in the middle makes to a "
        "stretch of steps, medians of stretches in turns; `save processor seconds` is all that it computes (look, "
        "copy, hash, write), and the shares take all of that for lost. `torch save` is the usual call in the loop, "
        "without hashes and without a flush to the disk.",
    ),
    "soak": (
        "Killed and resumed",
        "python benchmarks/soak.py",
        "Runs of every model and optimizer, killed with SIGKILL at random moments and resumed until done; `differing` "
        "counts those that are not, bit for bit and event for event, an uninterrupted run.",
    ),
    "serving_soak": (
        "A server under load",
        "python benchmarks/serve_soak.py",
        "Clients that ask without pause: streams, whole answers, several texts, scores, prompts that slide, wrong "
        "requests; every seventh hangs up. The slope is a line through the server's resident memory after a warm-up.",
    ),
}
"""Name -> title, command, what is measured."""

NEEDS = {
    "nanogpt": "nanogpt",
    "time_to_loss": "nanogpt",
    "decoding": "llama2c",
    "gpu": "gpu",
    "soak": "soak",
    "serving_soak": "soak",
}
"""Name -> the flag without which it is not measured."""


def record(measured: Mapping[str, Any]) -> None:
    """Merge new sections into the figures and write the page again."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    figures = {**kept, **measured}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render(figures), encoding="utf-8")


def render(figures: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    parts = [HEAD, *(_section(name, figures[name]) for name in SECTIONS if name in figures)]
    return "\n".join(parts)


def _section(name: str, measured: Mapping[str, Any]) -> str:
    title, command, about = SECTIONS[name]
    machine, corpus = measured["machine"], measured["corpus"]
    versions = ", ".join(f"{package} {machine[package]}" for package in ("python", "torch", "numpy", "clearhead"))
    return (
        f"## {title}\n\n```sh\n{command.format(corpus=corpus['name'])}\n```\n\n{about}\n\n"
        f"{_tables(measured['figures'])}\n"
        f"{measured['date']}, {machine['processor']}, {machine['cores']} cores, {machine['system']}; {versions}; "
        f"corpus {corpus['name']}, {corpus['characters']:,} characters.\n"
    )


def _tables(figures: Mapping[str, Any]) -> str:
    """Scalars as a table of two columns; each list of records, or mapping of figures, as one of its own."""
    scalars = {name: value for name, value in figures.items() if not isinstance(value, list | dict)}
    parts = [_table(("figure", "value"), scalars.items())] if scalars else []
    for name, value in figures.items():
        if isinstance(value, list):
            parts.append(_table(tuple(value[0]), (row.values() for row in value)))
        elif isinstance(value, dict):
            parts.append(f"{_words(name)}:\n\n{_tables(value)}")
    return "\n".join(parts)


def _table(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [" | ".join(map(_words, header)), " | ".join("---" for _ in header)]
    lines += [" | ".join(map(_cell, row)) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _words(str(value))


def _words(name: str) -> str:
    return name.replace("_", " ")
