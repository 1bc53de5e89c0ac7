"""Rows of a task translated into a language, and kept below a data folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xstilts.config.specs import TaskSpec
from xstilts.data import translated
from xstilts.data.examples import Example
from xstilts.data.sources import data_digest
from xstilts.data.translation.model import Translator
from xstilts.data.translation.rows import translate_rows


def translate_task(
    task: TaskSpec,
    split: str,
    rows: Sequence[Example],
    language: str,
    root: Path,
    model: str,
    memory: Path | None,
    *,
    beams: int = 4,
    **options: Any,
) -> dict[str, Any]:
    """Translate rows and keep them; what is known of the translation, with its `file`.

    Args:
        task: Whose rows.
        split: Of the rows.
        rows: In the task's source language.
        language: XTREME code of the new language.
        root: Data folder; see `xstilts.data.translated`.
        model: Seq2seq model, see `Translator`.
        memory: Folder for what was translated, so that a stopped translation continues.
        beams: Of the search; 1 is greedy.
        options: `code`, `offline`, `device` and `progress` of `Translator`.
    """
    translator = Translator(model, task.source_language, language, memory, beams=beams, **options)
    result = translate_rows(rows, task.format, language, translator)
    folder = translated.folder_of(task, language, root)
    translated.write(folder / f"{split}.jsonl", result.rows)
    record = {
        "task": task.name,
        "split": split,
        "language": language,
        "source_language": task.source_language,
        "source_sha256": data_digest(rows),
        "model": model,
        "beams": beams,
        "rows": len(result.rows),
        "kept_share": round(result.kept, 4),
        "answers_by_markers": round(result.by_markers, 4),
    }
    translated.describe(folder, record)
    return {**record, "file": str(folder / f"{split}.jsonl")}
