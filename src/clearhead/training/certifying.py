"""What a bigram's run tells of its table at each evaluation: how far it is from the best there is."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from clearhead.evaluation.certificate import Pairs, certify, mixed_pairs, sampled_pairs
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.training.events import Certified
from clearhead.training.feed import Feed


def pairs_at(feed: Feed, step: int, vocab_size: int) -> Pairs:
    """The pairs as batch number `step` is drawn from them: near the end of a run half of the rows may be from dev."""
    batch, train = feed.train.batch_size, sampled_pairs(feed.data.counted("train"), feed.train.block_size, vocab_size)
    if step < feed.dev_begins or batch < 2:
        return train
    share = batch // 2 / batch
    dev = sampled_pairs(feed.data.ids("dev"), feed.train.block_size, vocab_size)
    return mixed_pairs([(1 - share, train), (share, dev)])


@dataclass
class Certifier:
    """Certifies the table of a bigram while it trains. Pairs are counted once for each way of sampling."""

    feed: Feed
    model: LanguageModel
    _pairs: dict[bool, Pairs] = field(default_factory=dict, init=False)

    def events(self, step: int) -> Iterator[Certified]:
        """The certificate after `step` updates, under the weights of the batch that came last; none for other models.

        A pure function of the table and the text: nothing random is drawn.
        """
        if not isinstance(self.model, BigramLanguageModel):
            return
        last = max(0, step - 1)
        from_dev = last >= self.feed.dev_begins
        if from_dev not in self._pairs:
            self._pairs[from_dev] = pairs_at(self.feed, last, self.model.vocab_size)
        found = certify(self.model.token_embedding_table.weight, self._pairs[from_dev])
        yield Certified(step, found.gap, found.leak, found.misfit, found.floor, found.difference)
