"""What implementations of methods and operators do, held against what their contracts say.

The contract tests run this over xstilts' own, `xstilts doctor --plugins` over those of other
packages. Each check gives sentences that say what is otherwise, none where all is well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Generator, Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import ComposedModules, compose, merge
from xstilts.composition.export import probe
from xstilts.composition.expression import SUM, Call, Expression, Operand, Ref
from xstilts.composition.parser import parse
from xstilts.config.specs import Spec
from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.methods import METHODS, Method
from xstilts.modules.operators import OPERATORS, PartInfo
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.manifest import COMPOSITION, MERGE, NAME

SAFE = (".safetensors", ".json", ".txt", ".model")
CLOSE = 1e-4
"""Largest difference of outputs, which are of order 1, that two orders of summing may give."""


def method_problems(name: str, backbone: Backbone, options: Spec | None = None) -> list[str]:
    """What a method does otherwise than `Method` says, on a small random backbone.

    Args:
        name: Of the method.
        backbone: Nothing of it is changed.
        options: Of the modules that are made; the method's defaults when None.

    Raises:
        UsageError: It lacks what the contract states, or cannot be imported.
    """
    method = METHODS.get(name)
    if method.KIND in (COMPOSITION, MERGE):
        return [f"its KIND is '{method.KIND}', which is what combinations are called"]
    try:
        options = options or method.Options()
    except ValidationError:
        return ["its Options have fields without a default"]
    module = method.create(backbone.shape, options, Generator().manual_seed(0))
    if module.method != name:
        return [f"create gives a module of method '{module.method}'"]
    found = list(_starting_problems(method, module, backbone))
    if not found:
        _change(module, backbone, method, seed=1)
        found = [*_acting_problems(method, module, backbone)]
        found += _kept_problems(method, module, backbone)
    return found


def _starting_problems(method: Method, module: ModuleWeights, backbone: Backbone) -> Iterator[str]:
    held = len(list(module.parameters()))
    if method.ACTS and not method.REPLACES_ENCODER and not held:
        yield "a new module has no parameters; ACTS says that it acts"
    if not method.EXTERNAL and not torch.equal(_outputs(backbone, module), _outputs(backbone)):
        yield "a new module changes the encoder's output"


def _acting_problems(method: Method, module: ModuleWeights, backbone: Backbone) -> Iterator[str]:
    before = _outputs(backbone)
    acts = bool((_outputs(backbone, module) - before).abs().max() > CLOSE)
    if acts != method.ACTS:
        yield f"ACTS is {method.ACTS}, and its parameters {'' if acts else 'do not '}matter"
    if not torch.equal(_outputs(backbone), before):
        yield "the encoder is not the same after a module was taken off"
    if list(module.parameters()):
        ids, mask = probe(backbone)
        with backbone.attach(dict(module.at.items()), module.encoder_weights):
            torch.autograd.backward(backbone(ids, mask).pow(2).sum())
        if any(p.grad is None for p in module.parameters()):
            yield "some of its parameters get no gradient"
        if any(p.grad is not None for p in backbone.encoder.parameters()):
            yield "the encoder's own parameters get a gradient"
        module.zero_grad(set_to_none=True)


def _kept_problems(method: Method, module: ModuleWeights, backbone: Backbone) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        method.save(module, folder, "module", backbone)
        files = [path for path in folder.rglob("*") if path.is_file()]
        unsafe = sorted(path.name for path in files if path.suffix not in SAFE)
        if unsafe:
            yield f"save writes {', '.join(unsafe)}: weights are safetensors, configs JSON"
        if any(path.name == NAME for path in files):
            yield f"save writes {NAME}, which is xstilts' own"
        again = method.load(folder, backbone.shape)
        if again.options != module.options:
            yield "load gives other options than were saved"
        if not torch.equal(_outputs(backbone, again), _outputs(backbone, module)):
            yield "load gives a module with other outputs than the one that was saved"
        for path in files:
            path.unlink()
        if files and not _refuses(method, folder, backbone):
            yield "load of an empty folder raises no IntegrityError"


def _refuses(method: Method, folder: Path, backbone: Backbone) -> bool:
    try:
        _outputs(backbone, method.load(folder, backbone.shape))
    except IntegrityError:
        return True
    return False


# ------------------------------------------------------------------------------------- operators


def operator_problems(name: str, backbone: Backbone) -> list[str]:
    """What an operator does otherwise than its contract says, on a small random backbone.

    It gets modules of each of xstilts' own methods that can be combined and that it takes.

    Raises:
        UsageError: It lacks what the contract states, or cannot be imported.
    """
    operator = OPERATORS.get(name)
    try:
        operator.Options()
    except ValidationError:
        return ["its Options have fields without a default"]
    call = parse(f"{name}(a, b)") if name != SUM else parse("a + b")
    found, taken = [], 0
    for kind in (kind for kind in METHODS if METHODS.origin(kind).entry is None):
        method = METHODS.get(kind)
        if not method.ACTS or method.EXTERNAL or method.REPLACES_ENCODER:
            continue
        modules = {part: _changed(kind, backbone, seed) for seed, part in enumerate("ab")}
        infos = [PartInfo(p, kind, m.options.model_dump(), True) for p, m in modules.items()]
        with suppress(UsageError):
            operator.check(infos)
            taken += 1
            texts = _computing_problems(name, call, modules, backbone)
            found += [f"of {kind}: {text}" for text in texts]
    return found if taken else ["it refuses modules of every method"]


def _computing_problems(
    name: str, call: Expression, modules: dict[str, Any], backbone: Backbone
) -> Iterator[str]:
    operator = OPERATORS.get(name)
    first = _composed(call, modules, backbone)
    outputs = _outputs(backbone, first)
    if not torch.isfinite(outputs).all():
        yield "its outputs are not finite"
    if not torch.equal(outputs, _outputs(backbone, _composed(call, modules, backbone))):
        yield "it gives other outputs the second time, with a generator of the same seed"
    back = Call(name, (Operand(Ref("b")), Operand(Ref("a"))))
    gap = (_outputs(backbone, _composed(back, modules, backbone)) - outputs).abs().max()
    if not operator.ORDERED and gap > CLOSE:
        yield f"ORDERED is False, and the other order gives other outputs (by {float(gap):.1g})"
    made = merge(call, modules, backbone.shape, Generator().manual_seed(0))
    if operator.MERGES:
        if not isinstance(made, ModuleWeights):
            yield "combine gives no ModuleWeights"
        elif made.method not in METHODS:
            yield f"combine gives a module of the unknown method '{made.method}'"
        if first.operator_parameters():
            yield "it merges, and has parameters of its own"
    elif bool(first.operator_parameters()) != operator.LEARNS:
        names = "has" if first.operator_parameters() else "has no"
        yield f"LEARNS is {operator.LEARNS}, and it {names} parameters in children named own…"


# ---------------------------------------------------------------------------------- small helpers


def _composed(
    expression: Expression, modules: dict[str, Any], backbone: Backbone
) -> ComposedModules:
    return compose(expression, modules, backbone.shape, Generator().manual_seed(0)).eval()


@torch.no_grad()
def _outputs(backbone: Backbone, module: ModuleWeights | ComposedModules | None = None) -> Tensor:
    ids, mask = probe(backbone)
    if module is None:
        return backbone(ids, mask)
    nodes = module.at if isinstance(module, ModuleWeights) else module.nodes
    module.eval()
    with backbone.attach(dict(nodes.items()), module.encoder_weights):
        return backbone(ids, mask)


def _changed(kind: str, backbone: Backbone, seed: int) -> ModuleWeights:
    """A module of a method's default options that does something."""
    method = METHODS.get(kind)
    module = method.create(backbone.shape, method.Options(), Generator().manual_seed(seed))
    _change(module, backbone, method, seed)
    return module


def _change(module: ModuleWeights, backbone: Backbone, method: Method, seed: int) -> None:
    """Give a module random values, so that nothing of it is the identity any more."""
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    if method.REPLACES_ENCODER:
        own = backbone.encoder.named_parameters()
        module.encoder_weights = {name: p.detach() * 1.1 for name, p in own}
