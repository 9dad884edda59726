"""A GPT without one of its parts: the readable path says the same, and nothing pretends that the part is there."""

import pytest
import torch

from clearhead.config import GPTConfig, RunConfig
from clearhead.errors import ConfigError
from clearhead.generation.generate import generate
from clearhead.initialise import initialise
from clearhead.inspection.chain import work_out
from clearhead.inspection.trace import trace
from clearhead.models.attention import MultiHeadAttention
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.kernels import attend

PARTS = ("none", "scale", "mask", "residual", "feed_forward")


def gpt_of(without: str, **options) -> GPTLanguageModel:
    torch.manual_seed(3)
    shape = {"vocab_size": 11, "n_embd": 16, "n_head": 2, "n_layer": 2, "block_size": 8} | options
    model = GPTLanguageModel(GPTConfig(without=without, **shape))  # pyright: ignore[reportArgumentType]
    for weight in model.parameters():
        weight.data.normal_(0, 0.4)
    return model.eval()


@pytest.mark.parametrize("without", PARTS)
@pytest.mark.parametrize("positions", ["learned", "rope"])
def test_heads_side_by_side_are_the_fast_path(without, positions):
    attention = MultiHeadAttention(gpt_of(without, positions=positions).config).eval()
    x = torch.randn(2, 7, 16)
    heads = torch.cat([attention.head(i)(x).out for i in range(2)], dim=-1)
    torch.testing.assert_close(attention.proj(heads), attention(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_written_out_attention_is_the_kernels(causal):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 9, 16) for _ in range(3))
    slow = attend(q, k, v, 0.0, scale=0.3, causal=causal)
    fast = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), 0.0, scale=0.3, causal=causal)
    torch.testing.assert_close(fast.float(), slow, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("without", PARTS)
def test_the_future_is_hidden_but_without_the_mask(without):
    model = gpt_of(without)
    idx = torch.randint(11, (2, 8))
    changed = idx.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 11
    same = torch.equal(model(idx).logits[:, :-1], model(changed).logits[:, :-1])
    assert same == model.predicts == (without != "mask")


@pytest.mark.parametrize("without", PARTS)
@pytest.mark.parametrize("length", [3, 30])
def test_the_same_text_is_drawn_with_and_without_a_cache(without, length):
    model = gpt_of(without)
    idx = torch.randint(11, (3, 4))
    assert torch.equal(
        generate(model, idx, length, use_cache=True, seed=5), generate(model, idx, length, use_cache=False, seed=5)
    )


def test_without_a_mask_rows_of_different_lengths_do_not_meet():
    model = gpt_of("mask")
    cache, alone = model.new_cache(2), [model.new_cache(1) for _ in range(2)]
    model(torch.tensor([[1, 2, 3]]), cache=cache.rows(slice(0, 1)))
    cache.lengths[0] = 3
    model(torch.tensor([[1, 2, 3]]), cache=alone[0])
    new = torch.tensor([[4], [5]])
    together = model(new, cache=cache).logits
    for row in range(2):
        torch.testing.assert_close(together[row], model(new[row : row + 1], cache=alone[row]).logits[0])


@pytest.mark.parametrize("without", PARTS)
def test_saved_and_restored_it_is_the_same(without):
    model = gpt_of(without)
    again = GPTLanguageModel.restore(model.to_config(), model.state_dict())
    idx = torch.randint(11, (2, 8))
    assert torch.equal(model(idx).logits, again.eval()(idx).logits)


def test_what_was_saved_before_the_field_was_there_loads():
    model = gpt_of("none")
    described = {name: value for name, value in model.to_config().items() if name != "without"}
    assert GPTLanguageModel.restore(described, model.state_dict()).config == model.config


def test_a_feed_forward_that_is_left_out_has_no_weights():
    names = gpt_of("feed_forward").state_dict()
    assert not any("ffwd" in name or "ln2" in name for name in names)
    assert gpt_of("none").num_parameters() > gpt_of("feed_forward").num_parameters()


@pytest.mark.parametrize("without", ["residual", "feed_forward"])
def test_blocks_do_what_is_said(without):
    model = gpt_of(without)
    block, x = model.blocks[0], torch.randn(1, 5, 16)
    said = block.sa(block.ln1(x))  # pyright: ignore[reportCallIssue]
    expected = block.ffwd(block.ln2(said)) if without == "residual" else x + said  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(block(x), expected)


def test_nothing_would_be_learned_from_projections_at_zero_without_a_way_past_them():
    with pytest.raises(ConfigError, match=r"without=residual .* try --init normal"):
        initialise(gpt_of("residual"), "zero_projections", seed=1)


def test_a_mixture_weighs_predictions():
    with pytest.raises(ConfigError, match="without=mask makes none"):
        RunConfig(model="mixture").with_settings({"without": "mask"})
    with pytest.raises(ConfigError, match="without='maks' is unknown: did you mean 'mask'"):
        RunConfig().with_settings({"without": "maks"})


@pytest.mark.parametrize(
    ("without", "says", "never"),
    [
        ("none", "1/sqrt(8) = 0.3536", "without the scale 1/sqrt"),
        ("scale", "trained without the scale 1/sqrt(8)", "sharper softmax"),
        ("mask", "no mask: the 3 positions after 2 are seen too", "are masked"),
    ],
)
def test_the_chain_tells_what_the_model_does(without, says, never):
    model = gpt_of(without)
    seen = trace(model, torch.arange(6))
    chain = work_out(seen.blocks[1], 0, 2)
    table = chain.table(tuple("abcdef"))
    assert says in table
    assert never not in table
    assert bool((chain.wei[2, 3:] > 0).all()) == (without == "mask")
    torch.testing.assert_close(
        torch.from_numpy(chain.scores)[2, :3], torch.from_numpy(chain.products * chain.scale)[2, :3]
    )


@pytest.mark.parametrize("without", ["residual", "feed_forward"])
def test_what_cannot_be_taken_apart_says_so_in_one_line(without):
    with pytest.raises(ConfigError, match=f"trained without={without}") as caught:
        trace(gpt_of(without), [1, 2, 3])
    assert "\n" not in str(caught.value)
