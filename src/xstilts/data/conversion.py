"""Original distributions to XTREME's layout: rows without labels for testing, labels apart.

Follows XTREME's own scripts (arXiv:2003.11080) with one difference, on purpose: XNLI and PAWS-X
rows are written as they are, where those scripts wrap fields that hold a quote and double it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from xstilts.config.load import load_task
from xstilts.data import convert_questions, convert_rows
from xstilts.data.archives import is_archive, unpack
from xstilts.data.raw import Raw, Written
from xstilts.errors import NotFoundError, UsageError
from xstilts.files import atomic_folder, files_below, scratch_folder, write_text

_CONVERTERS: Mapping[str, Callable[[Raw], Iterator[Written]]] = {
    "xnli": convert_rows.xnli,
    "pawsx": convert_rows.pawsx,
    "udpos": convert_rows.udpos,
    "panx": convert_rows.panx,
    "bucc2018": convert_rows.bucc2018,
    "tatoeba": convert_rows.tatoeba,
    "xquad": convert_questions.xquad,
    "mlqa": convert_questions.mlqa,
    "tydiqa": convert_questions.tydiqa,
}


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote.

    Attributes:
        folder: Rows in XTREME's layout.
        labels: Folder of `test-xx` label files, as the official scorer wants them for a task.
        rows: File below `folder` to its number of rows, sentences or questions.
        label_rows: The same for `labels`.
    """

    task: str
    folder: Path
    labels: Path
    rows: Mapping[str, int] = field(default_factory=dict)
    label_rows: Mapping[str, int] = field(default_factory=dict)


def convert(
    task: str, raw_dir: Path | str, out_dir: Path | str, labels_dir: Path | str | None = None
) -> Converted:
    """Convert the original files of a task, or archives of them, found anywhere in `raw_dir`.

    `out_dir` becomes the task's folder (`DATA/<task>` for `--data DATA`); labels of test rows go to
    `labels_dir`, by default `out_dir/labels`. Languages whose files are not there are left out.
    Everything is written under temporary names first: on any error nothing stays behind.

    Raises:
        UsageError: The task has no conversion, or `out_dir` already holds files.
        NotFoundError: `raw_dir` does not exist or holds none of the task's original files.
        DataError: An original file is broken; file and row are named.
        IntegrityError: An archive is broken or unsafe.
    """
    load_task(task)
    if task not in _CONVERTERS:
        raise UsageError(
            f"task {task} has no conversion", hint=f"There is one for: {', '.join(_CONVERTERS)}."
        )
    raw, out = Path(raw_dir), Path(out_dir)
    labels = Path(labels_dir) if labels_dir is not None else out / "labels"
    if not raw.is_dir():
        raise NotFoundError("no folder with original files", where=str(raw))
    for folder in (out, labels):
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(
                "the folder already holds files",
                where=str(folder),
                hint="Choose a new one, or leave out --raw to read what is there.",
            )
    if labels == out / "labels":
        with atomic_folder(out) as rows_now, _unpacked(raw) as found:
            rows, label_rows = _write(task, Raw(found), rows_now, rows_now / "labels")
    else:
        with (
            atomic_folder(out) as rows_now,
            atomic_folder(labels) as labels_now,
            _unpacked(raw) as found,
        ):
            rows, label_rows = _write(task, Raw(found), rows_now, labels_now)
    return Converted(task, out, labels, rows, label_rows)


def _write(
    task: str, raw: Raw, rows_folder: Path, labels_folder: Path
) -> tuple[dict[str, int], dict[str, int]]:
    rows: dict[str, int] = {}
    label_rows: dict[str, int] = {}
    for item in _CONVERTERS[task](raw):
        folder, counts = (labels_folder, label_rows) if item.label else (rows_folder, rows)
        write_text(folder / item.name, item.text)
        counts[item.name] = item.rows
    if not rows:
        looked = "\n".join(f"  {pattern}" for pattern in raw.looked_for)
        raise NotFoundError(
            f"none of the original files of task {task} is there",
            where=f"{raw.folders[0]}: looked for\n{looked}",
            hint="Name the folder that holds them, or their archives.",
        )
    return rows, label_rows


@contextmanager
def _unpacked(raw: Path) -> Iterator[list[Path]]:
    """The raw folder and folders with what its archives hold, inner archives included."""
    archives = sorted(path for path in files_below(raw) if is_archive(path))
    if not archives:
        yield [raw]
        return
    with scratch_folder("raw") as scratch:
        folders = [raw]
        waiting = [(archive, archive.name) for archive in archives]
        while waiting:
            archive, label = waiting.pop(0)
            stem = next(label[: -len(e)] for e in _BY_LENGTH if label.lower().endswith(e))
            folder = scratch / str(len(folders)) / stem
            files = unpack(archive, folder)
            folders.append(folder)
            waiting += [(path, path.name) for path in sorted(files) if is_archive(path)]
        yield folders


_BY_LENGTH = (".tar.bz2", ".tar.gz", ".tar.xz", ".tgz", ".tar", ".zip")
