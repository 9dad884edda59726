"""FSDP2: every rank holds a part of all weights, gradients and moments, and sees a block whole while it computes it.

Rajbhandari et al. 2020, "ZeRO: Memory optimizations toward training trillion parameter models"; Zhao et al. 2023,
"PyTorch FSDP". What needs PyTorch's machinery for it is imported inside functions: that takes a second.
"""

# torch documents its _foreach functions, one launch for many tensors, but does not export them to type checkers.
# pyright: reportPrivateImportUsage=false

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from clearhead import registry
from clearhead.config import TrainConfig
from clearhead.models.base import LanguageModel
from clearhead.optim.sharded import is_sharded, local, whole
from clearhead.runtime import Runtime, world
from clearhead.training.parallel import Ranks

CLIP_FLOOR = 1e-6
"""Added to the norm that is divided by, as torch.nn.utils does."""


def shards(config: TrainConfig) -> bool:
    """Whether the processes of this run hold parts of the model. One process alone holds it all."""
    return config.parallel == "fsdp" and world().size > 1


def shard_model(model: LanguageModel, ranks: Ranks, runtime: Runtime) -> None:
    """Leave this rank its rows of rank 0's weights, on the device; from now on all ranks call the model together.

    A block at a time goes to the device, so that it never holds the model whole. Around a block's forward pass and
    around its backward pass FSDP2 gathers its weights; what belongs to no block stays whole in between.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # Logits may be a view; nobody writes into them.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    model.load_state_dict(ranks.share_tensors(model.state_dict()))
    if runtime.device.type == "cuda":
        torch.cuda.set_device(runtime.device)
    mesh = init_device_mesh(runtime.device.type, (ranks.size,))
    for block in blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model's stacks, which are gathered one by one."""
    yield from (block for stack in model.children() if isinstance(stack, nn.ModuleList) for block in stack)


def whole_model(model: LanguageModel, ranks: Ranks) -> LanguageModel | None:
    """A model with all the weights of a sharded one, on the CPU of rank 0; all ranks call it together."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        gathered = whole(tensor)
        if ranks.first:
            tensors[name] = gathered.cpu()
    return registry.resolve("models", model.kind).restore(model.to_config(), tensors) if ranks.first else None


def clip_gradients(model: nn.Module, most: float, ranks: Ranks) -> Tensor:
    """Scale all gradients so that their norm () is at most `most`; returns the norm as it was, over all ranks' rows."""
    if not any(map(is_sharded, model.parameters())):
        return clip_grad_norm_(model.parameters(), most)
    rows = [local(weight.grad) for weight in model.parameters() if weight.grad is not None]
    norm = ranks.sum(get_total_norm(rows).square()).sqrt()
    torch._foreach_mul_(rows, (most / (norm + CLIP_FLOOR)).clamp(max=1))
    return norm
