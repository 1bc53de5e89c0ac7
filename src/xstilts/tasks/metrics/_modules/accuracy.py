"""`accuracy` for the evaluate library."""

from xstilts.metrics._evaluate import module_class


class Accuracy(module_class("accuracy")):  # type: ignore[misc]
    """See `xstilts.metrics.accuracy`."""
