"""The snapshots that a training kept of a module, as expressions."""

from __future__ import annotations

from xstilts.backbone.backbone import Backbone
from xstilts.composition.expression import Ref
from xstilts.composition.load import resolve_expression
from xstilts.composition.parser import parse
from xstilts.errors import NotFoundError, UsageError
from xstilts.files import digest
from xstilts.zoo import Entry, Zoo


def snapshot_label(label: str, step: int) -> str:
    """What stands in tables for a module as it was after some steps."""
    return f"{label}-step{step}"


def trained_label(label: str, step: int) -> str:
    """The label of the module that a snapshot belongs to; the label itself for no snapshot."""
    return label if step < 0 else label.removesuffix(f"-step{step}")


def snapshots(text: str, zoo: Zoo, backbone: Backbone) -> list[tuple[int, Entry]]:
    """Steps and modules that were kept while the module `text` was trained, in order.

    Raises:
        UsageError: It is no single module.
        NotFoundError: No snapshot was kept.
    """
    expression = parse(text)
    if not isinstance(expression, Ref) or expression.is_none:
        raise UsageError(f"'{text}' is no single module", hint="Name its parts one by one.")
    _, entries = resolve_expression(text, zoo, backbone)
    (final,) = entries.values()
    start = f"{final.manifest.name}-step"
    found = []
    for entry in zoo.entries():
        number = entry.manifest.name.removeprefix(start)
        of_it = entry.manifest.name.startswith(start) and number.isdecimal()
        if of_it and entry.manifest.run == digest([final.manifest.run, int(number)]):
            found.append((int(number), entry))
    if not found:
        raise NotFoundError(
            f"no snapshots of '{text}' in the library",
            where=str(zoo.root),
            hint="Train it with --set train.save_every=N.",
        )
    return sorted(found, key=lambda item: item[0])
