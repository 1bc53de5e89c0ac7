"""`chunk_f1` for the evaluate library."""

from xstilts.tasks.metrics._evaluate import module_class


class ChunkF1(module_class("chunk_f1")):  # type: ignore[misc]
    """See `xstilts.tasks.metrics.chunk_f1`."""
