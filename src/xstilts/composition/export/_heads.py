"""Our heads under the names that transformers' classes and the adapters library use."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.composition.task_model import Head, head_tensors
from xstilts.config.specs import TaskSpec
from xstilts.errors import UsageError
from xstilts.tasks.formats import FORMATS


def class_name(task: TaskSpec) -> str:
    """The transformers class for a head that speaks a task.

    Raises:
        UsageError: There is none.
    """
    name = FORMATS.get(task.format).HF_CLASS
    if not name:
        raise UsageError(f"transformers has no class for heads of format {task.format}")
    return name


def transformers_head(head: Head, backbone: Backbone) -> dict[str, Tensor]:
    """The head's tensors under the names of its transformers class.

    Raises:
        UsageError: The class for this backbone has another head than ours.
    """
    class_name(head.task)
    form, model_type = FORMATS.get(head.task.format), backbone.identity.model_type
    style = backbone.architecture.HEADS.get(model_type, "")
    names = (form.HF_NAMES_BERT if style == "bert" else {}) or form.HF_NAMES
    if not style or (style == "linear" and set(names) != {"classifier"}):
        raise UsageError(
            f"transformers' head of format {head.task.format} for {model_type} computes something "
            "else than this one",
            hint="Export it as merged (the encoder alone) or onnx.",
        )
    base = backbone.encoder.base_model_prefix
    result = {}
    for key, tensor in head_tensors(head).items():
        module, _, kind = key.rpartition(".")
        target = names[module or key].format(base=base)
        result[f"{target}.{kind or key}"] = tensor
    return result


def label_options(head: Head) -> dict[str, Any]:
    """Options of a transformers config that name the labels, in order."""
    labels = head.task.labels
    if not FORMATS.get(head.task.format).LABEL_SET:
        return {}
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: number for number, name in enumerate(labels)},
    }


def adapters_head(head: Head, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of a flexible head of the adapters library.

    Raises:
        UsageError: The library has no such head.
    """
    form = FORMATS.get(head.task.format)
    own = form.ADAPTERS_HEAD
    if own is None:
        raise UsageError(f"the adapters library cannot load heads of format {head.task.format}")
    labels = {"label2id": {name: number for number, name in enumerate(head.task.labels)}}
    config = {
        "head_type": form.ADAPTERS_TYPE,
        "activation_function": "tanh",
        "dropout_prob": None,
        **labels,
        **own,
    }
    if "num_choices" not in config:
        config["num_labels"] = len(config["label2id"])
    places = {"dense": "1", "out_proj": "4", "classifier": "1"}
    tensors = {}
    for key, tensor in head_tensors(head).items():
        module, _, suffix = key.rpartition(".")
        tensors[f"heads.{name}.{places[module]}.{suffix}"] = tensor
    return config, tensors
