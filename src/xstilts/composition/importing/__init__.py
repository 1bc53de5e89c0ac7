"""Folders of the adapters library and of peft as modules: read, checked, converted, kept.

What becomes a module is the function: LoRA of either library, rsLoRA by its scaling, bottleneck
adapters, MAD-X language adapters, the old names of AdapterHub. A head comes along where the task is
named and its labels fit. Pickles are read only when asked for, by another process that loads
nothing but tensors.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from xstilts.backbone.backbone import Backbone
from xstilts.composition.heads import save_heads
from xstilts.composition.importing import adapters, peft
from xstilts.composition.importing.folder import ExternalFolder, Imported
from xstilts.composition.manifests import new_manifest
from xstilts.composition.task_model import head_tensors, restore_head
from xstilts.config.load import load_task
from xstilts.config.specs import BackboneIdentity
from xstilts.errors import BackboneMismatchError, IntegrityError, NotFoundError
from xstilts.files import sha256_file
from xstilts.modules.methods import METHODS
from xstilts.zoo import Entry, Manifest, Zoo, write_manifest

FILES = ("adapter_config.json", *adapters.FILES, *peft.FILES)
"""What is read of a folder of either library; the first is always there."""


def read_folder(
    path: Path, backbone: Backbone, task: str = "", *, pickles: bool = False
) -> Imported:
    """The module in a folder of the adapters library or of peft.

    Args:
        path: The folder.
        backbone: Gives the shapes.
        task: Whose labels the head speaks; without it no head is read.
        pickles: Read `.bin` files, in another process.

    Raises:
        NotFoundError: There is no such folder.
        UsageError: Its weights are a pickle and `pickles` is not set.
        IntegrityError: It is no such folder, or holds what is not supported.
    """
    if not path.is_dir():
        raise NotFoundError(f"no folder {path}", hint="Check the path.")
    if (path / "config.json").is_file() and not (path / FILES[0]).exists():
        raise IntegrityError(
            f"it holds a whole model and no {FILES[0]}",
            where=str(path),
            hint="Name it with --backbone: it is a backbone of its own.",
        )
    spec = load_task(task) if task else None
    with tempfile.TemporaryDirectory() as scratch:
        folder = ExternalFolder(path, Path(scratch), pickles)
        config = folder.json("adapter_config.json")
        library = peft if "peft_type" in config else adapters
        try:
            found = library.read(folder, config, backbone, spec)
        except IntegrityError as error:  # converted files lie in a folder that will be gone
            where = str(path) if error.where.startswith(scratch) else error.where or str(path)
            raise IntegrityError(error.what, where=where, hint=error.hint) from None
    if spec is not None and found.head is None and not found.notes:
        return replace(found, notes=(f"it holds no head for task '{task}'",))
    return found


def require_base(
    found: Imported, identity: BackboneIdentity, *, given: str = "", allow: bool = False
) -> None:
    """Refuse a folder whose config names another base model.

    Args:
        found: What was read.
        identity: Of the backbone in use.
        given: What the backbone was loaded as; a folder may be named by its path.
        allow: Take whatever there is.

    Raises:
        BackboneMismatchError: It names another, or none. Neither library records which weights a
            module was trained on, so a name is all there is: of a folder that is not here its last
            part.
    """
    stated, folder = Path(found.stated).expanduser(), Path(given).expanduser()
    here = stated.is_absolute() and stated.exists()
    name = stated.name if stated.is_absolute() and not here else found.stated
    if allow or name in (identity.repo, identity.name):
        return
    if found.stated and folder.is_dir() and name == folder.name:  # of a link, too
        return
    if found.stated and given and folder.is_dir() and stated.resolve() == folder.resolve():
        return
    made = f"was made for '{found.stated}'" if found.stated else "names no base model"
    raise BackboneMismatchError(
        f"the folder {made}; this backbone is {identity.repo}",
        hint="Name its base model with --backbone, or give --allow-base-mismatch.",
    )


def add_to(
    zoo: Zoo, found: Imported, name: str, backbone: Backbone, source: Path, origin: str = ""
) -> Entry:
    """Keep an imported module, which was in `source`, and before on a hub as `origin` says."""
    method = METHODS.get(found.adapter.method)
    head = found.head
    imported: dict[str, Any] = {"library": found.library, "files": _checksums(source)}
    if origin:
        imported["origin"] = origin
    if head is not None:  # a head must load again from what is kept
        restore_head(head.task, backbone, head_tensors(head))

    def write(folder: Path) -> Manifest:
        method.save(found.adapter, folder, name, backbone)
        if head is not None:
            save_heads({head.task.name: head}, folder)
        manifest = new_manifest(
            name,
            found.adapter.method,
            backbone,
            options=found.adapter.options,
            head=head.task if head else None,
            preset="imported",
            training={"imported": imported},
            trainable_parameters=found.adapter.num_parameters,
        )
        return write_manifest(folder, manifest)

    return zoo.add(write)


def _checksums(source: Path) -> dict[str, str]:
    return {name: sha256_file(source / name) for name in FILES if (source / name).is_file()}
