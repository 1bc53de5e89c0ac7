"""A folder of modules, `<name>/<preset>/<backbone>@<digest>/`, safe for many readers and writers.

A module is staged beside the others, verified, and renamed into place under a lock; it is removed
by one rename. Readers take no lock: a folder with a manifest is a whole module. Names that start
with a dot are the library's own:

    .lock         held for each change
    .staging/     modules that are being written; each has a lock that its writer holds
    .trash/       modules that are being deleted
    .tags/        <name>/<tag> holds a digest
    .studies/     <study>/<digest> for what a study made and nobody took in, see `studies`
    index.json    one row a module, derived from the folders
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from xstilts.config.specs import BackboneIdentity
from xstilts.errors import IntegrityError, NotFoundError, UsageError, near_names
from xstilts.files import write_text
from xstilts.zoo.card import write_card
from xstilts.zoo.entry import (
    SHORT,
    Entry,
    fitting,
    full_name,
    is_backbone,
    matches,
    of_backbone,
    pair,
)
from xstilts.zoo.index import update_index
from xstilts.zoo.manifest import (
    CARD,
    MERGE,
    NAME,
    RENAMED,
    SCORES,
    SIGNATURE,
    Manifest,
    read_manifest,
    require_name,
)
from xstilts.zoo.reference import Reference, parse_reference, slug
from xstilts.zoo.staging import discard, locked, staging
from xstilts.zoo.studies import mark, marks, unmark
from xstilts.zoo.verify import settled, verify_folder

__all__ = ["Entry", "Fetch", "Zoo", "require_name"]

Fetch = Callable[[str], Path]
"""Turns a remote reference into a verified local folder."""


class Zoo:
    """The module library: every module folder below `root`.

    Args:
        root: Made at the first write.
        fetch: Gets modules on hubs for `find`; without it, remote references are refused.
        study: What is added is of this study, and stands apart from the library; see `adopt`.
    """

    def __init__(self, root: Path, fetch: Fetch | None = None, study: str = "") -> None:
        self.root, self.fetch, self.study = root, fetch, study

    def of_study(self, study: str) -> Zoo:
        """The same modules; what is added is of a study."""
        return Zoo(self.root, self.fetch, study)

    def __repr__(self) -> str:
        return f"Zoo('{self.root}', {len(self.folders())} modules)"

    # -- reading

    def folders(self, name: str = "") -> list[Path]:
        """Every folder with a manifest, sorted, whether it verifies or not."""
        names = [self.root / name] if name else _children(self.root)
        variants = [path for parent in names for path in _children(parent)]
        modules = [path for parent in variants for path in _children(parent)]
        return [path for path in modules if (path / NAME).exists()]

    def own_folders(self) -> list[Path]:
        """As `folders`, without those of studies; no manifest is read."""
        apart = {digest[:SHORT] for digest in self.studies()}
        return [path for path in self.folders() if path.name.rpartition("@")[2] not in apart]

    def entries(
        self,
        *,
        name: str = "",
        task: str = "",
        method: str = "",
        backbone: str = "",
        language: str = "",
        kind: str = "",
        min_score: float | None = None,
    ) -> list[Entry]:
        """The modules that fit every filter given, by reference; broken ones are left out.

        Args:
            name: Of the module.
            task: That it was trained on.
            method: Preset or method.
            backbone: Short name, repository or the start of a fingerprint.
            language: That the module is for, or was trained in.
            kind: See `Manifest`.
            min_score: Least score on the dev set, in the task's metric.
        """
        method = RENAMED["preset"].get(method, method)
        found = []
        for folder in self.folders(name):
            try:
                m = settled(folder, read_manifest)
            except IntegrityError:
                continue
            if m is None:
                continue  # removed by another process meanwhile
            score = m.training.get("dev_score")
            score = score if isinstance(score, int | float) else None
            if (
                (not task or m.task == task)
                and (not method or method in (m.preset, m.method, slug(m.variant)))
                and (not backbone or is_backbone(m.backbone, backbone))
                and (not language or language in (*m.languages, *m.source_language.split(",")))
                and (not kind or m.kind == kind)
                and (min_score is None or (score is not None and score >= min_score))
            ):
                found.append(Entry(m, folder))
        return found

    def merged_from(self, manifest: Manifest) -> list[Manifest]:
        """Of a merge, the modules here that it was made from, and those that these were."""
        if manifest.kind != MERGE:
            return []
        known = {entry.manifest.digest: entry.manifest for entry in self.entries()}
        found: dict[str, Manifest] = {}
        todo = [manifest]
        while todo:
            for parent in todo.pop().parents:
                if parent.digest in known and parent.digest not in found:
                    found[parent.digest] = known[parent.digest]
                    todo.append(known[parent.digest])
        return list(found.values())

    def studies(self) -> dict[str, str]:
        """The digest of each module that stands apart to the study that made it."""
        return marks(self.root)

    def library(self, entries: Sequence[Entry] | None = None) -> list[Entry]:
        """Those of some modules, or of all, that do not stand apart as a study's."""
        apart = self.studies()
        every = self.entries() if entries is None else entries
        return [entry for entry in every if entry.manifest.digest not in apart]

    def find(
        self,
        reference: str,
        backbone: BackboneIdentity | None = None,
        *,
        allow_mismatch: bool = False,
    ) -> Entry:
        """The one module that a reference means; see `xstilts.zoo.reference` for the grammar.

        Where several fit, those of studies count only if no other fits.

        Args:
            reference: What to look for.
            backbone: Only modules of these weights count.
            allow_mismatch: Take a module of another backbone when there is no other.

        Raises:
            NotFoundError: No such module; near names are shown.
            UsageError: Several modules fit; they are listed.
            BackboneMismatchError: It exists for another backbone only.
            IntegrityError: The folder or the fetched module is no whole module.
        """
        parsed = parse_reference(reference)
        if parsed.kind == "folder":
            if not parsed.path.is_dir():
                raise NotFoundError(f"no module folder {parsed.text}", hint="Check the path.")
            found = [Entry(read_manifest(parsed.path), parsed.path)]
        elif parsed.kind == "remote":
            if self.fetch is None:
                raise NotFoundError(
                    f"'{reference}' is not in the library",
                    hint=f"Fetch it first: xstilts zoo pull {reference}",
                )
            folder = self.fetch(reference)
            found = [Entry(read_manifest(folder), folder)]
        else:
            found = self._matching(parsed)
        own = self.library(of_backbone(found, backbone)) if len(found) > 1 else []
        return fitting(own or found, reference, backbone, allow_mismatch)

    def find_run(self, run: str) -> Entry | None:
        """The module that a training with this input digest made, or None."""
        return next((e for e in self.entries() if run and e.manifest.run == run), None)

    def has(self, digest: str) -> bool:
        """Whether the module with this digest is here."""
        return any(entry.manifest.digest == digest for entry in self.entries())

    def _matching(self, wanted: Reference) -> list[Entry]:
        digest = self._tagged(wanted) if wanted.tag else wanted.digest
        entries = self.entries(name=wanted.name)
        found = [entry for entry in entries if matches(entry.manifest, wanted, digest)]
        exact = [e for e in found if slug(e.manifest.variant) == wanted.variant]
        found = exact or found  # a preset of this name goes before others of this method
        if not found:
            self._report_broken(wanted, digest)
            known = {n for e in self.entries() for n in (e.manifest.name, pair(e.manifest))}
            hint = near_names(wanted.text, known) or "The library is empty: train a module first."
            raise NotFoundError(f"no module '{wanted.text}'", where=str(self.root), hint=hint)
        return found

    def _tagged(self, wanted: Reference) -> str:
        tags = {tag: digest for (name, tag), digest in self.tags().items() if name == wanted.name}
        if wanted.tag not in tags:
            raise NotFoundError.named("tag", f"{wanted.name}:{wanted.tag}", tags)
        return tags[wanted.tag]

    def _report_broken(self, wanted: Reference, digest: str) -> None:
        """Say why a module that the reference can mean is not listed."""
        for folder in self.folders(wanted.name):
            last = folder.name.rpartition("@")[2]
            if wanted.variant in ("", folder.parent.name) and last.startswith(digest[:SHORT]):
                settled(folder, read_manifest)

    # -- writing

    def add(self, build: Callable[[Path], object]) -> Entry:
        """Keep a new module: `build` fills a temporary folder and writes its manifest.

        The folder is verified, gets a card if it has none, and is renamed into place. A module that
        is there already stays; its card, scores and signature are renewed when the new folder has
        them.

        Raises:
            UsageError: The module's name is not allowed.
            IntegrityError: What `build` left is no whole module.
            OSError: The disk is full; nothing is left behind.
        """
        with staging(self.root) as folder:
            build(folder)
            for path in folder.iterdir():
                path.chmod(0o644)  # safetensors writes files that only their owner may read
            manifest = verify_folder(folder)
            require_name(manifest.name)
            entry = Entry(manifest, self._folder(manifest))
            with locked(self.root):
                there = self._keep(entry)
                if not self.study:
                    unmark(self.root, manifest.digest)
                elif not there:
                    mark(self.root, self.study, manifest.digest)
                if there:
                    # A signature is of the manifest's bytes, and two of one digest may differ in
                    # when they were made.
                    signed = (folder / SIGNATURE).exists()
                    for name in (CARD, SCORES, *((NAME, SIGNATURE) if signed else ())):
                        if (folder / name).exists():
                            (folder / name).replace(entry.folder / name)
                else:
                    if not (folder / CARD).exists():
                        write_card(folder, parts=self.merged_from(manifest))
                    entry.folder.parent.mkdir(parents=True, exist_ok=True)
                    folder.rename(entry.folder)
                update_index(self.root, self.folders())
        return entry

    def _keep(self, entry: Entry) -> bool:
        """Whether the module is there already; a broken one makes room."""
        if not entry.folder.exists():
            return False
        try:
            return verify_folder(entry.folder).digest == entry.manifest.digest
        except IntegrityError:
            discard(self.root, entry.folder)
            return False

    def _folder(self, manifest: Manifest) -> Path:
        return self.root / full_name(manifest)

    def remove(self, entry: Entry) -> None:
        """Delete a module and its tags; it leaves the library in one rename.

        Raises:
            NotFoundError: It is gone already.
            UsageError: It is a folder outside the library.
        """
        if entry.folder != self._folder(entry.manifest):
            raise UsageError(f"{entry.folder} is not in the library", where=str(self.root))
        with locked(self.root):
            if not entry.folder.is_dir():
                raise NotFoundError(f"no module '{entry.reference}'", where=str(self.root))
            gone = discard(self.root, entry.folder)
            unmark(self.root, entry.manifest.digest)
            for name, tag in [k for k, v in self.tags().items() if v == entry.manifest.digest]:
                (self.root / ".tags" / name / tag).unlink(missing_ok=True)
            for parent in (entry.folder.parent, entry.folder.parent.parent):
                if not any(parent.iterdir()):
                    parent.rmdir()
            update_index(self.root, self.folders())
        shutil.rmtree(gone, ignore_errors=True)

    def tag(self, entry: Entry, tag: str) -> str:
        """Let `<name>:<tag>` mean this module from now on; returns that reference.

        A study's module is one of the library then.

        Raises:
            NotFoundError: The module is gone.
            UsageError: The tag is no plain lower-case word.
        """
        reference = f"{entry.manifest.name}:{tag}"
        if parse_reference(reference).tag != tag or not tag:
            raise UsageError(f"{tag!r} is no tag", hint="Use lower-case letters, digits, - _ .")
        with locked(self.root):
            if not entry.folder.is_dir():
                raise NotFoundError(f"no module '{entry.reference}'", where=str(self.root))
            write_text(self.root / ".tags" / entry.manifest.name / tag, entry.manifest.digest)
            unmark(self.root, entry.manifest.digest)
        return reference

    def adopt(self, entry: Entry) -> None:
        """Take a study's module into the library, unless these are a study's modules themselves."""
        if not self.study and entry.manifest.digest in self.studies():
            with locked(self.root):
                unmark(self.root, entry.manifest.digest)

    def tags(self) -> dict[tuple[str, str], str]:
        """(name, tag) to digest."""
        found = {}
        for folder in _children(self.root / ".tags"):
            for path in sorted(folder.glob("[!.]*")):
                with suppress(FileNotFoundError):  # removed by another process meanwhile
                    found[folder.name, path.name] = path.read_text("utf-8", "replace").strip()
        return found


def _children(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; none when it is gone, as another process may remove it."""
    try:
        with os.scandir(folder) as items:
            names = [item.name for item in items if item.name[0] != "." and _is_folder(item)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names)]


def _is_folder(item: os.DirEntry[str]) -> bool:
    """Whether it is one, also behind a link; a link that leads nowhere or to itself is none."""
    return Path(item).is_dir() if item.is_symlink() else item.is_dir()
