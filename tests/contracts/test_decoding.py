"""Every way to decode, for every registered model, against the model's own forward pass; batches against one row."""

import platform
from pathlib import Path

import pytest
import torch
from test_models import BUILDERS, KINDS, S, V, build, random_ids
from torch import Tensor

from clearhead.config import GPTConfig, SamplingConfig, Weights
from clearhead.generation.batch import Batch, logits_after
from clearhead.models import compiling, decoding
from clearhead.models.base import LanguageModel
from clearhead.models.compiling import library
from clearhead.models.decoding import decoder_of, ordinary
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.gpt_compiled import CompiledDecoder
from clearhead.models.gpt_decoding import GPTDecoder
from clearhead.models.mixture_decoding import CompiledMixtureDecoder, MixtureDecoder
from clearhead.models.weights import with_weights

compiled = pytest.mark.skipif(library() is None, reason="there is no C compiler here")
WAYS = [pytest.param("compiled", marks=compiled), "numpy"]
DECODERS = {
    ("gpt", "compiled"): CompiledDecoder,
    ("gpt", "numpy"): GPTDecoder,
    ("mixture", "compiled"): CompiledMixtureDecoder,
    ("mixture", "numpy"): MixtureDecoder,
}
LENGTHS = [1, 7, 0, 4]
MANY = [5, 0, 3] * 6
"""More rows than fit into a register."""


@pytest.fixture(params=WAYS)
def way(request, monkeypatch) -> str:
    """With the C steps, and as where there is no compiler."""
    if request.param == "numpy":
        monkeypatch.setattr(decoding, "library", lambda: None)
    return request.param


def levels_of_this_processor() -> list[str]:
    """Those of the psABI that it runs; none where Linux does not tell, or it is no x86."""
    about = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not about.exists():
        return []
    known = set(about.read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split())
    needed = {"x86-64": set(), "x86-64-v3": {"avx2", "fma", "bmi2"}, "x86-64-v4": {"avx512f", "avx512vl", "avx512bw"}}
    return [level for level, flags in needed.items() if flags <= known]


def decoded(model: LanguageModel, decoder, idx: Tensor, lengths: list[int], steps: int) -> list[Tensor]:
    """Logits (n, V) of some steps after rows whose first `lengths` tokens the model has read by itself."""
    cache = model.new_cache(len(lengths))
    for row, length in enumerate(lengths):
        if length:
            model(idx[row : row + 1, :length], cache=cache.rows(slice(row, row + 1)))
    decode = decoder(model, cache)
    found = []
    for step in range(steps):
        found.append(decode([int(idx[row, length + step]) for row, length in enumerate(lengths)]).clone())
        assert cache.lengths.tolist() == [length + step + 1 for length in lengths]
    return found


@torch.no_grad()
@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("lengths", [LENGTHS, [3], [2, 2, 2], MANY], ids=str)
def test_every_way_to_decode_is_the_forward_pass(name, lengths, way):
    model, idx = build(name), random_ids(len(lengths), S)
    expected, got = (decoded(model, decoder, idx, lengths, 4) for decoder in (ordinary, decoder_of))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    kind = DECODERS.get((KINDS[name], way))
    assert kind is None or isinstance(decoder_of(model, model.new_cache(1)), kind), "the fast way is the one taken"


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind in ("gpt", "mixture")])
def test_in_float64_numpy_decodes(name):
    model, idx = build(name, dtype=torch.float64), random_ids(4, S)
    expected, got = (decoded(model, decoder, idx, LENGTHS, 4) for decoder in (ordinary, decoder_of))
    torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind in ("gpt", "mixture")])
@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
def test_smaller_weights_decode_as_they_score(name, weights, way):
    """A sum taken in another order may fall on the other side of a border between two bfloat16, 1/256 apart."""
    model, idx = with_weights(build(name), weights), random_ids(len(MANY), S)
    close = 1e-5 if weights == "int8" else 1e-2
    for lengths in (LENGTHS, MANY):
        expected, got = (decoded(model, decoder, idx, lengths, 4) for decoder in (ordinary, decoder_of))
        torch.testing.assert_close(got, expected, atol=close, rtol=close)


