"""Stored predictions as a folder in XTREME's official layout."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from xstilts.config.paths import require_writable
from xstilts.errors import UsageError
from xstilts.evaluate.names import own_split, plain_label
from xstilts.evaluate.store import ResultCell
from xstilts.files import atomic_folder


def require_own_split(task: str, split: str) -> None:
    """Refuse a submission of rows that the task is not scored on.

    Raises:
        UsageError: `split` is neither empty nor the task's own.
    """
    own = own_split(task)
    if own and split not in ("", own):
        raise UsageError(
            f"a submission of {task} holds predictions for '{own}', not for '{split}'",
            hint="Leave out --split, or --submit-dir.",
        )


def require_free(folder: Path) -> None:
    """Refuse a folder that a submission cannot be written to.

    Raises:
        UsageError: It holds something, is a file, or cannot be written.
    """
    hint = "Give --submit-dir a new folder."
    require_writable(folder, hint)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint=hint)


def write_submission(cells: Iterable[ResultCell], folder: Path) -> dict[str, list[Path]]:
    """Copy the predictions of finished cells to `<folder>/<task>/test-<language>.<suffix>`.

    Cells of several expressions go to a folder each, `<folder>/<expression>/<task>/…`.

    Args:
        cells: Of the test splits.
        folder: Must not be there yet, or be empty.

    Returns:
        Expression to the files written, paths below `folder`.

    Raises:
        UsageError: The folder holds something, a cell is of a split that is not its task's own, or
            two cells would be the same file.
    """
    require_free(folder)
    by_label: dict[str, list[ResultCell]] = {}
    for cell in cells:
        by_label.setdefault(plain_label(cell.scores[0]), []).append(cell)
    written: dict[str, list[Path]] = {}
    with atomic_folder(folder) as new:
        for label, own in by_label.items():
            root = Path(plain_name(label)) if len(by_label) > 1 else Path()
            written[label] = _copy(own, new, root)
    return written


def _copy(cells: Sequence[ResultCell], folder: Path, root: Path) -> list[Path]:
    paths: list[Path] = []
    for cell in cells:
        score = cell.scores[0]
        require_own_split(score.task, score.split)
        path = root / score.task / f"test-{score.language}{cell.predictions.suffix}"
        if path in paths:
            raise UsageError(
                f"two results for {score.task} in {score.language}",
                hint="Give one layer and pooling.",
            )
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cell.predictions, folder / path)
        paths.append(path)
    return paths


def plain_name(label: str) -> str:
    """An expression as a folder name."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in label)
    return kept.strip("-.") or "expression"
