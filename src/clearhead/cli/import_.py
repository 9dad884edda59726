"""`clearhead import`: a checkpoint of another project becomes a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from clearhead.cli.arguments import RUNS, Switch, parse
from clearhead.config import DataConfig
from clearhead.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Make a run of weights that nanoGPT, or the lecture's gpt.py or bigram.py, has trained.

    CKPT is nanoGPT's ckpt.pt, or a state_dict saved by torch.save. Its characters come from --text, the text that it
    was trained on. Nothing in the file is run, and our logits must be those of its own forward pass. The last line
    printed is the run's folder: generate, ladder and train --init_from take it.
    """

    ckpt: tyro.conf.Positional[str | None] = None
    """The file that torch.save wrote."""
    text: str | None = None
    """The text that it was trained on: a file, or a named corpus."""
    n_head: int | None = None
    """Attention heads, for a nanoGPT state_dict that comes without its model_args."""
    out: Path = RUNS
    """The folder that holds runs."""
    name: str | None = None
    """The run's name (default: from the text and the project)."""
    json: Switch = False
    """Print one JSON document."""
    data: DataConfig = field(default_factory=DataConfig)
    """How the text is read."""


def run(argv: Sequence[str]) -> int:
    """Import, say what was found, and print the run's folder."""
    arguments = parse(Arguments, "import", argv)
    if arguments.ckpt is None or arguments.text is None:
        lacking = "the checkpoint" if arguments.ckpt is None else "--text, the text that it was trained on"
        raise ConfigError(f"import needs {lacking}; as in: clearhead import ckpt.pt --text input.txt")

    from clearhead.cli.report import print_json
    from clearhead.training.importing import Imported, import_weights

    imported: Imported = import_weights(
        Path(arguments.ckpt),
        [arguments.text],
        data=arguments.data,
        out=arguments.out,
        name=arguments.name,
        n_head=arguments.n_head,
    )
    val, foreign = imported.val, imported.foreign
    if arguments.json:
        print_json(
            {
                "run": str(imported.run.path),
                "layout": foreign.layout.name,
                "steps": foreign.step,
                "parameters": imported.parameters,
                "vocab_size": foreign.vocab_size,
                "logits_difference": imported.agreement.difference,
                "checked_tokens": imported.agreement.tokens,
                "val_nats_per_token": val and val.nats_per_token,
                "val_bits_per_char": val and val.bits_per_char,
                "best_val_loss": foreign.own_val_loss,
                "notices": imported.notices,
            }
        )
        return 0
    print(imported.summary)
    print(imported.agreement)
    if val:
        own = f"; its own estimate: {foreign.own_val_loss:.4f} nats" if foreign.own_val_loss is not None else ""
        print(
            f"validation loss {val.nats_per_token:.4f} nats per token, {val.bits_per_char:.4f} bits per character{own}"
        )
    for notice in imported.notices:
        print(f"note: {notice}")
    print(imported.run.path)
    return 0
