"""`manifest.json`: what a module is, where it comes from, and a checksum of every file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from xstilts.errors import IntegrityError
from xstilts.files import digest, sha256_file, write_json
from xstilts.specs import BackboneIdentity, Spec

SCHEMA_VERSION = 1
NAME = "manifest.json"
UNLISTED = (NAME, "README.md")
"""Files outside the digest: the manifest itself, and the card, which may gain scores."""


class FileRecord(Spec):
    """One file of the folder."""

    path: str
    size: int
    sha256: str


class Parent(Spec):
    """A module that this one was made from, by digest."""

    reference: str
    digest: str


class Manifest(Spec):
    """Everything a module says of itself.

    Attributes:
        kind: `adapter`, `lora`, `full` or `head` for one module, `composition` for several.
        task: The task it was trained on; its head speaks that task's labels.
        preset: Method preset; `method` is the implementation.
        composition: The expression below its own weights, with parents by digest; `none` without.
        labels: Label names of the head, in order; empty without a head.
        run: Digest of every input of the training, so that the same run is found again.
        training: Settings, steps, selection and dev score.
        data: Rows trained on: task, split, language, rows, sha256.
        probe: Outputs on fixed input ids, to notice a reload that computes something else.
        files: Every file but the manifest and the card.
        digest: Over files and everything above; the module's identity.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    kind: Literal["adapter", "lora", "full", "head", "composition"]
    task: str
    format: str
    family: str
    method: str
    preset: str
    options: dict[str, Any] = Field(default_factory=dict)
    backbone: BackboneIdentity
    composition: str = "none"
    parents: list[Parent] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    source_language: str = ""
    seed: int = 0
    run: str = ""
    training: dict[str, Any] = Field(default_factory=dict)
    data: list[dict[str, Any]] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    trainable_parameters: int = 0
    probe: list[float] = Field(default_factory=list)
    license: str = ""
    created: str = ""
    files: list[FileRecord] = Field(default_factory=list)
    digest: str = ""


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Record every file of the folder and write the manifest; returns it with its digest."""
    files = [
        FileRecord(path=path.name, size=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(folder.iterdir())
        if path.name not in UNLISTED
    ]
    filled = manifest.model_copy(update={"files": files})
    whole = filled.model_copy(update={"digest": _digest(filled)})
    write_json(folder / NAME, whole.model_dump())
    return whole


def _digest(manifest: Manifest) -> str:
    values = manifest.model_dump()
    return digest({k: v for k, v in values.items() if k not in ("digest", "created", "versions")})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a module folder.

    Raises:
        IntegrityError: It is missing, broken, from a newer version, or not what its digest says.
    """
    path = folder / NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest.model_validate(values)
    except FileNotFoundError:
        raise IntegrityError("the folder is no module: no manifest.json", where=str(path)) from None
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise IntegrityError(f"manifest.json is broken: {first}", where=str(path)) from None
    if manifest.schema_version > SCHEMA_VERSION:
        raise IntegrityError(
            f"the module is of schema {manifest.schema_version}, newer than {SCHEMA_VERSION}",
            where=str(path),
            hint="Update xstilts.",
        )
    if _digest(manifest) != manifest.digest:
        raise IntegrityError("manifest.json was changed: its digest differs", where=str(path))
    return manifest


def verify_folder(folder: Path) -> Manifest:
    """Check that every file is there, unchanged, and that there is no other.

    Raises:
        IntegrityError: Anything differs; the file is named.
    """
    manifest = read_manifest(folder)
    listed = {record.path: record for record in manifest.files}
    there = {path.name for path in folder.iterdir()} - set(UNLISTED)
    for name in sorted(there ^ listed.keys()):
        what = "is missing" if name in listed else "is in no manifest"
        raise IntegrityError(f"file '{name}' {what}", where=str(folder))
    for name, record in listed.items():
        path = folder / name
        if "/" in name or "\\" in name or name.startswith(".") or path.is_symlink():
            raise IntegrityError(f"file name '{name}' is not allowed", where=str(folder))
        if path.stat().st_size != record.size or sha256_file(path) != record.sha256:
            raise IntegrityError(
                f"file '{name}' is not the one that was recorded",
                where=str(folder),
                hint="Remove the module and train or fetch it again.",
            )
    return manifest
