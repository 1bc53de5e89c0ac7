"""Where things are kept, and the environment variables that move them.

| what | default | variable |
|---|---|---|
| home: results, runs, worlds | the platform's user data folder | `XSTILTS_HOME` |
| cache: tokenised rows, embeddings | the platform's user cache folder | `XSTILTS_CACHE` |
| data: folders of files, read as one | none | `XSTILTS_DATA`, or `data` in `xstilts.toml` |
| include: folders of own task YAMLs | none | `XSTILTS_INCLUDE`, or `include` in `xstilts.toml` |
| backbone | xlm-roberta-base | `XSTILTS_BACKBONE`, or `backbone` in `xstilts.toml` |
| zoo: the module library | `./adapters_zoo` if there, else in home | `XSTILTS_ZOO` |
| results: predictions and scores | `<home>/results` | `XSTILTS_RESULTS` |
"""

from __future__ import annotations

import os
from pathlib import Path

from xstilts.errors import UsageError


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value).expanduser().absolute() if value else None


def home_folder() -> Path:
    """Folder for everything that is worth keeping."""
    return _from_environment("XSTILTS_HOME") or _platform("user_data_path")


def cache_folder() -> Path:
    """Folder for what can be computed again."""
    return _from_environment("XSTILTS_CACHE") or _platform("user_cache_path")


def split_folders(text: str) -> list[Path]:
    """The folders of a text that joins them as `PATH` does, absolute."""
    return [Path(part).expanduser().absolute() for part in text.split(os.pathsep) if part]


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


def require_writable(folder: Path, hint: str) -> None:
    """Refuse a folder that nothing can be written to; it need not be there yet.

    Raises:
        UsageError: It or one above it is a file, or does not let this user write; with `hint`.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UsageError(f"cannot write to {folder}: {nearest} is a file", hint=hint)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {folder}: {nearest} is read-only", hint=hint)
