"""`pos_f1` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class PosF1(module_class("pos_f1")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.pos_f1`."""
