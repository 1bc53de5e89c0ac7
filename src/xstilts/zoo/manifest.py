"""`manifest.json`: what a module is, where it comes from, and a checksum of every file.

The *digest* is the module's identity: the sha256 of the manifest in canonical form without its
keys `digest`, `created` and `versions`, so that training again with the same result gives the same
digest. It covers the name, the size and the sha256 of every file of the folder but these, which may
change later: `README.md` (the card), `scores.json` (rows that the card shows), `model.sig`.

An old manifest stays loadable: `_UPGRADES` turns the values of each past version into those of the
next, after the digest was checked over the values as they were written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from xstilts.config.layers import first_problem
from xstilts.config.specs import BackboneIdentity, Spec
from xstilts.errors import IntegrityError, LaterVersionError, UsageError
from xstilts.files import digest, json_text, sha256_file, write_json
from xstilts.zoo.strict_json import read_json, real_file

SCHEMA_VERSION = 1
NAME, CARD, SCORES, SIGNATURE = "manifest.json", "README.md", "scores.json", "model.sig"
HEAD = "head.safetensors"
"""Of a module with a single head."""
UNLISTED = (NAME, CARD, SCORES, SIGNATURE, ".gitattributes")
"""Files outside the digest; `.gitattributes` is what hubs add."""

_OUTSIDE_DIGEST = ("digest", "created", "versions")
LONGEST_NAME = 96
"""Characters of a module's name."""

_NAME = re.compile(rf"[a-z0-9_][a-z0-9._+-]{{0,{LONGEST_NAME - 1}}}")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema version to what turns its values into those of the next version."""

RENAMED = {
    "kind": {"foreign": "external"},
    "method": {"foreign_adapters": "external_adapters", "foreign_peft": "external_peft"},
    "preset": {"full_diff": "full_delta"},
}
"""Field to its values of before 0.2 and what they are called now."""

COMPOSITION, MERGE = "composition", "merge"
"""Kinds of what is made from modules; the others are the kinds of methods."""

SIMULATED = "simulated world"
"""Source of rows that a built-in world made up, whatever real task's format they are in."""

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=f"^{FILE_NAME.pattern}$")]


class FileRecord(Spec):
    """One file of the folder.

    Attributes:
        path: A plain name; a module has no sub-folders.
        role: `weights`, `head`, `learned`, `config` or `other`.
    """

    path: FileName
    size: int = Field(ge=0)
    sha256: Digest
    role: str = "other"


class Parent(Spec):
    """A module that this one was made from.

    Attributes:
        reference: As it was written.
        role: `below` is in force while this one acts, `merged` an operand, `init` is where training
            started.
        weight: As written in a merge, times the weights around it; 1 where none is written, also
            where the operator shares, as in `average(a, b)`.
    """

    reference: str
    digest: Digest
    role: Literal["below", "merged", "init"] = "below"
    weight: float = 1.0


class DataRecord(Spec):
    """Rows that were trained on or selected with.

    Attributes:
        sha256: Over the rows as read, in order.
        source: Where they came from, such as a hub data set or `SIMULATED`; never a local path.
    """

    task: str
    split: str
    language: str
    rows: int = Field(ge=0)
    sha256: str = ""
    source: str = ""


class HeadRecord(Spec):
    """One of several heads of a module.

    Attributes:
        file: Its tensors.
        task: The task whose format and labels it speaks; `family` says which tasks may share it.
    """

    file: FileName
    task: str
    format: str
    family: str = ""
    labels: list[str] = Field(default_factory=list)


