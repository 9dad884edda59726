"""GPT-2 trained with transformers' Trainer on the token ids of a text, as its user would write it.

    python benchmarks/gpt2_trainer.py FOLDER

FOLDER holds ids.npy and settings.json; the model is saved into FOLDER/model. It imports nothing of ours, for
time_to_loss.py measures the whole process.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments


class Windows(Dataset[dict[str, Tensor]]):
    """Every window of a text; the model shifts the labels itself."""

    def __init__(self, ids: Tensor, block_size: int) -> None:
        self.ids, self.block_size = ids, block_size

    def __len__(self) -> int:
        return len(self.ids) - self.block_size + 1

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        window = self.ids[index : index + self.block_size]
        return {"input_ids": window, "labels": window}


def main() -> None:
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    ids = torch.from_numpy(np.load(folder / "ids.npy").astype("int64"))
    model = GPT2LMHeadModel(GPT2Config(**settings["model"]))
    arguments = TrainingArguments(str(folder / "trainer"), **settings["training"])
    trainer = Trainer(model, arguments, train_dataset=Windows(ids, model.config.n_positions))
    trainer.train()
    trainer.save_model(str(folder / "model"))


if __name__ == "__main__":
    main()
