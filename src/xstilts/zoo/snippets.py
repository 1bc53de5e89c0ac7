"""How to load a module, as code: with xstilts, and with the library that owns its format."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from xstilts.config.registry import Registry
from xstilts.zoo.entry import pair
from xstilts.zoo.head_formats import head_format
from xstilts.zoo.manifest import COMPOSITION, HEAD, MERGE, NAME, Manifest

WITHOUT_SDPA = frozenset(
    {"bloom", "deberta-v2", "electra", "gemma2", "mt5", "t5", "umt5", "xglm", "xmod"}
)
"""Model types without fused attention, or with a wrong one, in some transformers of 4.57 to 5."""

LACKED = {
    "adapters": frozenset(
        {"bloom", "camembert", "gemma2", "gemma3_text", "llama", "mistral", "modernbert"}
        | {"qwen2", "qwen3", "umt5", "xglm", "xlm-roberta-xl", "xmod"}
    )
}
"""Library to the model types whose modules it cannot load."""

MANY_LABELS = 20
"""More labels than these are read from the manifest instead of written into the code."""


@dataclass(frozen=True)
class MethodCard:
    """What a model card says of a method's modules.

    Attributes:
        noun: What one is, such as "A LoRA module".
        library: Package that loads the folder without xstilts, such as `peft`; empty: none does.
        hub_library: What hubs call that library; `library` when empty.
        relation: To the base model, as hubs call it.
        for_language: Whether it is for a language rather than for a task.
        imports: Lines of Python that the code needs.
        code: Lines that put the module of `folder` into `model`; in each, `{encoder}` stands for
            the encoder of the model and `{load_as}` for an argument that names the module where
            the library cannot take its own name, and other braces are doubled.
    """

    noun: str
    library: str = ""
    hub_library: str = ""
    relation: str = "adapter"
    for_language: bool = False
    imports: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


class Described(Protocol):
    """What the card asks of a method; see `Method` in `xstilts.modules.methods`."""

    CARD: MethodCard


_METHODS = Registry[Described](
    "xstilts.modules.methods", "method", Described, group="xstilts.methods"
)
_DERIVED = {
    COMPOSITION: MethodCard("A composition of modules"),
    MERGE: MethodCard("A merge of modules", relation="merge"),
}


def card_of(manifest: Manifest) -> MethodCard:
    """What a card says of a module: as its method does, where that is installed."""
    if manifest.kind in _DERIVED:
        return _DERIVED[manifest.kind]
    if manifest.method not in _METHODS:
        return MethodCard("A module")
    return _stated(manifest.method) or _METHODS.get(manifest.method).CARD


@cache
def _stated(method: str) -> MethodCard | None:
    """The card that a method's file states in plain values, without importing torch with it."""
    path = _METHODS.origin(method).path
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path else ():
        match node:
            case ast.Assign([ast.Name("CARD")], ast.Call(ast.Name("MethodCard"), given, named)):
                with suppress(ValueError):
                    first = [ast.literal_eval(value) for value in given]
                    return MethodCard(
                        *first, **{str(k.arg): ast.literal_eval(k.value) for k in named}
                    )
    return None


def snippets(manifest: Manifest, repo: str = "") -> str:
    """The section "Use" of a card: xstilts first, then the library that owns the format.

    Args:
        manifest: Of the module.
        repo: Of the hub, such as `org/name`; empty where the module is in a folder or a store.
    """
    where = "" if repo else ", in this folder"
    fetch = f"xstilts zoo {f'pull hf:{repo}' if repo else 'add .'}"
    parts = [
        f"With xstilts, which checks every file and the backbone{where}:\n\n"
        f"```bash\n{fetch}\nxstilts xtreme {pair(manifest)}\n```"
    ]
    code = library_code(manifest, repo)
    if code:
        name = card_of(manifest).library
        parts.append(f"With plain {name}{where}:\n\n```python\n{code}\n```")
    return "\n\n".join(parts)


def library_name(name: str) -> str:
    """What the adapters library calls a module: it takes no names with dots."""
    return name.replace(".", "-")


def is_difference(manifest: Manifest) -> bool:
    """Whether the module is what differs from its backbone, which only xstilts puts together."""
    return manifest.options.get("stored") == "difference"


def library_code(manifest: Manifest, repo: str = "") -> str:
    """Python that loads the module without xstilts, or nothing where no library can.

    Args:
        manifest: Of the module.
        repo: Where it is fetched from; the folder in which the code runs when empty.
    """
    card = card_of(manifest)
    lacked = manifest.backbone.model_type in LACKED.get(card.library, ())
    if not card.library or lacked or is_difference(manifest):
        return ""
    has_head = any(record.path == HEAD for record in manifest.files)
    form = head_format(manifest.format) if has_head else None
    headed = form is not None and bool(form.HF_CODE)
    class_name = form.HF_CLASS if form is not None and headed else "AutoModel"
    encoder = "model.base_model" if headed else "model"
    named = form is not None and headed and form.LABEL_SET
    reading, names = _label_names(manifest.labels if named else [])
    lines = [*(["import json"] if reading else []), *_imports(card, class_name, headed, repo)]
    lines += ["", f'folder = snapshot_download("{repo}")' if repo else 'folder = "."']
    lines += [*reading, *_model(manifest, class_name, names)]
    called = library_name(manifest.name)
    load_as = f'load_as="{called}", ' if called != manifest.name else ""
    lines += [line.format(encoder=encoder, load_as=load_as) for line in card.code]
    if form is not None and headed:
        lines += [f'head = load_file(f"{{folder}}/{HEAD}")', *form.HF_CODE]
    return "\n".join([*lines, "model.eval()"])


def _imports(card: MethodCard, class_name: str, headed: bool, repo: str) -> list[str]:
    lines = {*card.imports, f"from transformers import {class_name}"}
    if repo:
        lines.add("from huggingface_hub import snapshot_download")
    if headed:
        lines.add("from safetensors.torch import load_file")
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def _label_names(labels: Sequence[str]) -> tuple[list[str], str]:
    """Lines that read labels, and what gives them by number; both empty where there are none."""
    if len(labels) <= MANY_LABELS:
        names = ", ".join(f"{number}: {name!r}" for number, name in enumerate(labels))
        return [], f"{{{names}}}" if names else ""
    opened = f'with open(f"{{folder}}/{NAME}") as file:'
    return [opened, '    labels = json.load(file)["labels"]'], "dict(enumerate(labels))"


def _model(manifest: Manifest, class_name: str, names: str) -> list[str]:
    backbone = manifest.backbone
    options = [json.dumps(backbone.repo)]
    if backbone.revision:
        options.append(f"revision={json.dumps(backbone.revision)}")
    if names:
        options.append(f"id2label={names}")
    attention = "eager" if backbone.model_type in WITHOUT_SDPA else "sdpa"
    options.append(f'attn_implementation="{attention}"')
    lines = [f"    {option}," for option in options]
    if not backbone.on_hub:
        lines[0] += "  # a local folder when this was trained"
    return [f"model = {class_name}.from_pretrained(", *lines, ")"]
