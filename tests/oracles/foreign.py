"""Our GPT in transformers' classes: configurations, names and layout of the weights, written down once.

A row of a table names one of our modules and the modules that its rows are dealt out to, in order; {} is the layer.
"""

from collections.abc import Mapping

import torch
from torch import nn

from clearhead.models.gpt import GPTLanguageModel

Names = Mapping[str, tuple[str, ...]]

QWEN3: Names = {
    "token_embedding_table": ("model.embed_tokens",),
    "blocks.{}.ln1": ("model.layers.{}.input_layernorm",),
    "blocks.{}.sa.qkv": tuple(f"model.layers.{{}}.self_attn.{part}_proj" for part in "qkv"),
    "blocks.{}.sa.q_norm": ("model.layers.{}.self_attn.q_norm",),
    "blocks.{}.sa.k_norm": ("model.layers.{}.self_attn.k_norm",),
    "blocks.{}.sa.proj": ("model.layers.{}.self_attn.o_proj",),
    "blocks.{}.ln2": ("model.layers.{}.post_attention_layernorm",),
    "blocks.{}.ffwd.up": ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"),
    "blocks.{}.ffwd.proj": ("model.layers.{}.mlp.down_proj",),
    "ln_f": ("model.norm",),
    "lm_head": ("lm_head",),
}
GPT2: Names = {
    "token_embedding_table": ("transformer.wte",),
    "position_embedding_table": ("transformer.wpe",),
    "blocks.{}.ln1": ("transformer.h.{}.ln_1",),
    "blocks.{}.sa.qkv": ("transformer.h.{}.attn.c_attn",),
    "blocks.{}.sa.proj": ("transformer.h.{}.attn.c_proj",),
    "blocks.{}.ln2": ("transformer.h.{}.ln_2",),
    "blocks.{}.ffwd.up": ("transformer.h.{}.mlp.c_fc",),
    "blocks.{}.ffwd.proj": ("transformer.h.{}.mlp.c_proj",),
    "ln_f": ("transformer.ln_f",),
    "lm_head": ("lm_head",),
}


def as_qwen3(ours: GPTLanguageModel) -> nn.Module:
    """A Qwen3ForCausalLM with the weights of a `modern` model."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = ours.config
    theirs = Qwen3Config(
        vocab_size=config.vocab_size,
        hidden_size=config.n_embd,
        intermediate_size=config.feed_forward_width,
        num_hidden_layers=config.n_layer,
        num_attention_heads=config.n_head,
        num_key_value_heads=config.n_head,
        head_dim=config.head_size,
        max_position_embeddings=config.block_size,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tie_weights,
    )
    return _filled(Qwen3ForCausalLM(theirs), ours, QWEN3)


def as_gpt2(ours: GPTLanguageModel) -> nn.Module:
    """A GPT2LMHeadModel with the weights of a `gpt2` model."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = ours.config
    theirs = GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.block_size,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_inner=config.feed_forward_width,
        activation_function="gelu",
        layer_norm_epsilon=config.norm_eps,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=config.tie_weights,
    )
    return _filled(GPT2LMHeadModel(theirs), ours, GPT2)


def _filled(theirs: nn.Module, ours: GPTLanguageModel, names: Names) -> nn.Module:
    """Their model in evaluation mode; KeyError or RuntimeError when either side has a weight that the other lacks."""
    from transformers.pytorch_utils import Conv1D

    renamed = {
        our.format(layer): tuple(their.format(layer) for their in parts)
        for layer in range(ours.config.n_layer)
        for our, parts in names.items()
    }
    state: dict[str, torch.Tensor] = {}
    for name, tensor in ours.named_parameters(remove_duplicate=False):  # a tied head is told too
        module, _, kind = name.rpartition(".")
        for their, part in zip(renamed[module], tensor.detach().chunk(len(renamed[module])), strict=True):
            turned = kind == "weight" and isinstance(theirs.get_submodule(their), Conv1D)  # (in, out), not (out, in)
            state[f"{their}.{kind}"] = part.T if turned else part
    theirs.load_state_dict(state)
    return theirs.eval()
