"""Rows that would silently train nothing, or whose names nothing could say, are refused."""

from __future__ import annotations

import pytest

from xstilts.errors import ConfigError
from xstilts.grid.spec import load_study
from xstilts.session import Session

WRONG = [
    (
        "[none, mnli, {name: mnli, tasks: qqp}, qqp, qqp]",
        {
            "intermediates.mnli: 2 of them have this name.",
            "intermediates.qqp: 2 of them have this name.",
        },
    ),
    ("[none, none]", {"intermediates.none: 2 of them have this name."}),
    ("[{name: none, tasks: mnli}]", {"intermediates.none: it is the plain backbone, so it"}),
    (
        "[{name: none, settings: {method: lora}}]",
        {"intermediates.none: it is the plain backbone, so it"},
    ),
    (
        '[mnli, {name: none, compose: "average(mnli, mnli)"}]',
        {"intermediates.none: it is the plain backbone, so it"},
    ),
    (
        '[{name: "mnli (full)", tasks: mnli}, {name: average, tasks: mnli}]',
        {
            "intermediates.mnli (full): 'mnli (full)' cannot name a module.",
            "intermediates.average: 'average' cannot name a module:",
        },
    ),
    (
        '[mnli, {name: "twice (mnli)", compose: "average(mnli, mnli)"}]',
        {"intermediates.twice (mnli): 'twice (mnli)' cannot name a module."},
    ),
    (
        "[mnli, {name: lang-sw, tasks: qqp}]\nlanguage: {}",
        {"intermediates.lang-sw: a language adapter may have this name."},
    ),
    ("[mnli]\ntargets: [own/xnli.yaml]", {"targets.xnli: 2 of them have this name."}),
]


@pytest.fixture
def write(tmp_path):
    def write(rows):
        path = tmp_path / "v1.5.yaml"
        targets = "" if "targets" in rows else "\ntargets: [xnli]"
        rows = rows.replace("[own/xnli.yaml]", "[own/xnli.yaml, xnli]")
        path.write_text(f"seeds: [1]\nintermediates: {rows}{targets}\n")
        return str(path)

    return write


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The error of a recipe, as text."""
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(Session, "require_backbone", lambda *_: None)
    session = Session(data=tmp_path / "data", backbone="nowhere", quiet=True)

    def refused(path, **options):
        with pytest.raises(ConfigError) as caught:
            session.recipe(path, **options)
        return str(caught.value)

    return refused


@pytest.mark.parametrize(("rows", "said"), WRONG, ids=[rows for rows, _ in WRONG])
def test_a_wrong_row_of_a_study_or_recipe_is_named(rows, said, write, refused):
    path = write(rows)
    with pytest.raises(ConfigError) as study:
        load_study(path, sandbox=True)
    assert str(study.value).startswith(f"{path}: {len(said)} problem")
    for text in (str(study.value), refused(path)):
        assert all(one in text for one in said), text


def test_a_row_that_is_chosen_by_its_name_is_not_one_of_two(write, refused):
    path = write("[mnli, {name: mnli, tasks: qqp}]")
    assert "mnli: 2 of them have this name" in refused(path, intermediates=["mnli"])


def test_composed_rows_may_have_the_names_of_operators(write):
    path = write('[none, mnli, {name: average, compose: "average(mnli, mnli)"}]')
    assert len(load_study(path, sandbox=False).intermediates) == 3
