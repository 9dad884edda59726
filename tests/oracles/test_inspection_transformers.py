"""What a trace shows of `modern` and `gpt2` is what transformers shows of the same weights."""

import pytest
import torch

import inspection.tiny_models as small
from clearhead.inspection.trace import trace
from oracles.foreign import as_gpt2, as_qwen3

pytest.importorskip("transformers", reason="transformers is not installed; the extra `test` brings it")

FOREIGN = {"modern": as_qwen3, "gpt2": as_gpt2}
DEFAULT = {"vocab_size": 65, "block_size": 64, "n_embd": 128, "n_head": 4, "n_layer": 4}


@pytest.mark.parametrize("options", [{}, {"n_head": 1}, {"n_embd": 24, "n_head": 4, "n_layer": 3}, DEFAULT], ids=str)
@pytest.mark.parametrize("preset", FOREIGN)
def test_attentions_hidden_states_and_logits(preset, options):
    ours = small.lively(preset, **options)
    theirs = small.untyped(FOREIGN[preset](ours))
    theirs.set_attn_implementation("eager")
    idx = torch.randint(ours.vocab_size, (2, 20))
    with torch.no_grad():
        said = theirs(idx, output_attentions=True, output_hidden_states=True)
    seen = trace(ours, idx)
    assert len(said.attentions) == len(seen.blocks)
    for block, attention in zip(seen.blocks, said.attentions, strict=True):
        torch.testing.assert_close(block.wei, attention, atol=1e-4, rtol=0.0)
    streams = [seen.embedding, *(block.after for block in seen.blocks[:-1]), seen.ln_f]  # theirs ends behind the norm
    for stream, hidden in zip(streams, said.hidden_states, strict=True):
        torch.testing.assert_close(stream, hidden, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(seen.logits, said.logits, atol=1e-4, rtol=0.0)
    assert seen.blocks[-1].wei.std() > 0.05, "flat patterns would agree whatever the weights"
