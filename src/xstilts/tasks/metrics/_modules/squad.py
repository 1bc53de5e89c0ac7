"""`squad` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class Squad(module_class("squad")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.squad`."""
