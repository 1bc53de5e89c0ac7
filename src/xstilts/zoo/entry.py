"""A module in a library, and which of several a reference means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xstilts.config.specs import BackboneIdentity
from xstilts.errors import AmbiguousError, BackboneMismatchError
from xstilts.zoo.manifest import Manifest
from xstilts.zoo.reference import Reference, slug

SHORT = 12
"""Digits of a digest in folder names and references."""


@dataclass(frozen=True, repr=False)
class Entry:
    """A module of the library: its manifest, and the folder that it is in."""

    manifest: Manifest
    folder: Path

    def __repr__(self) -> str:
        return f"Entry('{self.reference}', folder='{self.folder}')"

    @property
    def reference(self) -> str:
        """The reference that names exactly this module."""
        return full_name(self.manifest)


def full_name(manifest: Manifest) -> str:
    """`name/preset/backbone@digest`: the module's reference, and its path below a library."""
    m = manifest
    return f"{m.name}/{slug(m.variant)}/{slug(m.backbone.name)}@{m.digest[:SHORT]}"


def is_backbone(identity: BackboneIdentity, wanted: str) -> bool:
    """Whether `wanted` is its name, its repository or the start of its fingerprint."""
    names = (identity.name, identity.repo, slug(identity.name))
    return wanted in names or identity.fingerprint.startswith(wanted)


def pair(manifest: Manifest) -> str:
    """`name/preset`: enough where the library has it once for the backbone in use."""
    return f"{manifest.name}/{slug(manifest.variant)}"


def matches(manifest: Manifest, wanted: Reference, digest: str) -> bool:
    """Whether a reference, its tag resolved to `digest`, can mean this module."""
    m = manifest
    return (
        wanted.name in ("", m.name)
        and wanted.variant in ("", m.preset, m.method, slug(m.variant))
        and wanted.backbone in ("", m.backbone.name, slug(m.backbone.name))
        and m.digest.startswith(digest)
    )


def of_backbone(found: list[Entry], backbone: BackboneIdentity | None) -> list[Entry]:
    """The modules that are for a backbone; all where none is given."""
    if backbone is None:
        return found
    return [entry for entry in found if not entry.manifest.backbone.differences(backbone)]


def fitting(
    found: list[Entry], reference: str, backbone: BackboneIdentity | None, allow_mismatch: bool
) -> Entry:
    """The one of `found` that is for `backbone`; see `Zoo.find` for what is raised."""
    fits = of_backbone(found, backbone)
    if not fits and backbone is not None:
        if not allow_mismatch:
            raise _mismatch(reference, found[0].manifest.backbone, backbone)
        fits = found
    if len(fits) > 1:
        listed = "\n".join(f"  {entry.reference}  seed {entry.manifest.seed}" for entry in fits)
        raise AmbiguousError(
            f"'{reference}' fits {len(fits)} modules", where=listed, hint="Name one of these."
        )
    return fits[0]


def _mismatch(
    reference: str, other: BackboneIdentity, backbone: BackboneIdentity
) -> BackboneMismatchError:
    found = other.differences(backbone)
    differing = "" if "fingerprint" in found else f" (its {', '.join(sorted(found))} differ)"
    return BackboneMismatchError(
        f"module '{reference}' was trained on {_described(other)}; "
        f"this backbone is {_described(backbone)}{differing}",
        hint=f"{_use(other)}, or train the module on {backbone.name}.",
    )


def _use(other: BackboneIdentity) -> str:
    """What to type: a hub id as it is; the manifest knows only the name of a folder."""
    if not other.on_hub:
        return f"Use --backbone FOLDER, its folder was called '{other.repo}'"
    return f"Use --backbone {other.repo}{'@' if other.revision else ''}{other.revision}"


def _described(identity: BackboneIdentity) -> str:
    revision = f" revision {identity.revision[:SHORT]}" if identity.revision else ""
    return f"{identity.name}{revision} (fingerprint {identity.fingerprint[:SHORT]})"
