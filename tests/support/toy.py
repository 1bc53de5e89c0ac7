"""A model and rows that train in milliseconds."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from xstilts.config.specs import TaskSpec, TrainSpec
from xstilts.data.features import Features, Ragged
from xstilts.train.mixing import Mixture, TaskBatches
from xstilts.train.trainer import Trainer

TASK = TaskSpec(
    name="toy", format="classification", languages=["en"], metric="accuracy", sources=[]
)


class Tokenizer:
    pad_token_id = 1


class Toy(nn.Module):
    """Mean of embeddings, dropout, two classes."""

    def __init__(self, dropout=0.2):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(50, 8, generator=generator))
        self.out = nn.Linear(8, 2)
        with torch.no_grad():
            self.out.weight.copy_(torch.randn(2, 8, generator=generator))
            self.out.bias.zero_()
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch, _task):
        mask = batch.attention_mask[..., None].float()
        mean = (self.table[batch.input_ids] * mask).sum(1) / mask.sum(1)
        logits = self.out(self.dropout(mean))
        return nn.functional.cross_entropy(logits, batch.scalars["label"], reduction="none")


def features(count=70):
    draw = np.random.default_rng(3)
    rows = [draw.integers(4, 50, draw.integers(3, 20)).tolist() for _ in range(count)]
    label = np.array([row[0] % 2 for row in rows], np.int64)
    return Features(Ragged.of(rows), np.arange(count), count, {}, {"label": label})


def trainer(folder, model=None, evaluate=None, **settings):
    values = {"lr": 0.01, "epochs": 3, "batch_size": 8, "checkpoint_every": 5} | settings
    spec = TrainSpec(**values)
    mixture = Mixture({"toy": TaskBatches(TASK, features(), Tokenizer(), spec)}, spec)
    return Trainer(
        model or Toy(), mixture, spec, folder, run_key="x", evaluate=evaluate, quiet=True
    )


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
