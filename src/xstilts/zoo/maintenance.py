"""What is done to a library as a whole: check, clean, search, compare, bundle, lineage."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.errors import IntegrityError, LaterVersionError, NotFoundError, UsageError
from xstilts.zoo.entry import SHORT, Entry
from xstilts.zoo.index import rebuild_index
from xstilts.zoo.manifest import UNLISTED, read_manifest
from xstilts.zoo.staging import discard, locked, sweep
from xstilts.zoo.store import Zoo
from xstilts.zoo.strict_json import real_file
from xstilts.zoo.studies import unmark
from xstilts.zoo.verify import check_file_list, settled, verify_folder


def broken(zoo: Zoo) -> list[tuple[Path, IntegrityError]]:
    """The module folders that do not verify, and why."""
    found = []
    for folder in zoo.folders():
        try:
            settled(folder, verify_folder)
        except IntegrityError as error:
            found.append((folder, error))
    return found


def search(zoo: Zoo, words: str) -> list[Entry]:
    """The library's modules whose name, task, method, languages or labels hold every word."""
    wanted = words.lower().split()
    tagged: dict[str, list[str]] = {}
    for (_, tag), digest in zoo.tags().items():
        tagged.setdefault(digest, []).append(tag)
    found = []
    for entry in zoo.library():
        m = entry.manifest
        parts = (m.name, m.kind, m.task, m.format, m.family, m.method, m.preset, m.backbone.name)
        more = (*m.languages, m.source_language, *m.labels, m.composition, m.license)
        text = " ".join((*parts, *more, *tagged.get(m.digest, ()))).lower()
        if all(word in text for word in wanted):
            found.append(entry)
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """A place in the manifests where two modules differ; a missing value is None."""

    place: str
    left: Any
    right: Any


def diff(left: Entry, right: Entry) -> list[Difference]:
    """Where two modules differ, by place in the manifest; files are compared by checksum."""
    a, b = (dict(_leaves(_comparable(entry), "")) for entry in (left, right))
    places = sorted(a.keys() | b.keys())
    return [Difference(p, a.get(p), b.get(p)) for p in places if a.get(p) != b.get(p)]


def _comparable(entry: Entry) -> dict[str, Any]:
    values = entry.manifest.model_dump(mode="json", exclude={"files"})
    files = {f.path: f"{f.sha256[:SHORT]} ({f.size} bytes)" for f in entry.manifest.files}
    return {**values, "files": files}


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{place}[{number}]")
    else:
        yield place, value


