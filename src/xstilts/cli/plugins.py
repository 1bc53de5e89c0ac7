"""What `xstilts doctor --plugins` finds: every implementation, its package, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from xstilts.config.registry import Registry
from xstilts.errors import XstiltsError


@dataclass(frozen=True)
class Implementation:
    """One implementation of a contract.

    Attributes:
        kind: Of what, such as "method".
        package: The installed distribution that it comes from.
        problems: What it does otherwise than its contract says; only those of other packages are
            run, so that there are none of xstilts' own.
    """

    kind: str
    name: str
    package: str
    problems: tuple[str, ...] = ()


def implementations() -> Iterator[Implementation]:
    """Every implementation of every group; those of other packages are imported and checked."""
    from xstilts.backbone.architectures import ARCHITECTURES
    from xstilts.bench.models import encoder
    from xstilts.composition.conformance import method_problems, operator_problems
    from xstilts.composition.export import EXPORTS
    from xstilts.data.readers import READERS
    from xstilts.grid.engines import ENGINES
    from xstilts.modules.methods import METHODS
    from xstilts.modules.operators import OPERATORS
    from xstilts.tasks.conformance import (
        format_problems,
        hub_problems,
        metric_problems,
        reader_problems,
    )
    from xstilts.tasks.formats import FORMATS
    from xstilts.tasks.metrics import METRICS
    from xstilts.zoo.hubs import HUBS

    backbone = cache(lambda: encoder("tiny"))
    checks: Mapping[str, Callable[[str], list[str]]] = {
        METHODS.kind: lambda name: method_problems(name, backbone()),
        OPERATORS.kind: lambda name: operator_problems(name, backbone()),
        FORMATS.kind: format_problems,
        METRICS.kind: metric_problems,
        READERS.kind: reader_problems,
        HUBS.kind: hub_problems,
    }
    registries: tuple[Registry[Any], ...]
    of_models = (ARCHITECTURES, METHODS, OPERATORS, FORMATS, EXPORTS)
    registries = (*of_models, METRICS, READERS, HUBS, ENGINES)
    for registry in registries:
        try:
            names = registry.names()
        except XstiltsError as error:  # two of one name
            yield Implementation(registry.kind, "", "", (_said(error),))
            continue
        for name in names:
            origin = registry.origin(name)
            check = checks.get(registry.kind, lambda _: [])
            problems = _problems(registry, name, check) if origin.entry else ()
            yield Implementation(registry.kind, name, origin.package, problems)


def _problems(
    registry: Registry[Any], name: str, check: Callable[[str], list[str]]
) -> tuple[str, ...]:
    try:
        registry.get(name)
        return tuple(check(name))
    except Exception as error:  # noqa: BLE001  (whatever another's code raises is the finding)
        return (_said(error),)


def _said(error: Exception) -> str:
    if isinstance(error, XstiltsError):
        return error.what
    return f"{type(error).__name__}: {error}".splitlines()[0]
