"""The result store for other tools: rows as csv, parquet and pandas, MTEB, lm-eval, XTREME.

    duckdb.sql("select task, avg(value) from 'scores.parquet' where main group by task")

Every row of every cell stands in the table: the fields of `Score`, then `seconds` and `written` of
its cell. `SCHEMA` names the columns; it rises when one changes its meaning or goes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any

from xstilts.config.specs import SuiteSpec
from xstilts.data.languages import language
from xstilts.errors import NotFoundError
from xstilts.evaluate.names import plain_label, task_title
from xstilts.evaluate.stats.samples import standard_errors
from xstilts.evaluate.store import ResultCell, Score
from xstilts.evaluate.submission import plain_name
from xstilts.evaluate.xtreme import official, summarise
from xstilts.files import atomic_folder, write_bytes, write_json, write_text
from xstilts.report.tables import counted_blocks
from xstilts.tasks.metrics import METRICS

SCHEMA = "xstilts.scores/2"
COLUMNS = (*Score.model_fields, "seconds", "written")
_NO_PERCENT = ("threshold", "hubness")
"""Scores of retrieval and alignment that are not 0..100."""


@cache
def no_percent() -> frozenset[str]:
    """Names of the scores that are not 0..100."""
    of_metrics = (METRICS.get(name).NO_PERCENT for name in METRICS)
    return frozenset(chain(_NO_PERCENT, *of_metrics))


def long_rows(cells: Iterable[ResultCell]) -> list[dict[str, Any]]:
    """One mapping a score, with all of `COLUMNS`; flags are one text, comma-separated."""
    return [
        {
            **score.model_dump(),
            "flags": ",".join(score.flags),
            "seconds": cell.seconds,
            "written": cell.written,
        }
        for cell in cells
        for score in cell.scores
    ]


def frame(cells: Iterable[ResultCell]) -> Any:
    """The rows as a pandas DataFrame."""
    import pandas

    return pandas.DataFrame(long_rows(cells), columns=list(COLUMNS))


def write_csv(cells: Iterable[ResultCell], path: Path) -> int:
    """Write the rows with a header; returns how many."""
    rows = long_rows(cells)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return len(rows)


def write_parquet(cells: Iterable[ResultCell], path: Path) -> int:
    """Write the rows, `xstilts.schema` in the file's metadata; returns how many."""
    import pyarrow
    from pyarrow import parquet

    rows = long_rows(cells)
    types: dict[Any, Any] = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    types |= {bool: pyarrow.bool_(), list[str]: pyarrow.string()}
    fields = [(name, types[info.annotation]) for name, info in Score.model_fields.items()]
    fields += [("seconds", pyarrow.float64()), ("written", pyarrow.string())]
    schema = pyarrow.schema(fields, metadata={"xstilts.schema": SCHEMA})
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), buffer)
    write_bytes(path, buffer.getvalue())
    return len(rows)


# -- XTREME


def xtreme_record(scores: Sequence[Score], suite: SuiteSpec) -> dict[str, Any]:
    """Label to what XTREME's own scorer prints, means over seeds, for the tasks of a suite.

    Scores of a split that is not the task's own stand apart, under `label (split)`; retrieval is
    taken from one block, see `counted_blocks`.
    """
    values: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    blocks = counted_blocks(scores)
    for row in scores:
        if row.group or row.language not in suite.tasks.get(row.task, ()):
            continue
        if (row.layer, row.pooling) != blocks.get((row.task, row.split)):
            continue
        label = plain_label(row)
        if task_title(row.task, row.split) != row.task:
            label += f" ({row.split})"
        tasks = values.setdefault(label, {})
        own = tasks.setdefault(row.task, {}).setdefault(row.language, {})
        own.setdefault(row.metric, []).append(row.value)
    record = {}
    for label, tasks in values.items():
        found = {
            task: {
                code: {name: mean(seeds) for name, seeds in own.items()}
                for code, own in languages.items()
            }
            for task, languages in tasks.items()
        }
        record[label] = official(found, summarise(found, suite))
    return record


# -- MTEB


def write_mteb(cells: Iterable[ResultCell], folder: Path) -> int:
    """Write results as the mteb library keeps them: `<model>/<revision>/<task>.json`.

    The model is the label on its backbone, the revision the digest of the modules; there is also
    a `model_meta.json`. Perplexities and alignment are left out. Returns how many task files.
    """
    count = 0
    for (model, revision), tasks in _by_model(cells).items():
        first = next(iter(tasks.values()))[0].scores[0]
        with atomic_folder(folder / model / revision[:40]) as new:
            write_json(new / "model_meta.json", _model_meta(first, revision))
            for task, own in tasks.items():
                write_json(new / f"{task}.json", _mteb_task(task, own))
                count += 1
    return count


