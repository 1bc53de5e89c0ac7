"""Export: a trained module as something that runs without xstilts.

A kind is one file of this package; `Export` states what it has.
The folder appears whole or not at all.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Generator, Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import merge
from xstilts.composition.expression import Expression
from xstilts.composition.load import LoadedExpression, load_expression, load_module, load_modules
from xstilts.composition.resolve import own_heads, resolve_expression
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.registry import Registry, optional
from xstilts.config.specs import TaskSpec
from xstilts.data.features import Batch
from xstilts.errors import AmbiguousError, IntegrityError, UsageError
from xstilts.files import atomic_folder, write_text
from xstilts.modules.methods import METHODS
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo import Entry, Zoo
from xstilts.zoo.manifest import COMPOSITION

TOLERANCE = 1e-4
"""Largest difference of logits, over their largest size (at least 1), that counts as the same."""


@dataclass(frozen=True)
class Source:
    """An expression with its modules and head, as an export gets it.

    Attributes:
        name: For what is written; plain letters, digits, `-` and `_`.
        expression: What the modules mean, without a head that was trained on top.
        entries: Its modules, by reference.
        adapter: The one module that the expression is, or None when it computes with several.
    """

    name: str
    backbone: Backbone
    zoo: Zoo
    loaded: LoadedExpression
    expression: Expression
    entries: dict[str, Entry]
    adapter: ModuleWeights | None

    @property
    def head(self) -> Head | None:
        """The head that predicts with the expression; None where it has none."""
        return self.loaded.head

    @property
    def model(self) -> TaskModel:
        """The expression with its head, in evaluation mode."""
        heads = {self.head.task.name: self.head} if self.head else {}
        model = TaskModel(self.backbone, self.loaded.composed, heads)
        return model.to(self.backbone.device).eval()


@dataclass(frozen=True)
class Exported:
    """The files that an export wrote, and how exact they are.

    Attributes:
        files: Names of the files, sorted.
        difference: Largest difference of a reload, relative as in `TOLERANCE`; None when unchecked.
    """

    folder: Path
    files: tuple[str, ...]
    difference: float | None


class Export(Protocol):
    """The contract of a kind of export; the file name is the word after `xstilts export`.

    Attributes:
        ABOUT: One line for the card.
    """

    ABOUT: str

    @optional
    def check(self, text: str, head: TaskSpec | None) -> None:
        """Refuse an expression by the task of its head; None when it has none.

        Raises:
            UsageError: The expression cannot be expressed that way.
        """

    def write(self, source: Source, folder: Path) -> float | None:
        """Write into an empty folder; the largest difference of a reload to our own output.

        None where nothing can be reloaded here.

        Raises:
            UsageError: The source cannot be expressed that way.
        """
        ...


EXPORTS = Registry[Export]("xstilts.composition.export", "kind of export", Export)


def require_exportable(kind: str, text: str, zoo: Zoo, language: str = "") -> None:
    """Refuse, by manifests alone, what a kind of export cannot write.

    Raises:
        NotFoundError: No such kind or module.
        UsageError: The expression cannot be expressed that way.
    """
    made = EXPORTS.get(kind)
    with suppress(AmbiguousError):  # the backbone decides
        made.check(text, next(iter(own_heads(text, zoo, None, language)), None))


def export(
    kind: str, text: str, zoo: Zoo, backbone: Backbone, to: Path, language: str = ""
) -> Exported:
    """Write the expression `text` as `kind` into the new folder `to`.

    Raises:
        NotFoundError: No such kind or module.
        UsageError: The folder exists, or the expression cannot be expressed that way.
        IntegrityError: What was written computes something else; nothing is left.
    """
    made = EXPORTS.get(kind)
    if to.exists():
        raise UsageError(f"{to} exists", hint="Name a folder that does not.")
    chosen = source(text, zoo, backbone, language)
    with atomic_folder(to) as folder:
        difference = made.write(chosen, folder)
        if difference is not None and not difference <= TOLERANCE:
            raise IntegrityError(
                f"the {kind} export differs by {difference:.2g} when it is loaded again",
                where=str(to),
                hint="Nothing was kept. Please report the versions that `xstilts doctor` prints.",
            )
        write_text(folder / "README.md", _card(chosen, made.ABOUT))
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)  # the library writes files that only their owner may read
    files = sorted(path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file())
    return Exported(to, tuple(files), difference)


def source(text: str, zoo: Zoo, backbone: Backbone, language: str = "") -> Source:
    """Load an expression for export; see `load_expression` for what it raises."""
    loaded = load_expression(text, zoo, backbone, language)
    expression, entries = resolve_expression(text, zoo, backbone, language)
    manifest = loaded.manifest
    acts = manifest is None or METHODS.get(manifest.method).ACTS
    if manifest is not None and manifest.kind == COMPOSITION and not acts:
        expression, entries = resolve_expression(manifest.composition, zoo, backbone)
    modules = load_modules(entries, zoo, backbone)
    adapter = merge(expression, modules, backbone.shape, Generator().manual_seed(0))
    name = plain_name(manifest.name if manifest else "composition")
    return Source(name, backbone, zoo, loaded, expression, entries, adapter)


def plain_name(name: str) -> str:
    """`name` with only letters, digits, `-` and `_`: the libraries read dots as paths."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def parts_of(chosen: Source) -> list[tuple[str, ModuleWeights]]:
    """Name and weights of every module of the expression, names made different."""
    result: list[tuple[str, ModuleWeights]] = []
    for entry in chosen.entries.values():
        module = load_module(entry, chosen.zoo, chosen.backbone)
        if not isinstance(module, ModuleWeights):
            raise UsageError(f"'{entry.reference}' is itself a composition")
        name = plain_name(entry.manifest.name)
        if any(name == other for other, _ in result):
            name = f"{name}-{entry.manifest.digest[:6]}"
        result.append((name, module))
    return result


