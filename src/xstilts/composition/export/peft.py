"""A folder that plain peft loads: LoRA, with the head where there is one."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from xstilts.composition.export import Source
from xstilts.composition.export._heads import class_name, transformers_head
from xstilts.errors import UsageError
from xstilts.files import write_json
from xstilts.modules.methods import METHODS, lora

ABOUT = (
    "A LoRA module for peft. AutoPeftModelForSequenceClassification.from_pretrained(folder, "
    "num_labels=…) loads it and its base model (the class that `task_type` names, for feature "
    "extraction without one); PeftModel.from_pretrained(model, folder) puts it on a model."
)

_TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
}


def write(source: Source, folder: Path) -> float | None:
    """Write adapter_model.safetensors and adapter_config.json."""
    adapter = source.adapter
    save = METHODS.get(adapter.method).WRITERS.get("peft") if adapter else None
    if adapter is None or save is None:
        raise UsageError(
            f"'{source.loaded.expression}' is no LoRA module, so peft cannot hold it",
            hint="Sums, averages and merges of LoRA modules are one; others: adapters or onnx.",
        )
    save(adapter, folder, source.name, source.backbone)
    _name_base(source, folder)
    if source.head is not None:
        _add_head(source, folder)
    return None


def _name_base(source: Source, folder: Path) -> None:
    """Name the base by what peft finds it by: its hub id, or the folder that it is in here.

    A module of the zoo knows the folder's name only, since it goes to other machines.
    """
    place = Path(source.backbone.encoder.name_or_path)
    if not source.backbone.identity.on_hub and place.is_dir():
        config = json.loads((folder / lora.CONFIG).read_text(encoding="utf-8"))
        write_json(folder / lora.CONFIG, config | {"base_model_name_or_path": str(place.resolve())})


def _add_head(source: Source, folder: Path) -> None:
    """Move the tensors into the class with the head, and the head beside them."""
    assert source.head is not None
    head = transformers_head(source.head, source.backbone)
    start = "base_model.model."
    inner = start + source.backbone.encoder.base_model_prefix + "."
    tensors = {k.replace(start, inner, 1): v for k, v in load_file(folder / lora.WEIGHTS).items()}
    tensors |= {start + name: tensor for name, tensor in head.items()}
    save_file(tensors, folder / lora.WEIGHTS)
    config = json.loads((folder / lora.CONFIG).read_text(encoding="utf-8"))
    saved = sorted({_module(name) for name in head})
    config |= {
        "task_type": _TASK_TYPES.get(class_name(source.head.task)),
        "modules_to_save": saved,
    }
    write_json(folder / lora.CONFIG, config)


def _module(name: str) -> str:
    """The module of transformers' class that peft keeps whole."""
    parts = name.split(".")
    return "pooler" if "pooler" in parts else parts[0]
