"""What a trace shows of `gpt2` is what TransformerLens computes of the same weights, written independently.

Its class for own weights, HookedTransformer, is in the versions before 4.
"""

from functools import partial
from typing import Any

import pytest
import torch

import inspection.tiny_models as small
from clearhead.inspection.trace import trace
from clearhead.models.gpt import GPTLanguageModel

pytestmark = pytest.mark.slow  # `make test-slow` installs the extra: thirty packages that nothing else needs


def as_hooked(ours: GPTLanguageModel) -> Any:
    """A HookedTransformer with the weights of a `gpt2` model."""
    lens = pytest.importorskip("transformer_lens", reason="the extra `oracles` is not installed")
    config = ours.config
    theirs = lens.HookedTransformer(
        lens.HookedTransformerConfig(
            n_layers=config.n_layer,
            d_model=config.n_embd,
            n_ctx=config.block_size,
            n_heads=config.n_head,
            d_head=config.head_size,
            d_mlp=config.feed_forward_width,
            d_vocab=config.vocab_size,
            act_fn="gelu",
            eps=config.norm_eps,
            normalization_type="LN",
            device="cpu",
        )
    )
    left = theirs.load_state_dict(_renamed(ours), strict=False)
    assert not left.unexpected_keys
    assert {name.rpartition(".")[2] for name in left.missing_keys} <= {"mask", "IGNORE"}, "constants of its own"
    return theirs.eval()


def _renamed(ours: GPTLanguageModel) -> dict[str, torch.Tensor]:
    """Our weights by their names and in their shapes: W_Q (nh, C, hs), W_O (nh, hs, C), W_in (C, W), W_U (C, V)."""
    weights = {name: tensor.detach() for name, tensor in ours.named_parameters(remove_duplicate=False)}
    nh, hs, C = ours.config.n_head, ours.config.head_size, ours.config.n_embd
    found = {
        "embed.W_E": weights["token_embedding_table.weight"],
        "pos_embed.W_pos": weights["position_embedding_table.weight"],
        "ln_final.w": weights["ln_f.weight"],
        "ln_final.b": weights["ln_f.bias"],
        "unembed.W_U": weights["lm_head.weight"].T,
        "unembed.b_U": torch.zeros(ours.vocab_size),
    }
    for layer in range(ours.config.n_layer):
        at = f"blocks.{layer}."
        own = {name.removeprefix(at): weight for name, weight in weights.items() if name.startswith(at)}
        q, k, v = own["sa.qkv.weight"].view(3, nh, hs, C).mT
        of_q, of_k, of_v = own["sa.qkv.bias"].view(3, nh, hs)
        heads = {"W_Q": q, "W_K": k, "W_V": v, "b_Q": of_q, "b_K": of_k, "b_V": of_v, "b_O": own["sa.proj.bias"]}
        heads["W_O"] = own["sa.proj.weight"].T.reshape(nh, hs, C)
        neurons = {"W_in": own["ffwd.up.weight"].T, "W_out": own["ffwd.proj.weight"].T}
        neurons |= {"b_in": own["ffwd.up.bias"], "b_out": own["ffwd.proj.bias"]}
        norms = {f"{norm}.{kind[0]}": own[f"{norm}.{kind}"] for norm in ("ln1", "ln2") for kind in ("weight", "bias")}
        parts = norms | {f"attn.{n}": w for n, w in heads.items()} | {f"mlp.{n}": w for n, w in neurons.items()}
        found |= {f"{at}{name}": weight for name, weight in parts.items()}
    return found


@pytest.mark.parametrize("options", [{}, {"n_head": 1}, {"n_embd": 24, "n_head": 4, "n_layer": 3}], ids=str)
def test_patterns_streams_and_logits(options):
    ours = small.lively("gpt2", **options)
    idx = torch.randint(ours.vocab_size, (2, 20))
    with torch.no_grad():
        logits, kept = as_hooked(ours).run_with_cache(idx)
    seen = trace(ours, idx)
    close = partial(torch.testing.assert_close, atol=1e-4, rtol=0.0)
    close(seen.embedding, kept["hook_embed"] + kept["hook_pos_embed"])
    for block in seen.blocks:
        at = f"blocks.{block.layer}"
        close(block.wei, kept[f"{at}.attn.hook_pattern"])
        close(block.out, kept[f"{at}.attn.hook_z"].transpose(1, 2))
        close(block.attention, kept[f"{at}.hook_attn_out"])
        close(block.middle, kept[f"{at}.hook_resid_mid"])
        close(block.hidden, kept[f"{at}.mlp.hook_post"])
        close(block.after, kept[f"{at}.hook_resid_post"])
    close(seen.logits, logits)
    assert seen.blocks[-1].wei.std() > 0.05, "flat patterns would agree whatever the weights"
