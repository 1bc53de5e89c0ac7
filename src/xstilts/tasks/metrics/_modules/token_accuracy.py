"""`token_accuracy` for the evaluate library."""

from xstilts.metrics._evaluate import module_class


class TokenAccuracy(module_class("token_accuracy")):  # type: ignore[misc]
    """See `xstilts.metrics.token_accuracy`."""
