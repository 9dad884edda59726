"""`clearhead generate`: let a model write."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from clearhead.cli.arguments import RUNS, Switch, parse, unescape
from clearhead.config import SamplingConfig, Weights
from clearhead.errors import ConfigError, CorpusError

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.generation.text import Prompt, Sample


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Let a model write. The text comes as it is written; the same seed gives the same text.

    This is a base model: it continues text, it does not answer. Ctrl-C stops it.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    prompt: str = ""
    """The text to go on from; \\n is a line end."""
    prompt_file: Path | None = None
    """Read the prompt from a file; - is standard input."""
    refuse_unknown: Switch = False
    """Stop when the prompt holds characters the model has never seen, instead of leaving them out."""
    out: Path = RUNS
    """The folder that holds runs."""
    weights: Weights = "float32"
    """What the matrices are held in; bfloat16 and int8 are faster, and what they cost is told."""
    json: Switch = False
    """Print one JSON document instead of streaming; it holds what --logprobs asks for."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How the next token is drawn."""


def run(argv: Sequence[str]) -> int:
    """Write the samples to standard output."""
    arguments = parse(Arguments, "generate", argv)
    if arguments.sampling.logprobs is not None and not arguments.json:
        raise ConfigError("--logprobs is part of the JSON document; add --json")
    prompt = _prompt(arguments)
    sampling = replace(arguments.sampling, stop=tuple(map(unescape, arguments.sampling.stop)))

    from clearhead import api
    from clearhead.cli.report import print_json
    from clearhead.generation.text import encode_prompt

    trained = api.load(arguments.run, out=arguments.out)
    encoded = encode_prompt(trained.tokenizer, prompt, strict=arguments.refuse_unknown)
    for line in _warnings(encoded, trained):
        print(f"note: {line}", file=sys.stderr)
    document: dict[str, Any] = {"prompt": prompt}
    if arguments.weights != "float32":
        smaller = trained.with_weights(arguments.weights)
        document["weights"] = _cost(trained, smaller, arguments.weights)
        trained = smaller
    if arguments.json:
        samples = trained.draw(prompt, **asdict(sampling))
        document["samples"] = [sample.text for sample in samples]
        if sampling.logprobs is not None:
            document["logprobs"] = [_told(sample, trained) for sample in samples]
        print_json(document)
        return 0
    for row in range(sampling.num_samples):
        if sampling.num_samples > 1:
            print(f"--- sample {row + 1} of {sampling.num_samples}", flush=True)
        print(prompt, end="", flush=True)
        for piece in trained.stream(prompt, row=row, **asdict(sampling)):
            print(piece, end="", flush=True)
        print()
    return 0


def _cost(trained: "Run", smaller: "Run", weights: str) -> dict[str, Any]:
    """What smaller weights cost on validation text, told on standard error too; nothing where the text is gone."""
    try:
        exact, rounded = trained.cost_of(smaller)
    except CorpusError as error:
        print(f"note: what {weights} costs cannot be measured: {error}", file=sys.stderr)
        return {"kind": weights}
    print(
        f"note: {weights} weights: {rounded.bits_per_char:.4f} bits per character on {exact.tokens:,} tokens of "
        f"validation text, float32 {exact.bits_per_char:.4f} ({rounded.bits_per_char - exact.bits_per_char:+.4f})",
        file=sys.stderr,
    )
    return {"kind": weights, "bits_per_char": rounded.bits_per_char, "float32_bits_per_char": exact.bits_per_char}


def _told(sample: "Sample", trained: "Run") -> list[dict[str, Any]]:
    """The tokens of a sample with their log-probabilities, and the likeliest in their place."""
    names = trained.tokenizer.decode
    return [
        {
            "token": names([drawn.token]),
            "id": drawn.token,
            "logprob": drawn.logprob,
            "top": [{"token": names([token]), "id": token, "logprob": logprob} for token, logprob in drawn.top],
        }
        for drawn in sample.drawn
    ]


def _prompt(arguments: Arguments) -> str:
    if arguments.prompt_file is None:
        return unescape(arguments.prompt)
    if arguments.prompt:
        raise ConfigError("--prompt and --prompt_file both name a prompt; leave one out")
    try:
        if str(arguments.prompt_file) == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        return arguments.prompt_file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompt_file={arguments.prompt_file} cannot be read: {error}; name a UTF-8 text") from None


def _warnings(prompt: "Prompt", trained: "Run") -> list[str]:
    lines = []
    if prompt.dropped:
        shown = " ".join(map(repr, prompt.dropped[:10])) + (" ..." if len(prompt.dropped) > 10 else "")
        fate = "left out" if trained.tokenizer.unk_id is None else "read as unknown"
        lines.append(f"the model has never seen {shown}: {fate}; --refuse_unknown stops instead")
    if prompt.exceeds(trained.model):
        lines.append(f"the prompt has {len(prompt.ids):,} tokens, the model sees only its end: {trained.model.context}")
    return lines
