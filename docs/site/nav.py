"""The order of the site's pages; a new file of a folder comes in by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDERS = ("guides", "studies", "results", "reference")
"""The tabs after the first, which has the single pages."""
FIRST = ("index.md", "glossary.md", "api.md", "reproducing.md", "performance.md", "decisions.md")


def on_config(config: Any) -> Any:
    """Set the navigation from what is in the folders."""
    docs = Path(config["docs_dir"])
    single = sorted(path.name for path in docs.glob("*.md") if path.name not in FIRST)
    tabs: list[dict[str, list[str]]] = [{"Home": [*FIRST, *single]}]
    for name in FOLDERS:
        pages = sorted(docs.glob(f"{name}/**/*.md"), key=lambda path: (path.stem != "README", path))
        if pages:
            tabs.append({name.capitalize(): [page.relative_to(docs).as_posix() for page in pages]})
    config["nav"] = tabs
    return config
