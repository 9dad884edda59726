"""`clearhead tokenize`: the pieces of a text, and what they cost."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.cli.arguments import RUNS, Reading, Switch, Words, given_flags, parse, unescape
from clearhead.errors import ConfigError

if TYPE_CHECKING:
    from clearhead.data.fertility import Fertility
    from clearhead.tokenizers.base import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Arguments(Reading):
    """Show the pieces of a text with white space visible, how many there are, and how much of the vocabulary is used.

    TEXT is a file, folder, glob, named corpus or - for standard input; anything else is the text itself. The tokenizer
    is that of a run (the latest by default), of a file, or with --tokenizer char, word, byte or bpe one that is learned
    from this text, as `clearhead train` would.
    """

    text: Words = ()
    """The text, or what holds it."""
    run: str | None = None
    """The run whose tokenizer is used."""
    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Print how a text is cut."""
    arguments = parse(Arguments, "tokenize", argv)
    learned = given_flags(argv) & set(asdict(arguments.tokenizer))
    if not arguments.text:
        raise ConfigError("there is no text to cut; give one, a file, or - for standard input")
    if arguments.run is not None and learned:
        raise ConfigError(f"--run has its own tokenizer, so --{min(learned)} does not apply; leave one of them out")

    from clearhead.cli.report import print_json
    from clearhead.data.fertility import fertility

    tokenizer, documents, about = _read(arguments, bool(learned))
    found = fertility(tokenizer, documents)
    if arguments.json:
        print_json(document_of(found, about))
    else:
        _show(found, about)
    return 0


def _read(arguments: Arguments, learned: bool) -> "tuple[Tokenizer, Sequence[str], str]":
    """The tokenizer, the documents, and a word on where the tokenizer is from."""
    from clearhead.data.corpus import read_corpus, split
    from clearhead.data.learning import check_tokenizer
    from clearhead.data.prepare import train_tokenizer
    from clearhead.data.sources import Source, is_source
    from clearhead.runs.directory import find_run

    check_tokenizer(arguments.tokenizer)
    if any(map(is_source, arguments.text)) or any(os.sep in word and " " not in word for word in arguments.text):
        corpus = read_corpus(arguments.text, arguments.data, arguments.tokenizer)
    else:
        corpus = split(Source("text", (unescape(" ".join(arguments.text)),), ()))
    documents = (*corpus.train, *corpus.val)
    if not learned:
        run = find_run(arguments.run, arguments.out)
        return run.read_tokenizer(), documents, f"of run {run.name}"
    if arguments.tokenizer.from_file:
        return train_tokenizer(corpus, arguments.tokenizer), documents, f"of {arguments.tokenizer.tokenizer}"
    return train_tokenizer(corpus, arguments.tokenizer), documents, f"learned from the training part of {corpus.name}"


def document_of(found: "Fertility", about: str) -> dict[str, Any]:
    """What `tokenize --json` prints."""
    rates = ("characters_per_token", "bytes_per_token", "tokens_per_word")
    return {**asdict(found), "from": about, **{rate: getattr(found, rate) for rate in rates}}


def _show(found: "Fertility", about: str) -> None:
    from rich.text import Text

    from clearhead.cli.report import console

    told = console()
    line = Text()
    for number, piece in enumerate(found.pieces):
        line.append(piece.text, style="reverse" if number % 2 else "")
        line.append("\n" if piece.text.endswith("↵") else " ")
    told.print(line, soft_wrap=True)
    if found.tokens > len(found.pieces):
        told.print(f"... and {found.tokens - len(found.pieces):,} more", soft_wrap=True)
    use = found.use
    rows = [
        ("tokenizer", f"{found.tokenizer}, {found.vocab_size:,} ids, {about}"),
        (
            "tokens",
            f"{found.tokens:,} for {found.characters:,} characters, {found.bytes:,} bytes, {found.words:,} words",
        ),
        ("characters per token", f"{found.characters_per_token:.3f}"),
        ("bytes per token", f"{found.bytes_per_token:.3f}"),
        ("tokens per word", f"{found.tokens_per_word:.3f}"),
        ("vocabulary used", f"{use.used:,} of {use.entries:,}; {use.seldom:,} of these fewer than 10 times"),
        ("most frequent", "  ".join(f"{text} {count:,}" for text, count in use.most)),
        ("longest", "  ".join(use.longest)),
        *([("hidden", f"{found.hidden:,} characters behind unknown tokens")] if found.hidden else []),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        told.print(Text(f"{name:<{width}}  {value}"), soft_wrap=True)
