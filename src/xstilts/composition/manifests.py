"""What every new module's manifest says, whichever way the module came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.machine import machine
from xstilts.config.specs import Spec, TaskSpec
from xstilts.modules.methods import METHODS
from xstilts.zoo import Entry, Manifest
from xstilts.zoo.manifest import Parent


def new_manifest(
    name: str,
    method: str,
    backbone: Backbone,
    *,
    options: Spec | None = None,
    head: TaskSpec | None = None,
    **values: Any,
) -> Manifest:
    """A manifest of a module that was just made; `write_manifest` adds its files.

    Args:
        name: Of the module.
        method: Name of its method, which says its kind unless `values` do.
        backbone: What it acts in.
        options: The method's.
        head: The task whose format and labels its head speaks, where it has a single one.
        values: Other fields of `Manifest`.
    """
    implementation = METHODS.get(method)
    fields: dict[str, Any] = {
        "kind": implementation.KIND,
        "options": options.model_dump() if options else {},
        "versions": machine()
        | _versions(("xstilts", "torch", "transformers", *implementation.LIBRARIES)),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if head is not None:
        fields |= {
            "task": head.name,
            "format": head.format,
            "family": head.head_family,
            "labels": head.labels,
        }
    return Manifest(name=name, method=method, backbone=backbone.identity, **{**fields, **values})


def parents_of(entries: Mapping[str, Entry]) -> list[Parent]:
    """The modules of an expression, by reference, as what acts below a new one."""
    return [Parent(reference=n, digest=e.manifest.digest) for n, e in entries.items()]


def _versions(packages: Sequence[str]) -> dict[str, str]:
    return {package: version(package) for package in packages}