# ------------------------------------------------------------------------------------- lineage


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A module in a family tree.

    Attributes:
        entry: None when the library does not have it.
        role: What it is to the one above it; empty for the root.
    """

    reference: str
    digest: str
    entry: Entry | None
    role: str
    parents: tuple[Ancestor, ...]


def lineage(zoo: Zoo, entry: Entry) -> Ancestor:
    """The family tree of a module, by digest.

    Raises:
        IntegrityError: A module is its own ancestor.
    """
    known = {other.manifest.digest: other for other in zoo.entries()}
    return family(entry, known | {entry.manifest.digest: entry})


def family(entry: Entry, known: Mapping[str, Entry]) -> Ancestor:
    """The family tree of `entry` among the modules in `known`, by digest; see `lineage`."""
    return _ancestor(entry.reference, entry.manifest.digest, "", known, ())


def _ancestor(
    reference: str, digest: str, role: str, known: Mapping[str, Entry], above: tuple[str, ...]
) -> Ancestor:
    if digest in above:
        raise IntegrityError(f"module '{reference}' is its own ancestor", where=digest)
    entry = known.get(digest)
    parents = entry.manifest.parents if entry else []
    return Ancestor(
        entry.reference if entry else reference,
        digest,
        entry,
        role,
        tuple(_ancestor(p.reference, p.digest, p.role, known, (*above, digest)) for p in parents),
    )


def ancestors(tree: Ancestor) -> Iterator[Ancestor]:
    """Every module of a tree, parents before children; a module may come more than once."""
    for parent in tree.parents:
        yield from ancestors(parent)
    yield tree


# --------------------------------------------------------------------------------- whole library


def gc(
    zoo: Zoo, *, broken_too: bool = False, untagged: bool = False, dry_run: bool = False
) -> list[str]:
    """Delete what is of no use: leftovers of killed commands, tags of removed modules.

    Args:
        zoo: The library.
        broken_too: Also delete modules that do not verify, but none that a later version wrote.
        untagged: Also delete modules that have no tag and are no ancestor of one that has.
        dry_run: Only say what would go.

    Returns:
        What went, one line each.
    """
    gone = [f"module {entry.reference}" for entry in _untagged(zoo)] if untagged else []
    if untagged and not dry_run:
        for entry in _untagged(zoo):
            zoo.remove(entry)
    if not zoo.root.is_dir():
        return gone
    with locked(zoo.root):
        gone += [f"leftover {path.name}" for path in sweep(zoo.root, dry_run=dry_run)]
        kept = set(zoo.folders())
        for folder, why in broken(zoo) if broken_too else ():
            if isinstance(why, LaterVersionError):
                continue
            gone.append(f"broken {folder.relative_to(zoo.root)}")
            kept.discard(folder)
            if not dry_run:
                discard(zoo.root, folder)
        digests = {folder.name.rpartition("@")[2] for folder in kept}
        for (name, tag), digest in zoo.tags().items():
            if digest[:SHORT] not in digests:
                gone.append(f"tag {name}:{tag}")
                if not dry_run:
                    (zoo.root / ".tags" / name / tag).unlink(missing_ok=True)
        for digest in zoo.studies() if not dry_run else ():
            if digest[:SHORT] not in digests:
                unmark(zoo.root, digest)
        if not dry_run:
            sweep(zoo.root)
            _prune(zoo.root)
            rebuild_index(zoo.root, zoo.folders())
    return gone


def _untagged(zoo: Zoo) -> list[Entry]:
    entries = zoo.entries()
    by_digest = {entry.manifest.digest: entry for entry in entries}
    kept: set[str] = set()
    for digest in zoo.tags().values():
        if digest in by_digest:
            kept.update(a.digest for a in ancestors(family(by_digest[digest], by_digest)))
    return [entry for entry in entries if entry.manifest.digest not in kept]


def _prune(root: Path) -> None:
    """Delete folders that hold nothing, such as a killed `add` leaves.

    Not those of `.staging`: a module that is just begun holds nothing yet.
    """
    for pattern in ("[!.]*/*/", "[!.]*/", ".tags/*/"):
        for folder in root.glob(pattern):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def bundle(zoo: Zoo, references: Sequence[str], into: Path) -> list[Entry]:
    """Copy modules and all that they need into a library that works on its own.

    Args:
        zoo: The library.
        references: What to take; when empty everything but what stands apart as a study's.
        into: Becomes a library; modules that are there already stay.

    Returns:
        The modules in it that were asked for or needed, ancestors first.

    Raises:
        NotFoundError: A module or one of its ancestors is not in the library.
        UsageError: `into` is the library itself.
    """
    if into.resolve() == zoo.root.resolve():
        raise UsageError("a library cannot be bundled into itself", where=str(into))
    chosen = [zoo.find(text) for text in references] if references else zoo.library()
    known = {entry.manifest.digest: entry for entry in (*zoo.entries(), *chosen)}
    needed: dict[str, Entry] = {}
    for entry in chosen:
        for ancestor in ancestors(family(entry, known)):
            if ancestor.entry is None:
                raise NotFoundError(
                    f"{entry.reference} needs '{ancestor.reference}' ({ancestor.digest[:SHORT]})",
                    where=str(zoo.root),
                    hint="Pull that module first.",
                )
            needed[ancestor.digest] = ancestor.entry
    target = Zoo(into)
    copied = [copy_into(target, entry.folder) for entry in needed.values()]
    for (_, tag), digest in zoo.tags().items():
        if digest in needed:
            target.tag(target.find(f"@{digest}"), tag)
    return copied


def copy_into(zoo: Zoo, folder: Path) -> Entry:
    """Keep a copy of a module folder in a library; folders in it are left out.

    Raises:
        IntegrityError: It is no whole module, or holds a link that is none of the hub's cache.
    """
    files = module_files(folder)

    def copy(into: Path) -> None:
        for name, path in files.items():
            shutil.copyfile(path, into / name, follow_symlinks=False)

    try:
        return zoo.add(copy)
    except IntegrityError as error:
        if str(zoo.root / ".staging") not in error.where:
            raise
        raise IntegrityError(error.what, where=str(folder), hint=error.hint) from None


def module_files(folder: Path) -> dict[str, Path]:
    """Name to place of the files of a module folder, before any is read but the manifest.

    Raises:
        IntegrityError: It is no module, or holds a link that is none of the hub's cache.
    """
    manifest = read_manifest(folder)
    check_file_list(manifest, folder)
    known = {record.path for record in manifest.files} | set(UNLISTED)
    files = {}
    for path in folder.iterdir():
        place = real_file(path)
        if place.is_file():
            if path.name not in known:
                raise IntegrityError(f"file {path.name!a} is in no manifest", where=str(folder))
            files[path.name] = place
    return files
