"""`bucc` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class Bucc(module_class("bucc")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.bucc`."""