def _by_model(cells: Iterable[ResultCell]) -> dict[tuple[str, str], dict[str, list[ResultCell]]]:
    """Model and revision to task to cells; perplexities and alignment are left out."""
    groups: dict[tuple[str, str], dict[str, list[ResultCell]]] = {}
    for cell in cells:
        score = next((row for row in cell.scores if row.main), None)
        if score is None or score.metric in no_percent():
            continue
        model = f"{plain_name(plain_label(score))}__{plain_name(score.backbone)}"
        revision = score.digest or score.fingerprint
        groups.setdefault((model, revision), {}).setdefault(score.task, []).append(cell)
    return groups


def _model_meta(score: Score, revision: str) -> dict[str, Any]:
    return {
        "name": f"{score.expression} on {score.backbone}",
        "revision": revision,
        "n_parameters": None,
        "framework": ["xstilts"],
        "xstilts": {"expression": score.expression, "fingerprint": score.fingerprint},
    }


def _mteb_task(task: str, cells: Sequence[ResultCell]) -> dict[str, Any]:
    splits: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        score = next(row for row in cell.scores if row.main)
        scores = {row.metric: _share(row) for row in cell.scores if row.metric not in no_percent()}
        entry = {
            **scores,
            "main_score": _share(score),
            "hf_subset": score.language,
            "languages": [_language(score.language)],
        }
        if score.layer >= 0:
            entry |= {"layer": score.layer, "pooling": score.pooling}
        splits.setdefault(score.split, []).append(entry)
    data = sorted({str(item) for cell in cells for item in cell.identity.get("data", ())})
    return {
        "dataset_revision": ",".join(item[:12] for item in data[:1]),
        "task_name": task,
        "mteb_version": None,
        "xstilts_version": version("xstilts"),
        "scores": splits,
        "evaluation_time": round(sum(cell.seconds for cell in cells), 3),
        "kg_co2_emissions": None,
    }


# -- lm-evaluation-harness


def write_lm_eval(cells: Iterable[ResultCell], folder: Path) -> int:
    """Write results as lm-evaluation-harness keeps them: `<model>/results_<revision>.json`.

    The model is the label on its backbone, the revision the digest of the modules, a task one
    language of ours, such as `xnli_de`, with its block for retrieval. Scores are shares of 1, and
    the main one has its standard error over examples. Perplexities and alignment are left out.
    Returns how many files.
    """
    models = _by_model(cells)
    for (model, revision), tasks in models.items():
        own = [cell for found in tasks.values() for cell in found]
        write_json(folder / model / f"results_{revision[:12]}.json", _lm_eval(own, revision))
    return len(models)


def _lm_eval(cells: Sequence[ResultCell], revision: str) -> dict[str, Any]:
    errors, first = standard_errors(cells), cells[0].scores[0]
    record: dict[str, Any] = {
        "results": {},
        "configs": {},
        "versions": {},
        "n-shot": {},
        "higher_is_better": {},
        "n-samples": {},
        "config": {"model": "xstilts", "model_args": first.expression},
        "model_source": "xstilts",
        "model_name": f"{first.expression} on {first.backbone}",
        "model_revision": revision,
        "total_evaluation_time_seconds": str(round(sum(cell.seconds for cell in cells), 3)),
        "xstilts_version": version("xstilts"),
    }
    for cell in sorted(cells, key=lambda cell: cell.written):  # the newest of equals stays
        main = next(row for row in cell.scores if row.main)
        block = f"_block{main.layer}" if main.layer >= 0 else ""
        name = f"{plain_name(task_title(main.task, main.split))}_{main.language}{block}"
        values: dict[str, Any] = {"alias": name}
        shown = [row for row in cell.scores if row.metric not in no_percent()]
        for row in shown:
            error = errors.get(cell.key) if row is main else None
            values[f"{row.metric},none"] = _share(row)
            values[f"{row.metric}_stderr,none"] = "N/A" if error is None else round(error / 100, 6)
        record["results"][name] = values
        record["configs"][name] = {
            "task": name,
            "dataset_path": main.task,
            "dataset_name": main.language,
            "test_split": main.split,
            "output_type": "xstilts",
        }
        record["versions"][name] = "xstilts"
        record["n-shot"][name] = 0
        record["higher_is_better"][name] = {row.metric: True for row in shown}
        record["n-samples"][name] = {"original": main.n, "effective": main.n}
    return record


def _language(code: str) -> str:
    """ISO 639-3 and script, as mteb writes languages; the code itself where unknown."""
    try:
        known = language(code)
    except NotFoundError:
        return code
    return f"{known.individual or known.iso3 or code}-{known.script or 'Zyyy'}"


def _share(row: Score) -> float:
    return round(row.value / 100, 6)
