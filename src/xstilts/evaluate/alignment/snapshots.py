"""What an alignment measures: expressions in every block, and snapshots of their training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xstilts.backbone.known import KnownBackbone
from xstilts.composition.expression import Ref
from xstilts.composition.parser import parse
from xstilts.composition.resolve import resolve_expression
from xstilts.errors import NotFoundError, UsageError
from xstilts.evaluate.request import Request, task_requests
from xstilts.files import digest
from xstilts.zoo import Entry, Zoo


def snapshot_label(label: str, step: int) -> str:
    """What stands in tables for a module as it was after some steps."""
    return f"{label}-step{step}"


def trained_label(label: str, step: int) -> str:
    """The label of the module that a snapshot belongs to; the label itself for no snapshot."""
    return label if step < 0 else label.removesuffix(f"-step{step}")


def snapshots(text: str, zoo: Zoo, backbone: KnownBackbone) -> list[tuple[int, Entry]]:
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


def alignment_requests(
    expressions: Sequence[str],
    tasks: Sequence[str],
    zoo: Zoo,
    backbone: KnownBackbone,
    *,
    layers: Sequence[int] = (),
    steps: bool = False,
    **values: Any,
) -> list[Request]:
    """One request an expression or snapshot, bitext and block.

    Args:
        expressions: Such as `none` or `mnli`.
        tasks: Bitexts, such as `tatoeba`.
        zoo: Has the modules and their snapshots.
        backbone: What they act in.
        layers: Blocks, 0 for the embeddings; all of them when empty.
        steps: The snapshots of each module's training too, before the module itself.
        values: `langs`, `split` and `pooling`, see `task_requests`.
    """
    blocks = list(layers) or range(backbone.identity.num_layers + 1)
    measured = []
    for expression in expressions:
        kept = snapshots(expression, zoo, backbone) if steps and expression != "none" else ()
        measured += [(snapshot_label(expression, n), f"@{e.manifest.digest}") for n, e in kept]
        measured.append((expression, expression))
    return [
        request
        for label, used in measured
        for task in tasks
        for request in task_requests(
            [used], task, label=label, layers=blocks, alignment=True, **values
        )
    ]
