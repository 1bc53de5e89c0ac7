"""`mlqa` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class Mlqa(module_class("mlqa")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.mlqa`."""
