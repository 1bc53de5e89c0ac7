"""Weighted sum of LoRA updates by joining their factors: exact, of the ranks' sum."""

from __future__ import annotations

from xstilts.expressions import Option
from xstilts.operators import _updates
from xstilts.operators import sum as module_sum

MERGES = True
ORDERED = False
OPTIONS: dict[str, Option] = {}
check = _updates.check_lora
combine = module_sum.combine
