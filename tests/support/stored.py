"""A result store with scores that are drawn, for what is made from stored scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xstilts.config.load import load_suite
from xstilts.evaluate.alignment.bitext import COLUMNS
from xstilts.evaluate.store import ResultStore, Score

GAINS = {"none": 0.0, "mnli": 0.05, "squad2": 0.03, "qqp": -0.04, "hellaswag": 0.0}
"""Label to what it adds to the share of right answers."""
RETRIEVAL = ("tatoeba", "bucc2018")
ALIGNED = {"tatoeba": "general", "tico19": "medical"}


def fill(
    root: Path,
    *,
    tasks: tuple[str, ...] = ("xnli", "pawsx", "tatoeba"),
    seeds: tuple[int, ...] = (1, 2, 3),
    gains: dict[str, float] = GAINS,
    examples: int = 120,
    most: int = 8,
    aligned: bool = True,
) -> ResultStore:
    """Write cells of every label, seed, task and language; `none` has no seed on retrieval."""
    store, suite = ResultStore(root), load_suite("xtreme")
    generator = np.random.default_rng(0)
    for task in tasks:
        layer = 7 if task in RETRIEVAL else -1
        for number, language in enumerate(suite.tasks[task][:most]):
            difficulty = generator.random(examples) + 0.02 * number - 0.1
            for label, gain in gains.items():
                for seed in (-1,) if label == "none" and layer >= 0 else seeds:
                    shift = gain + generator.normal(0, 0.01)
                    hits = (difficulty < 0.6 + shift).astype(int)
                    _put(store, label, seed, task, language, hits.tolist(), layer)
    if aligned:
        for label, gain in gains.items():
            for step in (0, 50, 100, -1) if label == "mnli" else (-1,):
                _alignment(store, label, gain, step, generator, examples)
    return store


def _put(
    store: ResultStore, label: str, seed: int, task: str, language: str, hits: list[int], layer: int
) -> None:
    score = _score(label, seed, task, language, len(hits)).model_copy(
        update={"value": 100 * sum(hits) / len(hits), "layer": layer, "metric": "accuracy"}
    )
    identity = {"metric": "accuracy", "data": [task, language], "label": label, "seed": seed}
    lines = "".join(f"{hit}\n" for hit in hits)
    store.put({**identity, "task": task, "layer": layer}, [score], lines, "tsv", hits, 0.5)


def _alignment(
    store: ResultStore,
    label: str,
    gain: float,
    step: int,
    generator: np.random.Generator,
    examples: int,
) -> None:
    name = label if step < 0 else f"{label}-step{step}"
    for task, domain in ALIGNED.items():
        for language in ("de", "sw", "zh"):
            for layer in (0, 4, 8, 12):
                rate = (
                    0.3 + 0.05 * layer - 0.004 * layer**2 + gain * (1 if step < 0 else step / 100)
                )
                rows = (generator.random((examples, len(COLUMNS))) < rate).astype(int)
                base = _score(name, 1, task, language, examples).model_copy(
                    update={"group": "alignment", "domain": domain, "layer": layer, "step": step}
                )
                values = dict(zip(COLUMNS, 100 * rows.mean(0), strict=True))
                values |= {"cka": 60.0, "hubness": 2.5, "mean_cosine": 30.0, "isotropy": 40.0}
                scores = [
                    base.model_copy(update={"metric": n, "value": float(v), "main": False})
                    for n, v in values.items()
                ]
                identity = {"alignment": 1, "label": name, "task": task, "language": language}
                store.put({**identity, "layer": layer}, scores, "0\n", "tsv", rows.tolist(), 0.1)


def _score(label: str, seed: int, task: str, language: str, n: int) -> Score:
    return Score(
        expression=label, intermediate=label, digest=f"digest-of-{label}-{seed}", backbone="base",
        fingerprint="f" * 64, method="seq_bn", task=task, language=language, split="test",
        metric="", value=0.0, n=n, seed=seed, pooling="", source_language="en",
        selection="best en validation accuracy",
    )  # fmt: skip