class Manifest(Spec):
    """Everything a module says of itself.

    Attributes:
        kind: What the folder holds: the `KIND` of its method, or a `composition`, which needs its
            parents, or a `merge`.
        task: The task it was trained on; its head speaks that task's labels.
        format: Of its head, with the `family` of tasks that may share it; empty without a head.
        preset: Method preset; `method` is the implementation.
        composition: The expression below its own weights, with parents by digest; `none` without.
        labels: Label names of the head, in order; empty without a head.
        heads: When there are several; `format`, `family` and `labels` are empty then.
        languages: That the module itself is for (a language adapter); `source_language` is what
            the task was trained in.
        run: Digest of every input of the training, so that the same run is found again; it says
            nothing of the weights, which another machine makes others of.
        training: Settings, steps, selection and dev score.
        probe: Outputs on fixed input ids, to notice a reload that computes something else.
        files: Every file but those of `UNLISTED`.
        versions: Of the packages, and the machine: processor, threads, kernels, libraries behind
            matrix products.
        digest: Over files and everything above but `versions`; the module's identity.
    """

    schema_version: int = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    kind: Kind
    task: str = ""
    format: str = ""
    family: str = ""
    method: Annotated[str, Field(min_length=1)]
    preset: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    backbone: BackboneIdentity
    composition: str = "none"
    parents: list[Parent] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    heads: list[HeadRecord] = Field(default_factory=list)
    languages: list[str] = Field(default_factory=list)
    source_language: str = ""
    seed: int = 0
    run: str = ""
    training: dict[str, Any] = Field(default_factory=dict)
    data: list[DataRecord] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    trainable_parameters: int = 0
    probe: list[float] = Field(default_factory=list)
    license: str = ""
    created: str = ""
    files: list[FileRecord] = Field(default_factory=list)
    digest: str = ""

    @property
    def variant(self) -> str:
        """What tells modules of one name apart in references: the preset, or the method."""
        return self.preset or self.method

    @property
    def trained_tasks(self) -> list[str]:
        """The tasks whose rows it was trained on, without those that only selected it."""
        return list(dict.fromkeys(r.task for r in self.data if r.split == "train"))

    @property
    def needed(self) -> list[Parent]:
        """The modules without which it computes nothing: a composition's parts."""
        return list(self.parents) if self.kind == "composition" else []


def require_name(name: str) -> None:
    """Refuse names that cannot be folders or stand in expressions.

    Raises:
        UsageError: Anything but lower-case ASCII letters, digits, `-`, `_`, `+` and inner dots.
    """
    if not _NAME.fullmatch(name) or name == "none":
        raise UsageError(
            f"{name!r} cannot name a module",
            hint="Use lower-case ASCII letters, digits, - _ . and +, with no dot or sign first.",
        )


def role_of(name: str) -> str:
    """What a file of this name is to a module."""
    if name == "learned.safetensors":
        return "learned"
    if "head" in name:
        return "head"
    if name.endswith(".safetensors"):
        return "weights"
    return "config" if name.endswith(".json") else "other"


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Record every file of the folder and write the manifest; returns it with its digest."""
    files = [
        FileRecord(
            path=path.name,
            size=path.stat().st_size,
            sha256=sha256_file(path),
            role=role_of(path.name),
        )
        for path in sorted(folder.iterdir())
        if path.name not in UNLISTED
    ]
    filled = manifest.model_copy(update={"files": files, "schema_version": SCHEMA_VERSION})
    whole = filled.model_copy(update={"digest": content_digest(filled.model_dump(mode="json"))})
    write_json(folder / NAME, whole.model_dump(mode="json"))
    return whole


def content_digest(values: Mapping[str, Any]) -> str:
    """The digest of a manifest's values as written, 64 hex digits."""
    return digest({k: v for k, v in values.items() if k not in _OUTSIDE_DIGEST})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a module folder; no other file is looked at.

    Raises:
        IntegrityError: It is missing, broken, or not what its digest says.
        LaterVersionError: A later version wrote it.
    """
    path = folder / NAME
    if not path.is_symlink() and not path.exists():
        raise IntegrityError("the folder is no module: no manifest.json", where=str(folder))
    return manifest_of(read_json(real_file(path)), str(path))


def manifest_of(values: Any, where: str) -> Manifest:
    """The manifest in parsed JSON; see `read_manifest`."""
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int or version < 1:
        raise IntegrityError("manifest.json states no schema version", where=where)
    if version > SCHEMA_VERSION:
        raise LaterVersionError(
            f"the module is of schema {version}, newer than {SCHEMA_VERSION}", where=where
        )
    stated, actual = values.get("digest"), content_digest(values)
    values = {key: RENAMED.get(key, {}).get(str(value), value) for key, value in values.items()}
    for past in range(version, SCHEMA_VERSION):
        values = _UPGRADES[past](values)
    try:
        manifest = Manifest.model_validate(values | {"schema_version": SCHEMA_VERSION})
    except ValidationError as error:
        message = f"manifest.json is broken: {first_problem(error)}"
        raise IntegrityError(message, where=where) from None
    if stated != actual:
        raise IntegrityError("manifest.json was changed: its digest differs", where=where)
    return manifest


def schema_text() -> str:
    """The JSON Schema of `manifest.json`, as shipped in `manifest.schema.json`."""
    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"xstilts module manifest, schema {SCHEMA_VERSION}",
    }
    return json_text(_bare(Manifest.model_json_schema()) | about)


def _bare(schema: Any) -> Any:
    """A schema without the texts that are only about our code."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    texts = {k for k in ("title", "description") if isinstance(schema.get(k), str)}
    return {key: _bare(value) for key, value in schema.items() if key not in texts}
