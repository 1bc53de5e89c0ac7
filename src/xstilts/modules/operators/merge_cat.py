"""Weighted sum of LoRA updates by joining their factors: exact, of the ranks' sum."""

from __future__ import annotations

from xstilts.modules.operators import check_low_rank
from xstilts.modules.operators import sum as module_sum

check = check_low_rank
combine = module_sum.combine
