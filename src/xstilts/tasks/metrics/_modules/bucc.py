"""`bucc` for the evaluate library."""

from xstilts.metrics._evaluate import module_class


class Bucc(module_class("bucc")):  # type: ignore[misc]
    """See `xstilts.metrics.bucc`."""
