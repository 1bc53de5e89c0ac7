"""How to load a module, as code: with xstilts, and with the library that owns its format."""

from __future__ import annotations

import json

from xstilts.zoo.manifest import HEAD, Manifest
from xstilts.zoo.reference import slug

_CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "tagging": "AutoModelForTokenClassification",
    "extractive_qa": "AutoModelForQuestionAnswering",
    "multiple_choice": "AutoModelForMultipleChoice",
}

_HEADS = {
    "classification": ["model.classifier.load_state_dict(head)"],
    "tagging": [
        'model.classifier.load_state_dict({k[len("classifier.") :]: v for k, v in head.items()})'
    ],
    "extractive_qa": [
        'model.qa_outputs.load_state_dict({k[len("classifier.") :]: v for k, v in head.items()})'
    ],
    "multiple_choice": [
        "pooler = model.base_model.pooler.dense",
        'pooler.load_state_dict({k: head[f"dense.{k}"] for k in ("weight", "bias")})',
        'model.classifier.load_state_dict({k: head[f"out_proj.{k}"] for k in ("weight", "bias")})',
    ],
}
"""Our head's parameters have transformers' names; these lines put them in its classes."""


def snippets(manifest: Manifest, repo: str = "") -> str:
    """The section "Use" of a card: xstilts first, then the library that owns the format.

    Args:
        manifest: Of the module.
        repo: Of the hub, such as `org/name`; empty where the module is in a folder or a store.
    """
    fetch, variant = f"pull hf:{repo}" if repo else "add .", slug(manifest.variant)
    where = "" if repo else ", in this folder"
    parts = [
        f"With xstilts, which checks every file and the backbone{where}:\n\n"
        f"```bash\nxstilts zoo {fetch}\nxstilts xtreme {manifest.name}/{variant}\n```"
    ]
    code = library_code(manifest, repo)
    if code:
        library = {"adapter": "adapters", "language": "adapters", "lora": "peft"}
        name = library.get(manifest.kind, "transformers")
        parts.append(f"With plain {name}{where}:\n\n```python\n{code}\n```")
    return "\n\n".join(parts)


def is_difference(manifest: Manifest) -> bool:
    """Whether the module is what differs from its backbone, which only xstilts puts together."""
    return manifest.options.get("stored") == "difference"


def library_code(manifest: Manifest, repo: str = "") -> str:
    """Python that loads the module without xstilts, or nothing where no library can.

    Args:
        manifest: Of the module.
        repo: Where it is fetched from; the folder in which the code runs when empty.
    """
    if manifest.kind not in ("adapter", "language", "lora", "full", "head"):
        return ""
    if is_difference(manifest):
        return ""
    has_head = any(record.path == HEAD for record in manifest.files)
    class_name = _CLASSES.get(manifest.format, "AutoModel") if has_head else "AutoModel"
    headed = class_name != "AutoModel"
    encoder = "model.base_model" if headed else "model"
    lines = _imports(manifest, class_name, headed, repo)
    lines += ["", f'folder = snapshot_download("{repo}")' if repo else 'folder = "."']
    lines += _model(manifest, class_name)
    lines += _module(manifest.kind, encoder)
    if headed:
        lines += [f'head = load_file(f"{{folder}}/{HEAD}")', *_HEADS[manifest.format]]
    return "\n".join([*lines, "model.eval()"])


def _imports(manifest: Manifest, class_name: str, headed: bool, repo: str) -> list[str]:
    lines = ["import adapters"] if manifest.kind in ("adapter", "language") else []
    if repo:
        lines.append("from huggingface_hub import snapshot_download")
    if manifest.kind == "lora":
        lines.append("from peft import PeftModel")
    if headed or manifest.kind in ("full", "head"):
        lines.append("from safetensors.torch import load_file")
    return [*lines, f"from transformers import {class_name}"]


def _model(manifest: Manifest, class_name: str) -> list[str]:
    backbone = manifest.backbone
    options = [json.dumps(backbone.repo)]
    if backbone.revision:
        options.append(f"revision={json.dumps(backbone.revision)}")
    if manifest.labels and class_name in (_CLASSES["classification"], _CLASSES["tagging"]):
        names = ", ".join(f"{number}: {name!r}" for number, name in enumerate(manifest.labels))
        options.append(f"id2label={{{names}}}")
    options.append('attn_implementation="sdpa"')
    lines = [f"    {option}," for option in options]
    if not backbone.on_hub:
        lines[0] += "  # a local folder when this was trained"
    return [f"model = {class_name}.from_pretrained(", *lines, ")"]


def _module(kind: str, encoder: str) -> list[str]:
    if kind == "lora":
        return [f"PeftModel.from_pretrained({encoder}, folder)  # acts in place"]
    if kind == "full":
        weights = 'load_file(f"{folder}/model.safetensors")'
        return [f"{encoder}.load_state_dict({weights}, strict=False)  # all but the pooler"]
    if kind == "head":
        return []
    return [
        "adapters.init(model)",
        "model.load_adapter(folder, use_safetensors=True, set_active=True)",
    ]
