"""`clearhead look`: what the lecture shows first, of any text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearhead.cli.arguments import Reading, Switch, Words, parse
from clearhead.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Arguments(Reading):
    """Look at a text before training: vocabulary, ids, split, documents, one batch, and what may go wrong."""

    corpus: Words = ()
    """The text (default: the built-in one)."""
    batch_size: int = TrainConfig.batch_size
    """Windows per step of the run whose epochs are counted."""
    block_size: int = TrainConfig.block_size
    """Context of that run, in tokens."""
    max_iters: int = TrainConfig.max_iters
    """Steps of that run."""
    seed: int = TrainConfig.seed
    """Of the batch that is shown."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Print what the text is made of."""
    arguments = parse(Arguments, "look", argv)
    train = TrainConfig(
        batch_size=arguments.batch_size,
        block_size=arguments.block_size,
        max_iters=arguments.max_iters,
        seed=arguments.seed,
    )

    from clearhead.cli.report import print_json
    from clearhead.data.overview import overview
    from clearhead.data.prepare import prepare

    facts = overview(prepare(replace(arguments.config(), train=train), arguments.corpus), train)
    if arguments.json:
        print_json(facts)
    else:
        _show(facts)
    return 0


def _show(facts: dict[str, Any]) -> None:
    from rich.markup import escape

    from clearhead.cli.report import console

    def say(text: str = "") -> None:
        console().print(text, soft_wrap=True)

    say(f"[bold]{escape(facts['corpus'])}[/bold]: {facts['characters']:,} characters, SHA-256 {facts['sha256'][:16]}")
    say("\n".join(f"[dim]  │ {escape(line)}[/dim]" for line in facts["begins"].splitlines()))
    more = facts["vocab_size"] - len(facts["vocabulary"])
    say(
        f"\n[bold]vocabulary[/bold]: {facts['vocab_size']:,} {facts['tokenizer']} tokens, "
        f"ids 0 .. {facts['vocab_size'] - 1:,}"
    )
    joint = "" if facts["tokenizer"] == "char" else " "
    say("  " + escape(joint.join(facts["vocabulary"])) + (f" ... and {more:,} more" if more > 0 else ""))
    sample = facts["sample"]
    say(f"\n[bold]encode[/bold] {escape(repr(sample['text']))} -> {sample['ids']}")
    say(f"[bold]decode[/bold] {sample['ids']} -> {escape(repr(sample['decoded']))}")
    say("\n[bold]split[/bold]")
    for name, part in facts["split"].items():
        why = {"train": "gradients see it", "dev": "decides, is not trained on", "val": "judges"}[name]
        documents = f"{part['documents']:,} document{'s' * (part['documents'] != 1)}"
        say(f"  {name:<5} {part['characters']:>12,} characters {part['tokens']:>12,} tokens  {documents} ({why})")
    x, y = facts["batch"]["x"], facts["batch"]["y"]
    say(f"\n[bold]one batch[/bold] ({len(x)} rows of {len(x[0])}): x, then y, the same one token later")
    for row_x, row_y in zip(x, y, strict=True):
        say(f"  {row_x}  ->  {row_y}")
    say("\n[bold]its first row is[/bold] " + f"{len(facts['lines'])} examples")
    for line in facts["lines"]:
        say(f"  when the context is {line['context']} the target is {line['target']}   {escape(line['text'])}")
    run = ", ".join(f"{name} {value:,}" for name, value in facts["run"].items())
    say(f"\n[bold]epochs[/bold]: a run of {run} sees the training text {facts['epochs']:.1f} times")
    for warning in facts["warnings"]:
        say(f"[yellow]note:[/yellow] {escape(warning)}")
