"""What is refused of expressions before a backbone is loaded, and which head they lack."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xstilts.composition.expression import LANGUAGE_SLOT, learns, needs_language, references
from xstilts.composition.parser import module_names, parse
from xstilts.errors import AmbiguousError, NotFoundError, UsageError
from xstilts.files import digest
from xstilts.zoo import Entry, Zoo

if TYPE_CHECKING:  # an expression is read without torch
    from xstilts.backbone.known import KnownBackbone
    from xstilts.config.specs import TaskSpec


def require_parts(expressions: Iterable[str], zoo: Zoo, language: str = "") -> None:
    """Refuse expressions that do not parse, or that name modules that are not there.

    Parts that depend on a language are looked for when `language` is given.

    Raises:
        UsageError: An expression or a reference does not parse.
        NotFoundError: A module is nowhere; near names are shown.
    """
    for text in expressions:
        for ref in references(parse(text)):
            name = ref.name.replace(LANGUAGE_SLOT, language) if language else ref.name
            if LANGUAGE_SLOT not in name and not ref.fallback:
                with suppress(AmbiguousError):  # the backbone decides
                    zoo.find(name)


def require_heads(asked: Iterable[tuple[str, str, str]], zoo: Zoo, data: Path | None) -> None:
    """Refuse expressions without a head for a task that needs one.

    Args:
        asked: Expressions, the modules whose heads predict, empty for their own, and tasks, each a
            name or the path of a YAML.
        zoo: Has the modules.
        data: Folder of the tasks' files.

    Raises:
        UsageError: One has none.
    """
    from xstilts.composition.resolve import require_head
    from xstilts.config.load import load_task
    from xstilts.data.sources import task_in_world
    from xstilts.tasks.formats import FORMATS

    for text, head, named in asked:
        spec = load_task(named)
        if FORMATS.get(spec.format).NEEDS_HEAD and not needs_language(parse(text)):
            with suppress(AmbiguousError):
                task = task_in_world(spec, data)
                require_head(text, zoo, None, task, head=head, named=named)


def require_language(expression: str, language: str) -> None:
    """Refuse an expression with a `{lang}` that no language fills.

    Raises:
        UsageError: It has one.
    """
    if LANGUAGE_SLOT in expression and not language:
        raise UsageError(
            f"'{expression}' needs a language", hint="Give it with --langs, or language=…."
        )


def require_answers(expression: str, zoo: Zoo, language: str, task: str) -> None:
    """Refuse to ask an expression that gives no predictions.

    Raises:
        UsageError: It needs a language, or has no head that gives predictions.
        NotFoundError: It has heads, and none is of `task`.
    """
    from xstilts.composition.resolve import answering, own_heads, require_predictions

    require_language(expression, language)
    with suppress(AmbiguousError):
        heads = own_heads(expression, zoo, None, language)
        require_predictions(expression, answering(heads, task))


def only_backbone_of(expressions: Iterable[str], zoo: Zoo) -> Entry | None:
    """A module of the one backbone that all modules of some expressions are of.

    None where they are of several or of none, and where one is not found or has several that fit:
    whoever needs it says what is wrong.
    """
    owners: dict[str, Entry] = {}
    for name in module_names(list(expressions)):
        try:
            entry = zoo.find(name)
        except (NotFoundError, UsageError):
            return None
        owners.setdefault(entry.manifest.backbone.fingerprint, entry)
    return next(iter(owners.values())) if len(owners) == 1 else None


def missing_head(
    expression: str, task: TaskSpec, zoo: Zoo, backbone: KnownBackbone | None, top: str
) -> tuple[str, str] | None:
    """Method and name of the module that gives an expression a head; None when it has one.

    Over a fusion only a head is trained; over everything else `top` and a head. Without a backbone
    a reference that several modules fit is an `AmbiguousError`.
    """
    from xstilts.composition.resolve import has_head
    from xstilts.tasks.formats import FORMATS

    if not FORMATS.get(task.format).NEEDS_HEAD or has_head(expression, zoo, backbone, task):
        return None
    parsed = parse(expression)
    some = any(not ref.is_none for ref in references(parsed))
    name = f"{task.name}-on-{digest(expression)[:8]}" if some else f"{task.name}-alone"
    return ("head" if learns(parsed) else top), name
