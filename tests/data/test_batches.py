import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from clearhead.data.batches import gather, offsets, windows


def test_the_lectures_hello_world_batch():
    data = np.array([7, 4, 11, 11, 14, 26, 22, 14, 17, 11, 3], dtype=np.uint16)
    x, y = gather(data, np.array([0, 5]), 5)
    assert x.tolist() == [[7, 4, 11, 11, 14], [26, 22, 14, 17, 11]]
    assert y.tolist() == [[4, 11, 11, 14, 26], [22, 14, 17, 11, 3]]
    assert x.dtype == y.dtype == torch.int64
    assert x.is_contiguous()
    assert y.is_contiguous()


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.integers(1, 20), st.integers(1, 2**33))
def test_offsets_are_a_pure_function_of_the_sample_number(seed, step, batch_size, count):
    drawn = offsets(seed, step, batch_size, count)
    assert drawn.min() >= 0
    assert drawn.max() < count
    assert (offsets(seed, step, batch_size + 7, count)[:batch_size] == drawn).all()


def test_offsets_of_neighbouring_steps_and_seeds_share_nothing():
    drawn = [offsets(seed, step, 1_000, 2**40) for seed in (1, 2) for step in (0, 1, 2)]
    assert len(np.unique(np.concatenate(drawn))) == 6_000


def test_offsets_are_uniform():
    counts = np.bincount(offsets(1, 1, 100_000, 10), minlength=10)
    chi_squared = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_squared < 27.9  # the 0.1 % point of 9 degrees of freedom


@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 5))
def test_windows_hold_every_target_once_in_order(n, block_size, batch_size):
    ids = np.arange(n, dtype=np.uint16)
    batches = list(windows(ids, block_size, batch_size))
    assert [i for x, _ in batches for i in x.flatten().tolist()] == list(range(n - 1))
    assert [i for _, y in batches for i in y.flatten().tolist()] == list(range(1, n))
    full = [x for x, _ in batches if x.shape[1] == block_size]
    assert all(x.shape[0] == batch_size for x in full[:-1])
    assert len(batches) - len(full) == bool((n - 1) % block_size)


def test_a_single_remainder_is_its_own_batch():
    shapes = [tuple(x.shape) for x, _ in windows(np.arange(30, dtype=np.uint16), 4, 3)]
    assert shapes == [(3, 4), (3, 4), (1, 4), (1, 1)]


def test_windows_drawn_reach_both_ends():
    ids = np.arange(6)
    x, y = gather(ids, offsets(3, 0, 200, 3), 3)
    assert set(x[:, 0].tolist()) == {0, 1, 2}
    assert set(y[:, -1].tolist()) == {3, 4, 5}
