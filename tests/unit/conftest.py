from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def own_folders(tmp_path_factory):
    """Keep what a test computes or remembers out of the user's home and cache."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSTILTS_HOME", str(folder / "own-home"))
        patch.setenv("XSTILTS_CACHE", str(folder / "own-cache"))
        yield
