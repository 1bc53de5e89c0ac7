"""`token_accuracy` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class TokenAccuracy(module_class("token_accuracy")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.token_accuracy`."""
