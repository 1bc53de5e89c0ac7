"""Keep a full fine-tune of the library as its difference from the backbone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.lazy_tensors import info_of, rows_of
from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.methods import METHODS, full
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo import Entry, Manifest, Zoo, verify_folder, write_manifest
from xstilts.zoo.entry import fitting
from xstilts.zoo.manifest import UNLISTED

PRESET = "full_delta"


@dataclass(frozen=True)
class Shrunk:
    """A module and how much room it takes.

    Attributes:
        before: Bytes of the module that it was made from.
        after: Its own bytes.
    """

    entry: Entry
    before: int
    after: int


def shrink(entry: Entry, zoo: Zoo, backbone: Backbone) -> Shrunk:
    """Add a module that is bit for bit the same encoder, stored as a difference.

    The one that it is made from stays; it says the same of its training, under another digest.

    Raises:
        UsageError: The module is no full fine-tune, or a difference already.
        BackboneMismatchError: `backbone` is not the one that it was trained from.
    """
    manifest = verify_folder(entry.folder)
    method = METHODS.get(manifest.method)
    if not method.DIFFERENCES:
        raise UsageError(
            f"{entry.reference} is of method {manifest.method}",
            hint="Only full fine-tuning has a difference from the backbone to store.",
        )
    if manifest.options.get("stored") == "difference":
        raise UsageError(f"{entry.reference} is stored as a difference already")
    fitting([entry], entry.reference, backbone.identity, allow_mismatch=False)
    own = method.load(entry.folder, backbone.shape)
    own.options = full.Options(stored="difference")

    def build(folder: Path) -> Manifest:
        for path in entry.folder.iterdir():
            kept = path.name not in (*UNLISTED, full.WEIGHTS, full.CONFIG)
            if kept or path.name == "scores.json":
                shutil.copyfile(path, folder / path.name)
        full.save(own, folder, manifest.name, backbone)
        _check_same(own, full.load(folder, backbone.shape))
        options = {"options": own.options.model_dump(), "preset": PRESET}
        return write_manifest(folder, manifest.model_copy(update=options))

    made = zoo.add(build)
    return Shrunk(made, _size(manifest), _size(made.manifest))


def _check_same(one: ModuleWeights, other: ModuleWeights) -> None:
    """Compare two encoders bit for bit, some rows at a time."""
    left, right = one.encoder_weights or {}, other.encoder_weights or {}
    for name in left:
        for start, stop in info_of(left, name).pieces():
            rows = (rows_of(side, name, start, stop).contiguous() for side in (left, right))
            if not torch.equal(*(part.view(torch.uint8) for part in rows)):
                raise IntegrityError(
                    f"{name} is not the same when it is read again",
                    hint="Nothing was added; run it again, and check the disk if this comes back.",
                )


def _size(manifest: Manifest) -> int:
    return sum(file.size for file in manifest.files)
