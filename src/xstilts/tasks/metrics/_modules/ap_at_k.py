"""`ap_at_k` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class ApAtK(module_class("ap_at_k")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.ap_at_k`."""