# --------------------------------------------------------------------------------------- parity


def probe(backbone: Backbone, rows: int = 2, width: int = 12) -> tuple[Tensor, Tensor]:
    """Fixed ids and a mask [rows, width]; every row but the first ends in padding."""
    identity = backbone.identity
    pad = int(backbone.encoder.config.pad_token_id or 0)
    ids = (torch.arange(rows * width).reshape(rows, width) * 7 + 5) % identity.vocab_size
    ids[ids == pad] = (pad + 1) % identity.vocab_size
    mask = torch.ones_like(ids)
    for row in range(1, rows):
        mask[row, width - min(2 * row, width - 2) :] = 0
    ids[mask == 0] = pad
    return ids, mask


@torch.inference_mode()
def reference(chosen: Source, ids: Tensor, mask: Tensor) -> Tensor:
    """Our own logits, or the last hidden state where there is no head."""
    model, device = chosen.model, chosen.backbone.device
    with model.attached():
        hidden = chosen.backbone(ids.to(device), mask.to(device))
        if chosen.head is None:
            return hidden.cpu()
        output: Tensor = chosen.head.module.to(device).eval()(hidden, _everywhere(ids, mask))
        return output.cpu()


def _everywhere(ids: Tensor, mask: Tensor) -> Batch:
    """A batch in which a masked language model's head scores every position."""
    rows = torch.arange(len(ids))
    return Batch(ids, mask, rows, rows.numpy(), len(ids), {"labels": torch.zeros_like(ids)})


def difference(found: Tensor, wanted: Tensor, mask: Tensor) -> float:
    """Largest difference over the largest size (at least 1); padding does not count."""
    if found.shape != wanted.shape:
        return float("inf")
    if wanted.dim() == 3:
        found, wanted = found[mask.bool()], wanted[mask.bool()]
    return float((found.float() - wanted.float()).abs().max() / wanted.abs().max().clamp(min=1))


def _card(chosen: Source, about: str) -> str:
    identity = chosen.backbone.identity
    entries = chosen.loaded.entries
    lines = [
        f"# {chosen.name}",
        "",
        about,
        "",
        f"- expression: `{chosen.loaded.expression}`",
        f"- base model: `{identity.repo}`" + (f" at {identity.revision}" * bool(identity.revision)),
    ]
    lines += [f"- module: `{entry.reference}`" for entry in entries]
    if chosen.head:
        task = chosen.head.task
        said = f"; `num_labels={len(task.labels)}`: {', '.join(task.labels)}" if task.labels else ""
        lines.append(f"- head: {task.format}, task {task.name}{said}")
    return "\n".join(lines) + "\n"
