"""A module that starts from another one, for every method preset."""

from __future__ import annotations

import pytest
import torch
from support.models import fresh, tokens
from support.zoo_modules import add, base

from xstilts.composition.compose import compose
from xstilts.composition.load import load_module, start_from
from xstilts.composition.parser import parse
from xstilts.config.load import spec_names
from xstilts.errors import UsageError
from xstilts.zoo import Zoo

PRESETS = [name for name in spec_names("methods") if name != "head"]


def made(preset, **options):
    return fresh(preset, base().shape, seed=99, **options)[1]


@pytest.mark.parametrize("preset", PRESETS)
def test_it_starts_bit_equal(preset, tmp_path):
    where, (ids, mask) = base(), tokens()
    zoo = Zoo(tmp_path)
    entry = add(zoo, preset)
    wanted = compose(
        parse("a"), {"a": load_module(entry, zoo, where)}, where.shape, torch.Generator()
    )
    started = start_from(made(preset), entry, zoo, where)
    with where.attach(wanted.nodes, wanted.encoder_weights):
        expected = where(ids, mask)
    with where.attach(started.at, started.encoder_weights):
        assert torch.equal(where(ids, mask), expected)
    if not preset.startswith("full"):
        assert not torch.equal(where(ids, mask), expected)


@pytest.mark.parametrize(
    ("preset", "other", "options"),
    [
        ("lora", "seq_bn", {}),
        ("lora", "lora", {"rank": 4}),
        ("lora", "lora", {"alpha": 4}),
        ("seq_bn", "seq_bn", {"scaling": 2.0}),
        ("seq_bn", "lang", {}),
    ],
)
def test_another_function_is_refused(preset, other, options, tmp_path):
    zoo = Zoo(tmp_path)
    entry = add(zoo, preset)
    with pytest.raises(UsageError, match="method and sizes"):
        start_from(made(other, **options), entry, zoo, base())


def test_dropout_may_differ(tmp_path):
    zoo = Zoo(tmp_path)
    entry = add(zoo, "lora")
    started = start_from(made("lora", dropout=0.3), entry, zoo, base())
    assert started.at["0_query"].dropout.p == 0.3
