"""`squad_v2` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class SquadV2(module_class("squad_v2")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.squad_v2`."""
