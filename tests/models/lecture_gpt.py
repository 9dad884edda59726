"""The lecture's model in the lecture's structure: every head has its own query, key and value matrices.

`stacked` turns its weights into the state of our packed model, whose logits must then be the same.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LectureHead(nn.Module):
    def __init__(self, n_embd: int, head_size: int, block_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(block_size, block_size)))

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        k, q, v = self.key(x), self.query(x), self.value(x)
        wei = q @ k.transpose(1, 2) / k.shape[-1] ** 0.5
        wei = torch.where(self.get_buffer("tril")[:T, :T] == 0, torch.tensor(float("-inf")), wei)
        return torch.softmax(wei, dim=2) @ v


class LectureAttention(nn.Module):
    def __init__(self, n_embd: int, n_head: int, block_size: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(LectureHead(n_embd, n_embd // n_head, block_size) for _ in range(n_head))
        self.proj = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(torch.cat([head(x) for head in self.heads], dim=2))


class LectureBlock(nn.Module):
    def __init__(self, n_embd: int, n_head: int, block_size: int) -> None:
        super().__init__()
        self.sa = LectureAttention(n_embd, n_head, block_size)
        self.net = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.ReLU(), nn.Linear(4 * n_embd, n_embd))
        self.ln1, self.ln2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.sa(self.ln1(x))
        return x + self.net(self.ln2(x))


class LectureGPT(nn.Module):
    def __init__(self, vocab_size: int, block_size: int, n_embd: int, n_head: int, n_layer: int) -> None:
        super().__init__()
        self.token_embedding_table = nn.Embedding(vocab_size, n_embd)
        self.position_embedding_table = nn.Embedding(block_size, n_embd)
        self.blocks = nn.Sequential(*(LectureBlock(n_embd, n_head, block_size) for _ in range(n_layer)))
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size)

    def forward(self, idx: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        T = idx.shape[1]
        x = self.token_embedding_table(idx) + self.position_embedding_table(torch.arange(T))
        logits = self.lm_head(self.ln_f(self.blocks(x)))
        B, T, V = logits.shape
        return logits, F.cross_entropy(logits.reshape(B * T, V), targets.reshape(B * T))


def stacked(lecture: LectureGPT) -> dict[str, Tensor]:
    """The lecture's weights under our names, the heads' matrices on top of each other."""
    state = {}
    for name, tensor in lecture.state_dict().items():
        if ".heads." not in name:
            state[name.replace(".net.0.", ".ffwd.up.").replace(".net.2.", ".ffwd.proj.")] = tensor
    for i, block in enumerate(lecture.blocks):
        heads = list(block.get_submodule("sa.heads").children())
        parts = [head.get_parameter(f"{part}.weight").data for part in ("query", "key", "value") for head in heads]
        state[f"blocks.{i}.sa.qkv.weight"] = torch.cat(parts)
    return state
