"""Our heads under the names that transformers' classes and the adapters library use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from xstilts.composition.task_model import Head, head_tensors
from xstilts.errors import UsageError

CLASSES: Mapping[str, str] = {
    "classification": "AutoModelForSequenceClassification",
    "tagging": "AutoModelForTokenClassification",
    "extractive_qa": "AutoModelForQuestionAnswering",
    "multiple_choice": "AutoModelForMultipleChoice",
    "masked_lm": "AutoModelForMaskedLM",
}
"""Format to the class of transformers that has such a head."""

_POOLED = {"dense": "{base}.pooler.dense", "out_proj": "classifier"}
_ROBERTA: Mapping[str, Mapping[str, str]] = {
    "classification": {"dense": "classifier.dense", "out_proj": "classifier.out_proj"},
    "tagging": {"classifier": "classifier"},
    "extractive_qa": {"classifier": "qa_outputs"},
    "multiple_choice": _POOLED,
    "masked_lm": {"dense": "lm_head.dense", "layer_norm": "lm_head.layer_norm", "bias": "lm_head"},
}
_BERT: Mapping[str, Mapping[str, str]] = {
    **_ROBERTA,
    "classification": _POOLED,
    "masked_lm": {
        "dense": "cls.predictions.transform.dense",
        "layer_norm": "cls.predictions.transform.LayerNorm",
        "bias": "cls.predictions",
    },
}


def base_prefix(model_type: str) -> str:
    """The name of the encoder inside transformers' task classes."""
    return "bert" if model_type == "bert" else "roberta"


def class_name(head: Head) -> str:
    """The transformers class for a head.

    Raises:
        UsageError: There is none.
    """
    name = CLASSES.get(head.task.format)
    if name is None:
        raise UsageError(f"transformers has no class for heads of format {head.task.format}")
    return name


def transformers_head(head: Head, model_type: str) -> dict[str, Tensor]:
    """The head's tensors under the names of its transformers class."""
    class_name(head)
    names = (_BERT if model_type == "bert" else _ROBERTA)[head.task.format]
    base = base_prefix(model_type)
    result = {}
    for key, tensor in head_tensors(head).items():
        module, _, kind = key.rpartition(".")
        target = names[module or key].format(base=base)
        result[f"{target}.{kind or key}"] = tensor
    return result


def label_options(head: Head) -> dict[str, Any]:
    """Options of a transformers config that name the labels, in order."""
    labels = head.task.labels
    if head.task.format not in ("classification", "tagging"):
        return {}
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: number for number, name in enumerate(labels)},
    }


_ADAPTERS_TYPES = {
    "classification": "classification",
    "tagging": "tagging",
    "extractive_qa": "question_answering",
    "multiple_choice": "multiple_choice",
}
_CHOICES = 4
"""The library reshapes scores by a fixed number of choices; users may set another."""


def adapters_head(head: Head, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of a flexible head of the adapters library.

    Raises:
        UsageError: The library has no such head.
    """
    kind = _ADAPTERS_TYPES.get(head.task.format)
    if kind is None:
        raise UsageError(f"the adapters library cannot load heads of format {head.task.format}")
    deep = head.task.format in ("classification", "multiple_choice")
    labels = head.task.labels if label_options(head) else []
    if kind == "question_answering":
        labels = ["start", "end"]
    config: dict[str, Any] = {
        "head_type": kind,
        "layers": 2 if deep else 1,
        "activation_function": "tanh",
        "dropout_prob": None,
    }
    if kind == "multiple_choice":
        labels = [str(number) for number in range(_CHOICES)]
        config["num_choices"] = _CHOICES
    else:
        config["num_labels"] = len(labels)
    if deep:
        config["use_pooler"] = False
    if kind == "classification":
        config["bias"] = True
    config["label2id"] = {label: number for number, label in enumerate(labels)}
    places = {"dense": "1", "out_proj": "4", "classifier": "1"}
    tensors = {}
    for key, tensor in head_tensors(head).items():
        module, _, suffix = key.rpartition(".")
        tensors[f"heads.{name}.{places[module]}.{suffix}"] = tensor
    return config, tensors
