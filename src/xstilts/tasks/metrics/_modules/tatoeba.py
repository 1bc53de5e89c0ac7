"""`tatoeba` for the evaluate library."""

from xstilts.metrics._evaluate import module_class


class Tatoeba(module_class("tatoeba")):  # type: ignore[misc]
    """See `xstilts.metrics.tatoeba`."""
