"""What every process of the suite does: import models as the program does, and end at once."""

from __future__ import annotations

import atexit
import gc

import pytest

from xstilts.config.hub_models import import_models


def pytest_configure(config: pytest.Config) -> None:
    """Spare each process of several what takes it seconds at its start and at its end."""
    if hasattr(config, "workerinput"):
        atexit.register(gc.freeze)
        import_models()
