"""Weighted sum of LoRA updates by joining their factors: exact, of the ranks' sum."""

from __future__ import annotations

from xstilts.modules.operators import Option, _updates
from xstilts.modules.operators import sum as module_sum

MERGES = True
ORDERED = False
OPTIONS: dict[str, Option] = {}
check = _updates.check_lora
combine = module_sum.combine
