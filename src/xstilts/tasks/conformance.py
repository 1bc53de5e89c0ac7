"""What formats, metrics, readers and hubs do, held against what their contracts say.

As `xstilts.composition.conformance` for methods and operators: the contract tests run it over
xstilts' own, `xstilts doctor --plugins` over those of other packages. Each check gives sentences
that say what is otherwise, none where all is well.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xstilts.config.progress import silent
from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features, collate
from xstilts.data.readers import READERS
from xstilts.data.rows import Dropped
from xstilts.errors import XstiltsError
from xstilts.tasks.formats import FORMATS, PredictingFormat
from xstilts.tasks.metrics import METRICS
from xstilts.zoo.hubs import HUBS, PushOptions, parse_address

HIDDEN, LENGTH = 16, 48
LABELS = ["B-X", "I-X", "O"]
TEXTS = ("the old man runs", "to the house near the river", "where does he run ?")
SAMPLES: dict[str, tuple[Any, Any]] = {
    "texts": (["O", "B-X", "O", "I-X"], ["O", "O", "O", "I-X"]),
    "lists": ([["B-X", "I-X", "O"], ["O", "B-X"]], [["B-X", "O", "O"], ["O", "B-X"]]),
    "answers": ({"q": "the cat", "r": "dog"}, {"q": ("cat",), "r": ("a dog ran",)}),
    "pairs": ([("a", "1"), ("b", "2")], [("a", "1"), ("c", "3"), ("d", "4")]),
    "numbers": ([(1.5, 2), (3.0, 4)], ()),
}
"""Predictions and references, as `Metric.TAKES` says."""
NO_DATA = {"an empty file": b"", "a file that is no text": b"\xff\xfe\0x\n" * 3}


def metric_problems(name: str) -> list[str]:
    """What a metric does otherwise than `Metric` says, on a few predictions."""
    metric = METRICS.get(name)
    given = SAMPLES[metric.TAKES]
    about: dict[str, Any] = {"language": "en", "labels": LABELS}
    scores = metric.compute(*given, **about)
    if metric.MAIN not in scores:
        return [f"compute gives no '{metric.MAIN}', which is its MAIN"]
    found = []
    for key, value in scores.items():
        if key not in metric.NO_PERCENT and not 0 <= value <= 100:
            found.append(f"its {key} is {value:g}, not 0..100; NO_PERCENT does not name it")
    found += [
        f"NO_PERCENT names '{key}': no score" for key in metric.NO_PERCENT if key not in scores
    ]
    rows = np.asarray(metric.outcomes(*given, **about), np.float64)
    rows = rows.reshape(len(rows), -1)
    pooled = float(metric.pooled(rows.sum(0), len(rows)))
    if abs(pooled - scores[metric.MAIN]) > 1e-6 * max(1.0, abs(pooled)):
        found.append(f"pooled outcomes give {pooled:g}, its {metric.MAIN} {scores[metric.MAIN]:g}")
    return found


def format_problems(name: str) -> list[str]:
    """What a format does otherwise than its contract says, on a few rows without targets.

    Rows of fields that a text, words or choices do not fill are refused, which is no fault.
    """
    form, tokenizer = FORMATS.get(name), _tokenizer()
    sources: list[SourceSpec] = []
    task = TaskSpec(
        name="sample", format=name, languages=["en"], labels=LABELS, metric="", sources=sources
    )
    rows = [
        Example(str(n), "en", {key: _sample(key, text) for key in form.FIELDS}, None, f"row {n}")
        for n, text in enumerate(TEXTS)
    ]
    try:
        features = form.encode(rows, tokenizer, task, LENGTH)
    except XstiltsError:
        return []
    found = []
    if max(features.lengths) > LENGTH:
        found.append(f"encode gives rows of more than the {LENGTH} sub-words asked for")
    again = form.encode(rows, tokenizer, task, LENGTH)
    if not np.array_equal(again.input_ids.values, features.input_ids.values):
        found.append("encode gives other rows the second time")
    return found + (_head_problems(form, features, rows, task) if form.NEEDS_HEAD else [])


def _head_problems(
    form: PredictingFormat, features: Features, rows: list[Example], task: TaskSpec
) -> list[str]:
    embeddings = torch.nn.Embedding(64, HIDDEN)
    first, second = (
        form.make_head(HIDDEN, task, torch.Generator().manual_seed(1), embeddings=embeddings)
        for _ in "ab"
    )
    found = []
    if any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    ):
        found.append("make_head draws from more than its generator")
    batch = collate(features, np.arange(len(features)), 0)
    if not form.PREDICTS:
        return found
    hidden = torch.randn(*batch.input_ids.shape, HIDDEN, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        logits = first.eval()(hidden, batch).float().numpy()
    lengths = features.lengths
    cut = [
        row[:length] if form.PER_TOKEN else row for row, length in zip(logits, lengths, strict=True)
    ]
    given = form.decode(cut, features, rows, task)
    if len(given) != len(rows):
        found.append(f"decode gives {len(given)} predictions for {len(rows)} examples")
    for value, row in zip(given, rows, strict=False):
        json.dumps(form.record(value, row.fields))  # plain values, or the finding
    return found


def _sample(field: str, text: str) -> Any:
    words = tuple(text.split())
    return {"words": words, "choices": words[:2]}.get(field, text)


def _tokenizer() -> Any:
    """A fast tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    words = dict.fromkeys((*special, *(word for text in TEXTS for word in text.split())))
    own = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    own.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    kinds = ("bos", "cls", "pad", "eos", "sep", "unk", "mask")
    words_of = ("<s>", "<s>", "<pad>", "</s>", "</s>", "<unk>", "<mask>")
    names = {f"{kind}_token": word for kind, word in zip(kinds, words_of, strict=True)}
    return PreTrainedTokenizerFast(tokenizer_object=own, **names)


