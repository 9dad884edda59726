"""`clearhead inspect embeddings`: neighbours, analogies, pictures, and what a dimension means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from clearhead.cli.arguments import parse
from clearhead.cli.inspect.common import Common, loaded, show
from clearhead.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Is an embedding a look-up table or a space of meaning?

    For the token embedding and the output head: nearest neighbours among all tokens, analogies with nothing left out,
    how many dimensions are used, what a dimension goes along with beside random rotations, pictures that say what they
    lose, and how much of the text's bigram lies in the embeddings alone.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    tokens: tuple[str, ...] = ()
    """Tokens whose neighbours are printed, such as: --tokens cats dogs (default: the most frequent)."""
    analogy: tuple[str, ...] = ()
    """A B C: A is to B as C is to what?"""
    also: tuple[str, ...] = ()
    """Further runs that answer the analogy, such as the same with other seeds."""
    dimension: tuple[int, ...] = ()
    """Dimensions to tell of, from 0 (default: those of the largest variance)."""
    projection: Literal["pca", "umap"] = "pca"
    """How the pictures are drawn; umap needs umap-learn."""


def run(argv: Sequence[str]) -> int:
    """Print the findings."""
    arguments = parse(Arguments, "inspect embeddings", argv)
    if len(asked := arguments.analogy) not in (0, 3):
        raise ConfigError(f"--analogy takes three tokens and {len(asked)} were given; write --analogy man king woman")
    found = loaded(arguments.run, arguments).embeddings(
        tokens=arguments.tokens,
        analogies=[(asked[0], asked[1], asked[2])] if asked else [],
        also=[loaded(name, arguments) for name in arguments.also],
        dimensions=arguments.dimension,
        projection=arguments.projection,
    )
    return show(found, arguments)
