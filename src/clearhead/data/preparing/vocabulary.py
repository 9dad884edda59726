"""A tokenizer learned from the training split of a text of any size."""

from collections.abc import Callable, Iterator

import numpy as np

from clearhead.config import TokenizerConfig
from clearhead.data.learning import learn
from clearhead.data.preparing.encoding import EncodeTask, learned_from
from clearhead.data.preparing.planning import Plan, bytes_of
from clearhead.data.preparing.scanning import UNICODE, Scan
from clearhead.data.preparing.segments import ByDocument, ByPosition
from clearhead.tokenizers.base import Tokenizer

MOST_LEARNED = 1 << 28
"""Bytes of text that are learned from, at most: what is frequent in them is frequent in the rest."""
KNOWS_ALL = ("byte", "bpe")
"""Tokenizers that have no use for an unknown token."""


def learn_tokenizer(config: TokenizerConfig, plan: Plan, watch: Callable[[int, int], None]) -> Tokenizer:
    """The tokenizer of the text that gradients see; `watch` is told of the bytes that were read, and of how many.

    Characters: the exact set, with an unknown token where what is held back needs one. Others learn from at most
    `MOST_LEARNED` bytes, in whole shards from all over the text; where a tokenizer can lack a word, it has an unknown
    token in any case.
    """
    if config.from_file or config.tokenizer == "byte":
        return learn(config, (), eot=plan.separated, unk=config.unk)
    if config.tokenizer == "char":
        learned, all_characters = _characters(plan)
        unk = config.unk or bool(all_characters - learned)
        return learn(config, ["".join(sorted(learned))], eot=plan.separated, unk=unk)
    unk = config.unk or config.tokenizer not in KNOWS_ALL
    return learn(config, _texts(chosen(plan), watch), eot=plan.separated, unk=unk)


def chosen(plan: Plan) -> list[EncodeTask]:
    """The shards that are learned from: all, or some from all over the text."""
    most = max(1, MOST_LEARNED // max(1, max(bytes_of(task.blocks) for task in plan.tasks)))
    step = -(-len(plan.tasks) // most)
    return list(plan.tasks[::step])


def _texts(tasks: list[EncodeTask], watch: Callable[[int, int], None]) -> Iterator[str]:
    done, total = 0, sum(bytes_of(task.blocks) for task in tasks)
    for task in tasks:
        yield from learned_from(task)
        done += bytes_of(task.blocks)
        watch(done, total)


def _characters(plan: Plan) -> tuple[set[str], set[str]]:
    """The characters that gradients see, and all."""
    everything: set[str] = set()
    learned: set[str] = set()
    last = np.zeros(UNICODE, dtype=np.uint64)
    for task, seen in zip(plan.tasks, plan.scans(), strict=True):
        everything |= set(seen.text)
        last[seen.characters] = np.maximum(last[seen.characters], seen.greatest)
        if _must_be_read(task, seen):
            learned.update(*(set(text) for text in learned_from(task)))
        elif isinstance(task.splitter, ByPosition):
            learned |= set(seen.text)
    if isinstance(plan.splitter, ByDocument):
        learned |= {character for character in everything if int(last[ord(character)]) >= plan.splitter.deal.dev_end}
    return learned, everything


def _must_be_read(task: EncodeTask, seen: Scan) -> bool:
    """Whether what was seen does not tell which characters are trained on.

    Where documents are cut: when one is cut in these blocks. Where they are dealt out the greatest place of a
    character tells, but for documents that are trained on in spite of their place.
    """
    if isinstance(task.splitter, ByDocument):
        kept = np.array(sorted(task.splitter.deal.kept), dtype=np.uint64)
        return bool(np.isin(seen.places, kept).any())
    splitter = ByPosition(task.splitter.cuts, task.splitter.document, task.splitter.offset)
    for length, begins in zip(seen.lengths.tolist(), seen.begins.tolist(), strict=True):
        splitter.pass_by(length, begins)
        if splitter.offset > splitter.cuts[splitter.document].dev:
            return True
    return False
