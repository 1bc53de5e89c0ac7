"""The comparisons that `xstilts bench` runs; each is a function of the model's size and pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from shutil import which

from xstilts.backbone.machine import has_bf16
from xstilts.bench import (
    Result,
    commands,
    evaluating,
    fusing,
    lora,
    many_modules,
    mining,
    mlm,
    training,
)

COMPARISONS: Mapping[str, Callable[[str, int], Result]] = {
    "memory": training.memory,  # first: it needs 20 GB, and what measured before keeps some
    "evaluation": evaluating.evaluation,
    "question_answering": evaluating.question_answering,
    "evaluation_bf16": evaluating.evaluation_bf16,
    "compiled": evaluating.compiled,
    "share_of_peak": evaluating.share_of_peak,
    "retrieval": evaluating.retrieval,
    "sentence_transformers": evaluating.sentence_transformers,
    "nine_modules": many_modules.nine_modules,
    "nine_modules_of_adapters": many_modules.nine_modules_of_adapters,
    "nine_commands": many_modules.nine_commands,
    "nine_upper_modules": many_modules.nine_upper_modules,
    "adapter_step": training.adapter_step,
    "adapter_step_dynamic": training.adapter_step_dynamic,
    "lora_step": lora.lora_step,
    "lora_step_busy": lora.lora_step_busy,
    "lora_step_crowded": lora.lora_step_crowded,
    "lora_share": lora.lora_share,
    "lora_bf16": lora.lora_bf16,
    "full_step": training.full_step,
    "fusion": fusing.fusion,
    "fusion_step": fusing.fusion_step,
    "mlm_step": mlm.mlm_step,
    "mining": mining.mining,
    "mining_large": mining.mining_large,
    "mining_bf16": mining.mining_bf16,
    "grid_workers": commands.grid_workers,
    "cached_eval": commands.cached_eval,
}
NEEDS: Mapping[str, str] = {
    "compiled": "g++",
    "nine_modules_of_adapters": "adapters",
    "sentence_transformers": "sentence_transformers",
    "adapter_step": "adapters",
    "adapter_step_dynamic": "adapters",
    "fusion": "adapters",
    "fusion_step": "adapters",
    "evaluation_bf16": "bfloat16 units",
    "lora_bf16": "bfloat16 units",
    "mining_bf16": "bfloat16 units",
}
"""Libraries, programs or parts of the processor that a comparison is made with."""
LONG = (
    *("compiled", "nine_commands", "lora_step_busy", "lora_step_crowded", "grid_workers"),
    "cached_eval",
)
"""Comparisons that compile or start processes, which takes a minute: only in full or by name."""
BY_NAME = ("mining_large", "mining_bf16")
"""Comparisons that take many minutes: only by name."""

FULL_SIZES: Mapping[str, str] = {
    "lora_step": "small",
    "lora_step_busy": "small",
    "lora_step_crowded": "small",
    "lora_share": "small",
    "lora_bf16": "small",
    "full_step": "small",
    "memory": "large",
}
"""Comparisons whose full size is not that of XLM-R base."""


def there(name: str) -> bool:
    """Whether what a comparison is made with is installed."""
    need = NEEDS.get(name)
    if need == "bfloat16 units":
        return has_bf16()
    return need is None or bool(find_spec(need) or which(need))
