"""Where things are kept, and the environment variables that move them.

| what | default | variable |
|---|---|---|
| home: results, runs, worlds | the platform's user data folder | `XSTILTS_HOME` |
| cache: tokenised rows, embeddings | the platform's user cache folder | `XSTILTS_CACHE` |
| data: original files | none | `XSTILTS_DATA` |
| zoo: the module library | `./adapters_zoo` if there, else in home | `XSTILTS_ZOO` |
| results: predictions and scores | `<home>/results` | `XSTILTS_RESULTS` |
"""

from __future__ import annotations

import os
from pathlib import Path


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value).expanduser().absolute() if value else None


def home_folder() -> Path:
    """Folder for everything that is worth keeping."""
    return _from_environment("XSTILTS_HOME") or _platform("user_data_path")


def cache_folder() -> Path:
    """Folder for what can be computed again."""
    return _from_environment("XSTILTS_CACHE") or _platform("user_cache_path")


def data_folder() -> Path | None:
    """Folder with the original data files, or None."""
    return _from_environment("XSTILTS_DATA")


def zoo_folder() -> Path:
    """The module library in use."""
    chosen = _from_environment("XSTILTS_ZOO")
    if chosen:
        return chosen
    local = Path.cwd() / "adapters_zoo"
    return local if local.is_dir() else home_folder() / "adapters_zoo"


def results_folder() -> Path:
    """Folder for predictions and scores."""
    return _from_environment("XSTILTS_RESULTS") or home_folder() / "results"


def _platform(kind: str) -> Path:
    import platformdirs

    path: Path = getattr(platformdirs, kind)("xstilts", appauthor=False)
    return path
