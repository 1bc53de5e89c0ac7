"""A search's best expression as a module of the library."""

from __future__ import annotations

from pathlib import Path

from xstilts.composition.heads import save_heads
from xstilts.composition.manifests import new_manifest, parents_of
from xstilts.composition.parser import require_readable
from xstilts.composition.resolve import pinned
from xstilts.composition.task_model import probe
from xstilts.data.sources import data_digest
from xstilts.files import digest
from xstilts.train.search import Found, Search
from xstilts.zoo import Entry, Manifest, write_manifest
from xstilts.zoo.manifest import COMPOSITION, DataRecord


def save_found(search: Search, found: Found, name: str) -> Entry:
    """The expression with its weights and the head that judged; nothing is trained."""
    zoo = search.workspace.zoo
    require_readable(name)
    run = digest({"search": search.key, "budget": search.spec.budget, "name": name})
    known = zoo.find_run(run)
    if known:
        return known
    model = search.model(found.expression)

    def write(folder: Path) -> Manifest:
        save_heads({search.head.task.name: search.head}, folder)
        with model.attached():
            values = probe(model)
        return write_manifest(folder, _manifest(search, found, name, run, values))

    return zoo.add(write)


def _manifest(search: Search, found: Found, name: str, run: str, values: list[float]) -> Manifest:
    rows = search.rows
    judged = DataRecord(
        task=search.judging.name,
        split=search.split,
        language=search.judging.source_language,
        rows=len(rows),
        sha256=data_digest(rows),
    )
    return new_manifest(
        name,
        "head",
        search.backbone,
        head=search.head.task,
        kind=COMPOSITION,
        preset="search",
        composition=pinned(found.expression, search.entries),
        parents=parents_of(search.entries),
        source_language=search.judging.source_language,
        seed=search.spec.seed,
        run=run,
        training={
            "settings": search.spec.model_dump(),
            "head": search.head_entry.manifest.digest,
            "loss": found.loss,
            "start_loss": found.start,
            "selection": f"lowest loss on {len(rows)} dev examples",
        },
        data=[judged],
        probe=values,
    )
