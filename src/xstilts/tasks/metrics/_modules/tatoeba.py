"""`tatoeba` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class Tatoeba(module_class("tatoeba")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.tatoeba`."""
