"""Every file in configs/tasks is a task that the rest of the package can use."""

from __future__ import annotations

import re
from functools import cache

import pytest
import yaml

from xstilts.config import load as config
from xstilts.config.layers import Layer, resolve
from xstilts.config.load import spec_names
from xstilts.config.specs import SourceSpec, TaskSpec, TrainSpec
from xstilts.data.layout import templates
from xstilts.data.located import split_names
from xstilts.data.readers import READERS
from xstilts.data.rows import options_of
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.formats._fields import HeadOptions

TASKS = spec_names("tasks")
load_task = cache(config.load_task)
PLACEHOLDERS = {
    "language", "code", "iso3", "language_name", "source", "source_code", "source_iso3",
    "source_name",
}  # fmt: skip
NAMED_IN_THE_MISSION = [
    "anli_plus", "mnli", "qqp", "squad1", "squad2", "hellaswag", "ccg", "cosmosqa",
    "commonsenseqa", "sst2", "snli", "anli", "socialiqa", "codah", "qasrl", "imdb",
    "nusax_senti", "copa", "cad_nli", "xnli", "pawsx", "udpos", "panx", "xquad", "mlqa",
    "tydiqa", "bucc2018", "tatoeba", "xcopa", "mewslix", "lareqa", "ntrex", "tico19",
    "udhr", "americasnli", "indonli", "uner", "masakhaner", "jcommonsenseqa", "ud",
]  # fmt: skip


def _sources(task: TaskSpec) -> list[SourceSpec]:
    return [source for source in task.sources if not source.parts]


def test_every_task_of_the_mission_is_there():
    assert set(NAMED_IN_THE_MISSION) <= set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_it_names_things_that_exist(name):
    task = load_task(name)
    assert task.format in FORMATS
    assert not task.train_task or task.train_task in TASKS
    for source in _sources(task):
        assert source.reader in READERS
        options_of(READERS.get(source.reader).Options, source, task)
    for source in task.sources:
        for part in source.parts:
            assert part.partition("/")[0] in TASKS


@pytest.mark.parametrize("name", TASKS)
def test_its_parts_fit_each_other(name):
    assert config.task_problems(load_task(name)) == []


@pytest.mark.parametrize("name", TASKS)
def test_its_settings_are_known_and_read_as_they_are_written(name):
    task = load_task(name)
    known = getattr(FORMATS.get(task.format), "Options", HeadOptions)
    for spec, values in ((TrainSpec, task.train), (known, task.options)):
        found = resolve(spec, [Layer(f"task {name}", values)]).value
        for key, text in values.items():
            assert getattr(found, key) == yaml.safe_load(text), key


@pytest.mark.parametrize("name", TASKS)
def test_it_says_where_it_comes_from(name):
    task = load_task(name)
    assert task.title
    assert task.citation
    assert task.license
    assert task.roles


@pytest.mark.parametrize("name", TASKS)
def test_its_splits_exist(name):
    task = load_task(name)
    splits = split_names(task)
    assert task.eval_split in splits
    if "intermediate" in task.roles and not task.sources[0].parts:
        assert "train" in splits
    if task.select_split and task.train_task == task.name and not task.sources[0].parts:
        assert task.select_split in splits
    assert set(task.counts) <= {"train", "validation", "test"}


@pytest.mark.parametrize("name", TASKS)
def test_its_languages_are_listed_once_and_counts_name_them(name):
    task = load_task(name)
    assert len(set(task.languages)) == len(task.languages)
    known = {*task.languages, task.source_language, "*"}
    assert all(set(of_split) <= known for of_split in task.counts.values())


@pytest.mark.parametrize("name", TASKS)
def test_a_head_has_what_it_needs(name):
    task = load_task(name)
    if task.format == "classification":
        assert len(task.labels) >= 2
    if task.train_task:
        trained = load_task(task.train_task)
        assert trained.head_family == task.head_family
        assert trained.labels == task.labels
        assert trained.format == task.format


@pytest.mark.parametrize("name", TASKS)
def test_tasks_of_a_family_agree_on_labels(name):
    task = load_task(name)
    for other in map(load_task, TASKS):
        if other.head_family == task.head_family:
            assert other.labels == task.labels, other.name


@pytest.mark.parametrize("name", TASKS)
def test_paths_stay_below_the_data_folder(name):
    task = load_task(name)
    for source in _sources(task):
        for key in source.files:
            for template in templates(source, key):
                assert not template.startswith("/")
                assert ".." not in template.split("/")
                assert set(re.findall(r"\{(\w+)\}", template)) <= PLACEHOLDERS


@pytest.mark.parametrize("name", TASKS)
def test_hub_data_sets_are_pinned_or_say_why_not(name):
    for source in load_task(name).sources:
        if source.hub is None:
            continue
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.hub.repo)
        pinned = re.fullmatch(r"[0-9a-f]{40}", source.hub.revision)
        assert pinned or source.hub.unpinned_reason
        assert source.refused or source.columns
        assert source.refused or source.hub.splits


@pytest.mark.parametrize("name", TASKS)
def test_label_maps_lead_to_labels(name):
    task = load_task(name)
    if task.labels:
        for source in task.sources:
            assert set(source.label_map.values()) <= set(task.labels)
