"""`squad_v2` for the evaluate library."""

from xstilts.metrics._evaluate import module_class


class SquadV2(module_class("squad_v2")):  # type: ignore[misc]
    """See `xstilts.metrics.squad_v2`."""
