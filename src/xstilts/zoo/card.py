"""The model card: `README.md`, which hubs read and people see.

It is made from the manifest and from score rows, lies outside the digest, and can be written again
when there are more scores.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xstilts.config.load import load_task, spec_names
from xstilts.errors import DataError
from xstilts.files import json_text, write_text
from xstilts.zoo.head_formats import head_format
from xstilts.zoo.manifest import CARD, NAME, SCORES, SIMULATED, Manifest, read_manifest
from xstilts.zoo.snippets import MANY_LABELS, card_of, is_difference, snippets
from xstilts.zoo.strict_json import read_json

ScoreRow = Mapping[str, Any]
"""At least `task`, `language`, `split`, `metric` and `value` (0..100); more keys may be there, of
retrieval `layer`, the block that was pooled."""

_LANGUAGE = re.compile(r"[a-z]{2,3}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_KEYS = ("task", "language", "split", "metric", "value")


def write_card(
    folder: Path,
    scores: Sequence[ScoreRow] = (),
    *,
    repo: str = "",
    license_id: str = "",
    parts: Sequence[Manifest] = (),
) -> None:
    """Write `README.md` and `scores.json` into a module folder.

    Args:
        folder: Of a module.
        scores: Rows that the card shows; with none, those that are in the folder already stay.
        repo: Where the module will be, such as `org/name`, for the snippets.
        license_id: Of the module; the manifest's when empty.
        parts: What it was merged from, as far as that is known; see `Zoo.merged_from`.
    """
    rows = list(scores) or read_scores(folder)
    if rows:
        write_text(folder / SCORES, json_text([_plain(row) for row in rows]))
    manifest = read_manifest(folder)
    if license_id:
        manifest = manifest.model_copy(update={"license": license_id})
    write_text(folder / CARD, render_card(manifest, rows, repo=repo, parts=parts))


def license_in(card: str) -> str:
    """The licence that a card's head states; empty without one."""
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    try:
        head = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return ""
    stated = head.get("license") if isinstance(head, dict) else None
    return stated if isinstance(stated, str) else ""


def read_scores(folder: Path) -> list[dict[str, Any]]:
    """The score rows kept with a module; none when there is no `scores.json`.

    Raises:
        IntegrityError: The file is not JSON.
        DataError: A row lacks a key, or its value is no number.
    """
    if not (folder / SCORES).is_file():
        return []
    rows = read_json(folder / SCORES)
    return [_plain(row) for row in (rows if isinstance(rows, list) else [rows])]


def _plain(row: Any) -> dict[str, Any]:
    missing = [key for key in _KEYS if not isinstance(row, Mapping) or key not in row]
    if missing:
        raise DataError(f"a score row has no {', '.join(missing)}", hint="See docs/guides.")
    more = ("layer", "n", "seed", "predictions_sha256")
    kept = {key: row[key] for key in (*_KEYS, *more) if key in row and row[key] != -1}
    try:
        value = float(row["value"])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"a score row has no number: its value is {row['value']!r}")
    return kept | {"value": value}


def render_card(
    manifest: Manifest,
    scores: Iterable[ScoreRow] = (),
    *,
    repo: str = "",
    parts: Sequence[Manifest] = (),
) -> str:
    """The card's text.

    Args:
        manifest: Of the module.
        scores: Rows to show; see `ScoreRow`.
        repo: Where the module will be, for the snippets; a placeholder when empty.
        parts: What it was merged from; the licences of their data are named.
    """
    rows = sorted(map(_plain, scores), key=lambda r: (*map(str, map(r.get, _KEYS[:4])), _block(r)))
    values = metadata(manifest, rows)
    head = yaml.safe_dump(values, allow_unicode=True, sort_keys=True, width=100)
    sections = [
        f"---\n{head}---\n\n# {manifest.name}\n\n{_summary(manifest)}",
        _facts(manifest, parts),
        _scores(rows),
        f"## Use\n\n{snippets(manifest, repo)}",
        _training(manifest),
        _TRUST,
    ]
    return "\n\n".join(part for part in sections if part) + "\n"


# ------------------------------------------------------------------------------------ metadata


