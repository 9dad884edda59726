import pytest
import torch

from clearhead.config import GPTConfig, SamplingConfig
from clearhead.errors import ConfigError
from clearhead.generation.batch import window_start
from clearhead.generation.generate import generate, stream_ids
from clearhead.models.decoding import ordinary
from clearhead.models.gpt import GPTLanguageModel


def gpt(block_size: int = 6, **options) -> GPTLanguageModel:
    torch.manual_seed(5)
    model = GPTLanguageModel(GPTConfig(vocab_size=11, block_size=block_size, n_embd=16, n_head=2, n_layer=2, **options))
    for parameter in model.parameters():  # far from uniform, so that a wrong context shows
        parameter.data.mul_(3)
    return model.eval()


@pytest.mark.parametrize("block_size", range(1, 12))
def test_the_window_grows_to_the_block_then_halves(block_size):
    """The rule told as a story, step by step, against the formula."""
    start = 0
    for length in range(1, 60):
        if length - start > block_size:
            start = length - max(1, block_size // 2)
        assert window_start(length, block_size) == start
        assert 1 <= length - start <= block_size


def test_without_a_block_size_nothing_is_cut():
    assert window_start(10**9, None) == 0


@pytest.mark.parametrize("positions", ["learned", "rope", "none"])
@pytest.mark.parametrize("block_size", [1, 2, 3, 6])
@pytest.mark.parametrize("prompt", [1, 5, 20])
def test_cached_is_uncached_across_overflow(positions, block_size, prompt):
    model = gpt(block_size, positions=positions)
    idx = torch.randint(11, (3, prompt), generator=torch.Generator().manual_seed(1))
    cached = generate(model, idx, 25, seed=3)
    assert torch.equal(cached, generate(model, idx, 25, seed=3, use_cache=False))
    assert cached.shape == (3, prompt + 25)
    assert torch.equal(cached[:, :prompt], idx)


def test_greedy_is_the_argmax_of_the_window():
    model = gpt()
    idx = generate(model, torch.tensor([[4]]), 20, temperature=0)
    for n in range(1, 21):
        window = idx[:, window_start(n, 6) : n]
        assert int(idx[0, n]) == int(model(window).logits[0, -1].argmax())


def test_the_cache_reads_every_token_once_between_refills(monkeypatch):
    """Here through the model's own forward pass, which can be watched."""
    monkeypatch.setattr("clearhead.generation.batch.decoder_of", ordinary)
    model, reads = gpt(), []
    model.register_forward_pre_hook(lambda module, args: reads.append(args[0].shape[1]))
    generate(model, torch.zeros(1, 3, dtype=torch.long), 13)
    assert reads == [2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1]


def test_same_seed_same_tokens_whatever_the_company():
    model, sampling = gpt(), SamplingConfig(max_new_tokens=15, seed=9)
    idx = torch.randint(11, (4, 3), generator=torch.Generator().manual_seed(2))
    together = torch.stack(list(stream_ids(model, idx, sampling)), dim=1)
    alone = torch.stack(list(stream_ids(model, idx[2:3], sampling, rows=[2])), dim=1)
    assert torch.equal(together[2:3], alone)
    assert not torch.equal(together, torch.stack(list(stream_ids(model, idx, SamplingConfig(max_new_tokens=15))), 1))


def test_rows_of_one_prompt_differ():
    idx = generate(gpt(), torch.zeros(8, 1, dtype=torch.long), 12, temperature=3.0)
    assert len(set(map(tuple, idx.tolist()))) == 8


def test_forbidden_tokens_are_never_drawn():
    sampling = SamplingConfig(max_new_tokens=60)
    drawn = torch.cat(list(stream_ids(gpt(), torch.zeros(4, 1, dtype=torch.long), sampling, forbidden=[0, 3, 10])))
    assert {0, 3, 10}.isdisjoint(drawn.tolist())
    assert {0, 3, 10} & set(torch.cat(list(stream_ids(gpt(), torch.zeros(4, 1, dtype=torch.long), sampling))).tolist())


def test_generating_moves_nothing():
    model = gpt(dropout=0.5).train()
    state = torch.random.get_rng_state()
    idx = torch.zeros(2, 1, dtype=torch.long)
    first = generate(model, idx, 10)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(module.training for module in model.modules())
    assert torch.equal(first, generate(model.eval(), idx, 10))
    assert not model.training
    stream = stream_ids(model.train(), idx, SamplingConfig(max_new_tokens=5))
    next(stream)
    assert model.training, "a stream that waits leaves the model as it was"
    assert torch.is_grad_enabled()
    loss = model(first[:, :6], first[:, 1:7]).loss
    loss.backward()  # what was generated can be trained on
    assert model.lm_head.weight.grad is not None


def test_nothing_new_is_the_prompt_and_no_prompt_is_refused():
    idx = torch.tensor([[1, 2]])
    assert torch.equal(generate(gpt(), idx, 0), idx)
    with pytest.raises(ConfigError, match="no token"):
        generate(gpt(), torch.zeros(1, 0, dtype=torch.long), 3)
