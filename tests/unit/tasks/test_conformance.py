"""What the doctor says of metrics, formats, readers and hubs that break their contract."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from xstilts.data.readers import READERS
from xstilts.tasks import conformance
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.metrics import METRICS
from xstilts.zoo.hubs import HUBS


def like(original, **changes):
    """An implementation with some members replaced."""
    members = {name: getattr(original, name) for name in dir(original) if name[0] != "_"}
    return SimpleNamespace(**members | changes)


@pytest.fixture
def put(monkeypatch):
    def put_in(registry, name, **changes):
        monkeypatch.setitem(registry._loaded, name, like(registry.get(name), **changes))

    return put_in


def test_of_a_metric(put):
    put(METRICS, "accuracy", MAIN="score")
    assert "gives no 'score'" in conformance.metric_problems("accuracy")[0]
    put(METRICS, "accuracy", MAIN="accuracy", compute=lambda *_, **__: {"accuracy": 300.0})
    outside, pooled = conformance.metric_problems("accuracy")
    assert "accuracy is 300, not 0..100" in outside
    assert "pooled outcomes give 75" in pooled


def test_of_a_format(put):
    def drawn(hidden_size, task, generator, *, embeddings=None):
        return torch.nn.Linear(hidden_size, len(task.labels))

    def short(logits, features, examples, task):
        return ["O"]

    form = FORMATS.get("classification")
    put(FORMATS, "classification", make_head=drawn)
    with pytest.raises(TypeError):  # its forward takes no batch
        conformance.format_problems("classification")
    put(FORMATS, "classification", make_head=form.make_head, decode=short)
    assert conformance.format_problems("classification") == [
        "decode gives 1 predictions for 3 examples"
    ]


def test_of_a_reader(put):
    def read(paths, source, task, language, split):
        yield paths[0].read_bytes()[0]

    put(READERS, "csv", read=read)
    assert conformance.reader_problems("csv") == [
        "of an empty file it raises IndexError, no DataError",
        "of a file that is no text it gives what is neither Example nor Dropped",
    ]


def test_of_a_hub(put):
    put(HUBS, "huggingface", SCHEMES=("hf", "folder:"), OPTIONS=("colour",))
    assert conformance.hub_problems("huggingface") == [
        "its scheme 'hf' does not end in ':'",
        "hub 'folder' takes addresses with 'folder:', too",
        "OPTIONS names 'colour': PushOptions has none",
    ]
    put(HUBS, "huggingface", SCHEMES=("hf:",), OPTIONS=(), pull=lambda *_, **__: None)
    assert conformance.hub_problems("huggingface") == ["pull offline of nothing raises no error"]