def metadata(manifest: Manifest, rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """What hubs index: the YAML head of the card, without empty values."""
    m = manifest
    values: dict[str, Any] = {
        "library_name": library_of(m),
        "base_model": base_model(m),
        "base_model_relation": card_of(m).relation if base_model(m) else "",
        "pipeline_tag": _pipeline(m.format),
        "language": _languages(m),
        "license": m.license,
        "datasets": datasets(m),
        "metrics": sorted({str(row["metric"]) for row in rows}),
        "tags": _tags(m),
        "model-index": _model_index(m, rows),
    }
    return {key: value for key, value in values.items() if value}


def library_of(manifest: Manifest) -> str:
    """What hubs call the library that loads the module."""
    card = card_of(manifest)
    owner = "" if is_difference(manifest) else card.hub_library or card.library
    return owner or "xstilts"


def base_model(manifest: Manifest) -> str:
    """The backbone's hub id, or nothing when it came from a local folder."""
    return manifest.backbone.repo if manifest.backbone.on_hub else ""


def _languages(manifest: Manifest) -> list[str]:
    found = {*manifest.languages, manifest.source_language}
    return sorted(code for code in found if _LANGUAGE.fullmatch(code))


def datasets(manifest: Manifest) -> list[str]:
    """Hub ids of what the module was trained on: as recorded, else the task's own.

    None for rows that a built-in world made up in the format of a real task.
    """
    if _simulated(manifest):
        return []
    found = {record.source for record in manifest.data if _REPOSITORY.fullmatch(record.source)}
    if not found and manifest.task in spec_names("tasks"):
        sources = load_task(manifest.task).sources
        found = {source.hub.repo for source in sources if source.hub}
    return sorted(found)


def _simulated(manifest: Manifest) -> bool:
    return any(record.source.startswith(SIMULATED) for record in manifest.data)


def _tags(manifest: Manifest) -> list[str]:
    m = manifest
    card = card_of(m)
    library = card.library if card.relation == "adapter" and card.code else ""
    role = f"intermediate:{m.task}" if m.task and not card.for_language else ""
    tags = ["xstilts", library, m.kind, m.method, m.preset, role, m.backbone.model_type, "xtreme"]
    return list(dict.fromkeys(tag for tag in tags if tag))


def _model_index(manifest: Manifest, rows: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """One result a task, language and split, each with its metrics, as the hub reads them."""
    from huggingface_hub.repocard_data import EvalResult, eval_results_to_model_index

    results = [
        EvalResult(
            task_type=_pipeline_of(str(row["task"])),
            task_name=str(row["task"]),
            dataset_type=str(row["task"]),
            dataset_name=f"{row['task']} ({row['language']})",
            dataset_config=str(row["language"]),
            dataset_split=str(row["split"]),
            metric_type=str(row["metric"]),
            metric_name=_metric(row),
            metric_value=round(row["value"], 2),
        )
        for row in rows
    ]
    return eval_results_to_model_index(manifest.name, results) if results else []


def _pipeline_of(task: str) -> str:
    if task not in spec_names("tasks"):
        return "other"
    return _pipeline(load_task(task).format) or "other"


def _pipeline(format_name: str) -> str:
    form = head_format(format_name)
    return form.PIPELINE if form else ""


# ---------------------------------------------------------------------------------------- text


def _summary(manifest: Manifest) -> str:
    m = manifest
    what = card_of(m).noun
    if is_difference(m):
        what += ", stored as its difference from the backbone,"
    on = f" trained on {m.task}" if m.task else ""
    language = f" in {m.source_language}" if m.task and m.source_language else ""
    return f"{what}{on}{language} for {m.backbone.name}, made with xstilts."


def _facts(manifest: Manifest, parts: Sequence[Manifest]) -> str:
    m = manifest
    revision = f" at `{m.backbone.revision}`" if m.backbone.revision else ""
    rows = [
        ("backbone", f"`{m.backbone.repo}`{revision}"),
        ("backbone fingerprint", f"`{m.backbone.fingerprint}`"),
        ("module digest", f"`{m.digest}`"),
        ("digest of the training's inputs", f"`{m.run}`" if m.run else ""),
        ("method", f"{m.method}" + (f" (preset {m.preset})" if m.preset else "")),
        ("trainable parameters", f"{m.trainable_parameters:,}" if m.trainable_parameters else ""),
        ("labels", _labels(m.labels)),
        ("languages", ", ".join(m.languages)),
        ("composition", f"`{m.composition}`" if m.composition != "none" else ""),
        ("made from", ", ".join(f"{p.reference} `{p.digest[:12]}`" for p in m.parents)),
        ("seed", str(m.seed)),
        ("licence of its data", _cell(_data_licenses([m, *parts]))),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows if value]
    return "\n".join(["| | |", "|---|---|", *lines])


def _labels(names: Sequence[str]) -> str:
    """Labels, or the first of many and how many there are."""
    if len(names) > MANY_LABELS:
        return f"{_labels(names[:3])}, … ({len(names)} in `{NAME}`)"
    return ", ".join(map(_cell, names))


def _data_licenses(manifests: Sequence[Manifest]) -> str:
    """What the tasks state of the rows that modules were trained on."""
    real = [manifest for manifest in manifests if not _simulated(manifest)]
    known = list(dict.fromkeys(r.task for manifest in real for r in manifest.data))
    tasks = [load_task(name) for name in known if name in spec_names("tasks")]
    return "; ".join(f"{task.name}: {task.license}" for task in tasks if task.license)


def _scores(rows: Sequence[ScoreRow]) -> str:
    if not rows:
        return ""
    lines = [
        f"| {_cell(r['task'])} | {_cell(r['language'])} | {_cell(r['split'])} "
        f"| {_cell(_metric(r))} | {r['value']:.2f} |"
        for r in rows
    ]
    head = ["| task | language | split | metric | value |", "|---|---|---|---|---:|"]
    return "\n".join(["## Scores", "", *head, *lines])


def _metric(row: ScoreRow) -> str:
    """The metric's name, with the block that was pooled where the score is one of a block."""
    return f"{row['metric']} (block {row['layer']})" if _block(row) >= 0 else str(row["metric"])


def _block(row: ScoreRow) -> int:
    return int(row.get("layer", -1))


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _training(manifest: Manifest) -> str:
    m = manifest
    lines = [
        f"- {record.task} {record.split} ({record.language}): {record.rows:,} rows"
        + (f" from {record.source}" if record.source else "")
        for record in m.data
    ]
    lines += [
        f"- {key.replace('_', ' ')}: {value}"
        for key, value in m.training.items()
        if isinstance(value, str | int | float) and value != ""
    ]
    return "\n".join(["## Training", "", *lines]) if lines else ""


_TRUST = """## Trust

`manifest.json` holds the sha256 of every file but this card and `scores.json`. The module holds no
code and no pickle. It works on the backbone with the fingerprint above only; xstilts checks that,
the libraries do not. Equal digests of a training's inputs mean the same data, settings and seed,
never the same weights: another machine's rounding is one more run."""