def reader_problems(name: str) -> list[str]:
    """What a reader does otherwise than `Reader` says, of files that are no data."""
    reader = READERS.get(name)
    source = SourceSpec(reader=name, columns={"text": "text", "target": "label"})
    task = TaskSpec(
        name="sample",
        format="classification",
        languages=["en"],
        labels=LABELS,
        metric="accuracy",
        sources=[source],
    )
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for what, data in (
            ("an empty file", b""),
            ("a file that is no text", b"\xff\xfe\0x\n" * 3),
        ):
            path = Path(folder) / "sample"
            path.write_bytes(data)
            try:
                rows = list(reader.read([path], source, task, "en", "train"))
            except XstiltsError:
                continue
            except Exception as error:  # noqa: BLE001  (whatever it raises is the finding)
                found.append(f"of {what} it raises {type(error).__name__}, no DataError")
                continue
            if any(not isinstance(row, Example | Dropped) for row in rows):
                found.append(f"of {what} it gives what is neither Example nor Dropped")
    return found


def hub_problems(name: str) -> list[str]:
    """What a hub does otherwise than `Hub` says, without a network."""
    hub = HUBS.get(name)
    found = [
        f"its scheme {scheme!r} does not end in ':'"
        for scheme in hub.SCHEMES
        if not isinstance(scheme, str) or not scheme.endswith((":", "://"))
    ]
    for other in HUBS:
        for scheme in HUBS.get(other).SCHEMES if other != name else ():
            if scheme in hub.SCHEMES:
                found.append(f"hub '{other}' takes addresses with '{scheme}', too")
    known = {field.name for field in fields(PushOptions)}
    found += [
        f"OPTIONS names '{key}': PushOptions has none" for key in hub.OPTIONS if key not in known
    ]
    if found or not hub.CACHES:
        return found
    address = parse_address(f"{hub.SCHEMES[0]}xstilts-doctor/nothing-there")
    with tempfile.TemporaryDirectory() as folder:
        try:
            hub.pull(address, Path(folder), silent, offline=True)
        except XstiltsError:
            return []
        except Exception as error:  # noqa: BLE001  (whatever it raises is the finding)
            return [f"pull offline of nothing raises {type(error).__name__}, no XstiltsError"]
    return ["pull offline of nothing raises no error"]
