"""A masked language modelling step on the real vocabulary: masked logits against all logits.

`python -m xstilts.bench.mlm ours|theirs` runs one step and prints its loss and peak memory, in a
process of its own, so that the peak is that of the step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from xstilts.bench import Result, compare
from xstilts.bench.memory import peak_above
from xstilts.bench.models import VOCABULARY

ROWS, WIDTH = 8, 128


def step(which: str, layers: int = 4, width: int = 256) -> Callable[[], float]:
    """A forward and backward pass on the same weights, batch and masks; gives the loss."""
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=514,
        type_vocab_size=1,
        attn_implementation="sdpa",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = XLMRobertaForMaskedLM(config).train()
    ids = torch.randint(5, VOCABULARY, (ROWS, WIDTH))
    chosen = torch.rand(ids.shape) < 0.15
    labels = torch.where(chosen, ids, -100)

    def theirs() -> float:
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        model.zero_grad(set_to_none=True)
        return float(loss.detach())

    return theirs if which == "theirs" else _ours(model, ids, labels)


def _ours(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> Callable[[], float]:
    import numpy as np

    from xstilts.data.features import Batch
    from xstilts.tasks.formats._heads import MaskedLMHead

    encoder = model.roberta
    head = MaskedLMHead(model.config.hidden_size, encoder.get_input_embeddings(), torch.Generator())
    state = model.lm_head.state_dict()
    head.load_state_dict({key: state[key] for key in head.state_dict()})
    rows = np.arange(len(ids))
    empty = Batch(ids, torch.ones_like(ids), torch.from_numpy(rows), rows, len(ids))
    batch = replace(empty, tokens={"labels": labels})

    def ours() -> float:
        hidden = encoder(input_ids=ids, attention_mask=batch.attention_mask).last_hidden_state
        logits = head(hidden, batch)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[labels != -100])
        torch.autograd.backward(loss)
        model.zero_grad(set_to_none=True)
        head.zero_grad(set_to_none=True)
        return float(loss.detach())

    return ours


def mlm_step(_size: str, pairs: int) -> Result:
    """Time of a step; the note has the share of memory and the difference of the losses."""
    peaks = {which: _alone(which) for which in ("ours", "theirs")}
    share = peaks["ours"]["bytes"] / peaks["theirs"]["bytes"]
    apart = abs(peaks["ours"]["loss"] - peaks["theirs"]["loss"])
    note = (
        f"MLM step, {VOCABULARY:,} words, 8 x 128; theirs: all logits. Memory above the weights "
        f"{share:.0%} of theirs, losses {apart:.1e} apart"
    )
    return compare(
        "mlm step", step("ours"), step("theirs"), pairs=pairs, target_ratio=1 / 0.6, note=note
    )


def _alone(which: str) -> dict[str, float]:
    command = [sys.executable, "-m", "xstilts.bench.mlm", which]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print loss and the memory that one step needs above what was there before it."""
    work = step(sys.argv[1])
    losses: list[float] = []
    taken = peak_above(lambda: losses.append(work()))
    print(json.dumps({"loss": losses[0], "bytes": taken}))


if __name__ == "__main__":
    main()
