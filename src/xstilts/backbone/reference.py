"""What a reference to a backbone means."""

from __future__ import annotations

import json
from pathlib import Path

from xstilts.config.load import load_backbone_spec, spec_names
from xstilts.config.specs import BackboneSpec
from xstilts.errors import NotFoundError


def backbone_spec(reference: str) -> BackboneSpec:
    """What a backbone reference means: a preset, a YAML file, a folder, or `org/name@revision`.

    Raises:
        NotFoundError: A bare name that is no preset.
    """
    if reference in spec_names("backbones") or reference.endswith((".yaml", ".yml")):
        return load_backbone_spec(reference)
    folder = Path(reference).expanduser()
    if folder.is_dir():
        _require_model_folder(folder)
        return BackboneSpec(name=folder.resolve().name, repo=str(folder), retrieval_layer=0)
    if reference.count("/") == 1 and not reference.startswith((".", "/", "~")):
        repo, _, revision = reference.partition("@")
        return BackboneSpec(
            name=repo.rsplit("/", 1)[1], repo=repo, revision=revision, retrieval_layer=0
        )
    raise NotFoundError.named("backbone", reference, spec_names("backbones"))


def _require_model_folder(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFoundError(
            f"{folder} is no model folder: {type(error).__name__} in config.json",
            hint="A backbone folder holds config.json, model.safetensors and the tokenizer.",
        ) from None
