"""Rows that are read and digested once, for what asks for the same rows often."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["once", "read_once"]

T = TypeVar("T")

_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("rows_read_once", default=None)


@contextmanager
def read_once() -> Iterator[None]:
    """Within it, what `once` is asked for is made once; all of it is let go at its end.

    Files must not change meanwhile. What is kept takes the memory of all rows that were asked for,
    so this is for a plan, or for the few rows of the sandbox.
    """
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def once(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gives; within `read_once` what it gave for an equal key."""
    kept = _kept.get()
    if kept is None:
        return make()
    if key not in kept:
        kept[key] = make()
    found: T = kept[key]
    return found