@compiled
@torch.no_grad()
@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_other_processors_find_the_same(level, monkeypatch):
    """The steps as compiled for fewer and narrower registers, without bfloat16 products."""
    if level not in levels_of_this_processor():
        pytest.skip(f"this processor runs no code for {level}")
    flags = [f"-march={level}" if flag.startswith("-march") else flag for flag in compiling.FLAGS]
    monkeypatch.setattr(compiling, "FLAGS", flags)
    steps = library.__wrapped__()
    if steps is None:
        pytest.skip(f"this compiler does not know {level}")
    monkeypatch.setattr(decoding, "library", lambda: steps)
    kinds: dict[Weights, float] = {"float32": 1e-5, "int8": 1e-5, "bfloat16": 1e-2}
    for weights, close in kinds.items():
        model, idx = with_weights(build("mixture"), weights), random_ids(len(MANY), S)
        for lengths in ([3], LENGTHS, MANY):
            expected, got = (decoded(model, decoder, idx, lengths, 4) for decoder in (ordinary, decoder_of))
            torch.testing.assert_close(got, expected, atol=close, rtol=close)


@compiled
@torch.no_grad()
@pytest.mark.parametrize("vocab_size", [3, 5, 66])
def test_two_threads_compute_what_one_does(vocab_size):
    """Matrices large enough to be shared, and a head that does not divide evenly."""
    torch.manual_seed(2)
    config = GPTConfig(vocab_size=vocab_size, block_size=S, n_embd=264, n_head=4, n_layer=1, ffn_width=1022)
    model, threads = GPTLanguageModel(config).eval(), torch.get_num_threads()
    idx = torch.randint(vocab_size, (len(MANY), S))
    try:
        torch.set_num_threads(2)
        for lengths in ([3], [2, 4, 1], [1, 2, 3, 4, 1, 2, 3, 4], MANY):
            expected, got = (decoded(model, decoder, idx, lengths, 3) for decoder in (ordinary, decoder_of))
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_batch_of_any_prompts_has_the_logits_of_one_row_uncached(name, way, monkeypatch):
    """Across the overflow of the window, with rows that come and go."""
    model, batch = build(name), Batch(build(name), 4)
    texts: dict[int, list[int]] = {}
    seen: list[Tensor] = []
    own = batch._logits
    monkeypatch.setattr(batch, "_logits", lambda: (seen.append(own()), seen[-1])[1])
    for number in range(3 * S):
        if number % 5 == 0 and batch.free:
            prompt = random_ids(1, 1 + 7 * number % (2 * S), seed=number)[0].tolist()
            texts[batch.admit(prompt, SamplingConfig(seed=number, temperature=1.5))] = prompt
        if number % 11 == 10:
            gone = next(iter(texts))
            batch.release(gone)
            del texts[gone]
        if not texts:
            continue
        for row, drawn in enumerate(batch.step()):
            expected = logits_after(model, texts[drawn.slot])[0]
            torch.testing.assert_close(seen[-1][row], expected, atol=1e-5, rtol=1e-5)
            texts[drawn.slot].append(drawn.token)
    assert max(map(len, texts.values())) > 2 * S


@pytest.mark.parametrize("name", BUILDERS)
def test_a_copied_row_goes_on_alike_and_apart(name):
    model, idx = build(name), random_ids(3, S)
    cache = model.new_cache(3)
    for row, length in enumerate((5, 2, 9)):
        model(idx[row : row + 1, :length], cache=cache.rows(slice(row, row + 1)))
    cache.copy_row(0, 2)
    assert cache.lengths.tolist() == [5, 2, 5]
    new = torch.stack([idx[0, 5:7], idx[1, 2:4], (idx[0, 5:7] + 1) % V])
    logits = model(new, cache=cache).logits
    for row, text in enumerate([idx[0, :7], idx[1, :4], torch.cat([idx[0, :5], new[2]])]):
        torch.testing.assert_close(logits[row], model(text[None]).logits[0, -2:], atol=1e-5, rtol=1e-5)
