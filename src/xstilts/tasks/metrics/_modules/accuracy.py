"""`accuracy` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class Accuracy(module_class("accuracy")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.accuracy`."""
