"""What a score says of the modules behind it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from xstilts.evaluate.score_rows import _seed


def loaded(*modules):
    entries = [
        SimpleNamespace(manifest=SimpleNamespace(seed=seed, languages=list(languages)))
        for seed, languages in modules
    ]
    return SimpleNamespace(entries=entries)


@pytest.mark.parametrize(
    ("modules", "seed"),
    [
        ([], -1),
        ([(2, "")], 2),
        ([(1, ["sw"]), (2, "")], 2),  # a language adapter below a task's
        ([(1, ""), (2, "")], -1),
        ([(3, ["sw"])], 3),  # nothing but text of one language was trained on
        ([(1, ["sw"]), (2, ["en"])], -1),
    ],
)
def test_the_seed_is_that_of_what_was_trained(modules, seed):
    assert _seed(loaded(*modules)) == seed
