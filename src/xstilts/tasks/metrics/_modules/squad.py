"""`squad` for the evaluate library."""

from xstilts.metrics._evaluate import module_class


class Squad(module_class("squad")):  # type: ignore[misc]
    """See `xstilts.metrics.squad`."""
