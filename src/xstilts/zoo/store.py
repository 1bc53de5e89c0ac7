"""A folder of modules, `<name>/<preset>/<backbone>@<digest>/`, safe for many writers."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xstilts.errors import (
    BackboneMismatchError,
    IntegrityError,
    NotFoundError,
    UsageError,
    near_names,
)
from xstilts.specs import BackboneIdentity
from xstilts.zoo.manifest import Manifest, read_manifest, verify_folder

SHORT = 12
_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*")


@dataclass(frozen=True)
class Entry:
    """A module and its folder."""

    manifest: Manifest
    folder: Path

    @property
    def reference(self) -> str:
        """The reference that names exactly this module."""
        m = self.manifest
        return f"{m.name}/{m.preset}/{m.backbone.name}@{m.digest[:SHORT]}"


class Zoo:
    """The modules below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entries(self) -> list[Entry]:
        """Every module, by reference; folders that are not modules are skipped."""
        found = []
        for path in sorted(self.root.glob("*/*/*/manifest.json")):
            if not any(part.startswith(".") for part in path.relative_to(self.root).parts):
                found.append(Entry(read_manifest(path.parent), path.parent))
        return found

    def add(self, build: Callable[[Path], Manifest]) -> Entry:
        """Keep a new module: `build` fills a temporary folder, which is verified and renamed.

        Raises:
            UsageError: The module's name is not allowed.
            OSError: The disk is full; nothing is left behind.
        """
        staged = self.root / ".incoming"
        staged.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=staged))
        try:
            build(temporary)
            manifest = verify_folder(temporary)
            require_name(manifest.name)
            entry = Entry(manifest, self._folder(manifest))
            entry.folder.parent.mkdir(parents=True, exist_ok=True)
            if not entry.folder.exists():
                temporary.chmod(0o755)
                temporary.rename(entry.folder)
            return entry
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _folder(self, manifest: Manifest) -> Path:
        last = f"{manifest.backbone.name}@{manifest.digest[:SHORT]}"
        return self.root / manifest.name / manifest.preset / last

    def remove(self, entry: Entry) -> None:
        """Delete a module: it leaves the library in one rename."""
        gone = self.root / ".removed" / f"{entry.manifest.digest[:SHORT]}-{id(entry)}"
        gone.parent.mkdir(parents=True, exist_ok=True)
        entry.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        for parent in (entry.folder.parent, entry.folder.parent.parent):
            if not any(parent.iterdir()):
                parent.rmdir()

    def find_run(self, run: str) -> Entry | None:
        """The module that a training with this input digest made, or None."""
        return next((e for e in self.entries() if e.manifest.run == run), None)

    def find(self, reference: str, backbone: BackboneIdentity | None = None) -> Entry:
        """The one module that a reference means.

        References are `mnli`, `mnli/lora`, `mnli/lora/xlm-roberta-base@0a1b`, `@0a1b`, or the path
        of a module folder, `./path`.

        Args:
            reference: What to look for.
            backbone: Only modules of these weights count.

        Raises:
            NotFoundError: No such module; near names are shown.
            UsageError: Several modules fit; they are listed.
            BackboneMismatchError: It exists for another backbone only.
        """
        if reference.startswith(("./", "../", "/", "~")):
            folder = Path(reference).expanduser()
            if not folder.is_dir():
                raise NotFoundError(f"no module folder {reference}")
            return _fitting([Entry(read_manifest(folder), folder)], reference, backbone)
        entries = self.entries()
        found = [entry for entry in entries if _matches(entry.manifest, reference)]
        if not found:
            names = {n for e in entries for n in (e.manifest.name, _pair(e.manifest))}
            hint = near_names(reference, names) or "The library is empty: train a module first."
            raise NotFoundError(f"no module '{reference}'", where=str(self.root), hint=hint)
        return _fitting(found, reference, backbone)


def _pair(manifest: Manifest) -> str:
    return f"{manifest.name}/{manifest.preset}"


def _matches(manifest: Manifest, reference: str) -> bool:
    path, _, digest = reference.partition("@")
    wanted = [part for part in path.split("/") if part]
    own = [manifest.name, manifest.preset, manifest.backbone.name]
    return own[: len(wanted)] == wanted and manifest.digest.startswith(digest)


def _fitting(found: list[Entry], reference: str, backbone: BackboneIdentity | None) -> Entry:
    fits = [
        entry
        for entry in found
        if backbone is None or entry.manifest.backbone.fingerprint == backbone.fingerprint
    ]
    if not fits and backbone is not None:
        other = found[0].manifest.backbone
        raise BackboneMismatchError(
            f"module '{reference}' was trained on {other.name} ({other.fingerprint[:SHORT]}); "
            f"this backbone is {backbone.name} ({backbone.fingerprint[:SHORT]})",
            hint=f"Use --backbone {other.repo}, or train the module on {backbone.name}.",
        )
    if len(fits) > 1:
        listed = "\n".join(f"  {entry.reference}  seed {entry.manifest.seed}" for entry in fits)
        raise UsageError(
            f"'{reference}' fits {len(fits)} modules", where=listed, hint="Name one of these."
        )
    return fits[0]


def require_name(name: str) -> None:
    """Refuse names that cannot be folders or stand in expressions.

    Raises:
        UsageError: Anything but lower-case ASCII letters, digits, `-`, `_` and inner dots.
    """
    if not _NAME.fullmatch(name) or name == "none":
        raise UsageError(
            f"'{name}' cannot name a module", hint="Use lower-case letters, digits, - and _."
        )


def broken(zoo: Zoo) -> list[tuple[Path, IntegrityError]]:
    """The module folders that do not verify, and why."""
    found = []
    for path in sorted(zoo.root.glob("*/*/*/manifest.json")):
        try:
            verify_folder(path.parent)
        except IntegrityError as error:
            found.append((path.parent, error))
    return found
