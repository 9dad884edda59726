from typing import cast

import numpy as np
import pytest

from clearhead.data import sample as module
from clearhead.data.joined import JoinedIds
from clearhead.data.sample import sample
from clearhead.tokenizers.base import Ids

EOT = 9


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 100)


def documents(count: int) -> np.ndarray:
    """eot d1 eot ... dn eot, documents of 3 to 12 tokens that all differ."""
    rng = np.random.default_rng(0)
    parts = [np.append(rng.integers(0, 9, rng.integers(3, 13)), EOT) for _ in range(count)]
    return np.concatenate([[EOT], *parts]).astype(np.uint16)


def test_all_of_a_text_is_the_text() -> None:
    stream = documents(20)
    assert sample(stream, 1, separated=True) is stream


def test_a_sample_is_pieces_in_order_and_always_the_same() -> None:
    stream = np.arange(1_050, dtype=np.uint16)
    found = np.asarray(sample(stream, 4, separated=False)).astype(np.int64)
    assert (found[::100] % 100 == 0).all()
    assert (np.diff(found) > 0).all()
    assert 250 <= len(found) <= 300, "three pieces of eleven"
    np.testing.assert_array_equal(found, np.asarray(sample(stream, 4, separated=False)))
    assert set(np.asarray(sample(stream, 8, separated=False))) < set(found), "of a smaller part the larger holds all"


def test_documents_stay_whole() -> None:
    stream = documents(300)
    whole = {tuple(part) for part in np.split(stream, np.flatnonzero(stream == EOT))}
    found = np.asarray(sample(cast(Ids, JoinedIds([stream[:777], stream[777:]])), 4, separated=True))
    assert (found[0], found[-1]) == (EOT, EOT)
    parts = [tuple(part) for part in np.split(found, np.flatnonzero(found == EOT))]
    assert len(parts) > 30
    assert set(parts) - {(), (EOT,)} < whole
    assert not ((found[1:] == EOT) & (found[:-1] == EOT)).any(), "no document is empty"
