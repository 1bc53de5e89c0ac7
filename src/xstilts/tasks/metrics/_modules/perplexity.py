"""`perplexity` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class Perplexity(module_class("perplexity")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.perplexity`."""
