"""What an expression is made of, by manifests alone: its modules, their heads, its identity.

No weight is read here, and torch is imported only where an operator judges its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote

from xstilts.backbone.known import KnownBackbone
from xstilts.composition.expression import (
    Call,
    Expression,
    Ref,
    for_language,
    map_references,
    references,
    with_fallbacks,
)
from xstilts.composition.parser import parse
from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.errors import IntegrityError, NotFoundError, UsageError
from xstilts.files import digest
from xstilts.modules.operators import OPERATORS, PartInfo
from xstilts.tasks.formats import FORMATS
from xstilts.zoo import Entry, Manifest, Zoo
from xstilts.zoo.manifest import COMPOSITION, HEAD, HeadRecord


def resolve_expression(
    text: str, zoo: Zoo, backbone: KnownBackbone | None, language: str = ""
) -> tuple[Expression, dict[str, Entry]]:
    """Parse, fill `{lang}`, find every module, and check the whole, without loading weights.

    What compositions are made of is found and checked with them, down to the last module. Without a
    backbone a module of any fits.

    Raises:
        UsageError: The expression does not parse or makes no sense.
        NotFoundError: A module is not in the library.
        BackboneMismatchError: A module belongs to another backbone.
        IntegrityError: A composition is a part of itself.
    """
    expression = _for_language(text, zoo, backbone, language)
    entries = find_parts(expression, zoo, backbone)
    for entry in entries.values():
        _check_lineage(entry, zoo, backbone)
    return expression, entries


def _for_language(text: str, zoo: Zoo, backbone: KnownBackbone | None, language: str) -> Expression:
    """The expression for a language, what it lacks replaced as the expression says."""
    expression = parse(text)
    if not language:
        return expression
    return with_fallbacks(
        for_language(expression, language), lambda name: _exists(name, zoo, backbone)
    )


def _exists(name: str, zoo: Zoo, backbone: KnownBackbone | None) -> bool:
    try:
        zoo.find(name, backbone.identity if backbone else None)
    except NotFoundError:
        return False
    return True


def find_parts(
    expression: Expression, zoo: Zoo, backbone: KnownBackbone | None
) -> dict[str, Entry]:
    """Every module of an expression by reference; raises as `resolve_expression` does."""
    identity = backbone.identity if backbone else None
    entries = {ref.name: zoo.find(ref.name, identity) for ref in references(expression)}
    if isinstance(expression, Call):
        from xstilts.composition.compose import check  # imports torch, with the operators

        check(expression, {name: _info(name, entry.manifest) for name, entry in entries.items()})
    return entries


def _check_lineage(
    entry: Entry, zoo: Zoo, backbone: KnownBackbone | None, above: tuple[str, ...] = ()
) -> None:
    """Find everything below a composition, before any weight is read."""
    if entry.manifest.kind != COMPOSITION:
        return
    parts = find_parts(parse(entry.manifest.composition), zoo, backbone)
    line = (*above, entry.manifest.digest)
    for part in parts.values():
        if part.manifest.digest in line:
            raise IntegrityError(
                f"composition '{entry.manifest.name}' is a part of itself",
                where=str(entry.folder),
                hint="Remove it: no training makes such a module.",
            )
        _check_lineage(part, zoo, backbone, line)


def _info(name: str, manifest: Manifest) -> PartInfo:
    whole = manifest.kind == COMPOSITION
    method = "" if whole else manifest.method
    return PartInfo(name, method, manifest.options, merged=not whole)


def expression_digest(
    text: str, zoo: Zoo, backbone: KnownBackbone, language: str = "", head: str = ""
) -> str:
    """Identity of what an expression computes, with the head of module `head` where one is named.

    Whether its parts go together is not asked; raises as `Zoo.find` does.
    """
    expression = _for_language(text, zoo, backbone, language)
    entries = {ref.name: zoo.find(ref.name, backbone.identity) for ref in references(expression)}
    own = pinned_digest(expression, entries)
    return headed_digest(own, zoo.find(head, backbone.identity)) if head else own


def modules_read(
    text: str, zoo: Zoo, backbone: KnownBackbone, language: str = "", head: str = ""
) -> list[Entry]:
    """Every module whose files decide what an expression computes, down to the last part.

    Raises as `expression_digest` does.
    """
    expression = _for_language(text, zoo, backbone, language)
    names = [*(ref.name for ref in references(expression)), *([head] if head else [])]
    found: dict[str, Entry] = {}
    while names:
        entry = zoo.find(names.pop(), backbone.identity)
        if entry.manifest.digest not in found:
            found[entry.manifest.digest] = entry
            if entry.manifest.kind == COMPOSITION:
                names += [ref.name for ref in references(parse(entry.manifest.composition))]
    return list(found.values())


def headed_digest(own: str, head: Entry) -> str:
    """Identity of an expression of digest `own` that predicts with the head of another module."""
    return digest([own, "head", head.manifest.digest])


def pinned(expression: Expression, entries: Mapping[str, Entry]) -> str:
    """The expression with every module by digest."""
    return str(map_references(expression, lambda name: "@" + entries[name].manifest.digest))


def pinned_digest(expression: Expression, entries: Mapping[str, Entry]) -> str:
    """Identity of what an expression computes; empty for `none`."""
    return digest(pinned(expression, entries)) if entries else ""


def acting_digest(expression: Expression, entries: Mapping[str, Entry]) -> str:
    """Identity of what an expression does in the encoder; empty for `none`.

    Modules of another name, head or training with the same weights and settings are the same, such
    as a module and the snapshot of its last step.
    """

    def acting(name: str) -> str:
        module = entries[name].manifest
        files = [(file.path, file.sha256) for file in module.files if file.role != "head"]
        return "@" + digest([module.method, module.options, module.composition, files])

    return digest(str(map_references(expression, acting))) if entries else ""


def require_head(
    text: str,
    zoo: Zoo,
    backbone: KnownBackbone | None,
    task: TaskSpec,
    language: str = "",
    head: str = "",
    named: str = "",
) -> None:
    """Refuse an expression that cannot predict a task, before any weight is read.

    Args:
        text: The expression.
        zoo: Has its modules.
        backbone: What they act in; without one a module of any fits.
        task: That is to be predicted.
        language: Fills `{lang}`.
        head: Module whose head is taken instead of the expression's own.
        named: How the task was named, for the hint: a name or the path of a YAML.

    Raises:
        UsageError: There is no head for the task, or as `resolve_expression` does.
    """
    if head:
        resolve_expression(text, zoo, backbone, language)
    if not has_head(head or text, zoo, backbone, task, "" if head else language):
        raise UsageError(
            f"'{head or text}' has no head for task {task.name}",
            hint=f"Take another module's, --head MODULE, or train one: xstilts compose '{text}' "
            f"--target {quote(named or task.name)} --save NAME",
        )


def has_head(
    text: str, zoo: Zoo, backbone: KnownBackbone | None, task: TaskSpec, language: str = ""
) -> bool:
    """Whether an expression can predict a task; raises as `resolve_expression` does."""
    return any(serves(own, task) for own in own_heads(text, zoo, backbone, language))


def own_heads(
    text: str, zoo: Zoo, backbone: KnownBackbone | None, language: str = ""
) -> tuple[TaskSpec, ...]:
    """The tasks that the heads of an expression speak, by manifests alone.

    Raises as `resolve_expression` does.
    """
    expression, entries = resolve_expression(text, zoo, backbone, language)
    outer = outermost(expression, entries)
    return head_tasks(outer) if outer else ()


def outermost(expression: Expression, entries: Mapping[str, Entry]) -> Entry | None:
    """The module whose head speaks for the expression: itself, or the last of a stack."""
    if isinstance(expression, Ref):
        return entries.get(expression.name)
    operator = OPERATORS.get(expression.operator)
    if not operator.MERGES and operator.HEAD_OF_LAST:
        return outermost(expression.parts[-1].expression, entries)
    return None


def answering(heads: Sequence[TaskSpec], task: str = "") -> TaskSpec | None:
    """Which of an expression's heads answers: that of `task`, or else the first one.

    Raises:
        NotFoundError: There are heads, and none of them is of `task`.
    """
    named = {head.name: head for head in heads}
    if task and named and task not in named:
        raise NotFoundError.named("head", task, named)
    return named[task] if task and named else next(iter(heads), None)


def require_predictions(text: str, head: TaskSpec | None) -> None:
    """Refuse an expression that nothing can be asked of.

    Raises:
        UsageError: It has no head, or one that gives no predictions.
    """
    if head is None:
        raise UsageError(
            f"'{text}' has no head",
            hint=f"Train one: xstilts compose '{text}' --target TASK --save NAME",
        )
    if not FORMATS.get(head.format).PREDICTS:
        raise UsageError(f"a head of format {head.format} gives no predictions")


def serves(own: TaskSpec, task: TaskSpec) -> bool:
    """Whether a head of `own` can predict `task`: same format and family, every label known."""
    same = own.format == task.format and own.head_family == task.head_family
    return same and set(task.labels) <= set(own.labels)


def head_tasks(entry: Entry) -> tuple[TaskSpec, ...]:
    """The tasks that the heads kept with a module speak; no weight is read."""
    return tuple(
        head_task(record)
        for record in head_records(entry.manifest)
        if (entry.folder / record.file).is_file()
    )


def head_records(manifest: Manifest) -> list[HeadRecord]:
    """The heads that a manifest speaks of."""
    if manifest.heads or not manifest.format:
        return list(manifest.heads)
    m = manifest
    return [HeadRecord(file=HEAD, task=m.task, format=m.format, family=m.family, labels=m.labels)]


def head_task(record: HeadRecord) -> TaskSpec:
    """The task that a head speaks, with the labels of its training.

    A task that was a YAML of the person who trained it is known by its format and labels only.
    """
    own = {"labels": record.labels, "family": record.family}
    try:
        task = load_task(record.task)
    except NotFoundError:
        task = TaskSpec(name=record.task, format=record.format, languages=[], metric="", sources=[])
    return task.model_copy(update=own)
