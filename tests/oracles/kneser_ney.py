"""Interpolated modified Kneser-Ney by dictionaries, one n-gram and one token at a time: slow, and plain to read."""

from collections import Counter, defaultdict
from collections.abc import Sequence

Gram = tuple[int, ...]


class KneserNeyOracle:
    """What `NgramLanguageModel.fit` should estimate, from the definitions."""

    def __init__(self, ids: Sequence[int], vocab_size: int, order: int, eot_id: int | None = None) -> None:
        self.vocab_size, self.order, self.eot_id = vocab_size, order, eot_id
        raw: Counter[Gram] = Counter()
        begins: Counter[Gram] = Counter()
        preceding: defaultdict[Gram, set[int]] = defaultdict(set)
        for t, token in enumerate(ids):
            if t == 0 and token == eot_id:
                continue
            history = self.usable(ids[:t])
            for k in range(1, min(order, len(history) + 1) + 1):
                gram = (*history[len(history) - k + 1 :], token)
                raw[gram] += 1
                if len(history) >= k:
                    preceding[gram].add(history[-k])
                else:
                    begins[gram] += 1
        self.raw = dict(raw)
        self.continuation = {gram: len(preceding[gram]) + begins[gram] for gram in raw}

    def usable(self, history: Sequence[int]) -> list[int]:
        """The history from its latest end-of-text on."""
        history = list(history)
        if self.eot_id in history:
            latest = len(history) - 1 - history[::-1].index(self.eot_id)
            history = history[latest:]
        return history

    def probability(self, history: Sequence[int], token: int) -> float:
        """P(token | history), by the order that fits."""
        known = self.usable(history)
        context = tuple(known[max(0, len(known) - self.order + 1) :])
        return self._estimate(self.raw, context, token)

    def _estimate(self, counts: dict[Gram, int], context: Gram, token: int) -> float:
        lower = self._estimate(self.continuation, context[1:], token) if context else 1 / self.vocab_size
        row = [counts.get((*context, other), 0) for other in range(self.vocab_size)]
        if sum(row) == 0:
            return lower
        taken = self._discounts(counts, len(context) + 1)
        kept = sum(taken[min(count, 3)] for count in row)
        return (row[token] - taken[min(row[token], 3)] + kept * lower) / sum(row)

    @staticmethod
    def _discounts(counts: dict[Gram, int], length: int) -> list[float]:
        n = Counter(count for gram, count in counts.items() if len(gram) == length)
        taken = [0.0, 0.5, 1.0, 1.5]
        for i in (1, 2, 3):
            if 0 not in (n[1], n[2], n[i], n[i + 1]):
                y = n[1] / (n[1] + 2 * n[2])
                estimate = i - (i + 1) * y * n[i + 1] / n[i]
                if 0 < estimate <= i:
                    taken[i] = estimate
        return taken
