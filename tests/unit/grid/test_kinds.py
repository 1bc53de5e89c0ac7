"""What the kinds of cells say of outcomes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from support.zoo_modules import add

from xstilts.errors import LaterVersionError
from xstilts.grid.kinds import train
from xstilts.zoo import Zoo


def test_a_trained_module_of_a_later_version_is_not_taken_for_gone(tmp_path):
    zoo = Zoo(tmp_path / "zoo")
    entry, other = add(zoo), add(zoo, name="qqp")
    context = SimpleNamespace(workspace=SimpleNamespace(zoo=zoo))
    outcome = {"module": entry.manifest.digest, "steps": {}}
    assert train.is_there(outcome, context)
    path = entry.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(LaterVersionError, match="newer than"):
        train.is_there(outcome, context)
    zoo.remove(other)
    assert not train.is_there({"module": other.manifest.digest, "steps": {}}, context)
