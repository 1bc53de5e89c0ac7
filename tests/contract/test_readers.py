"""What every reader keeps to. A new file in `data/readers` is tested here without an edit.

A reader is given the smallest files of every layout, each with the task that they belong to, and
what is no data at all: each time it gives rows, or says where what is wrong.
"""

from __future__ import annotations

import pytest
from support.reader_files import GOOD, REFUSED

from xstilts.config.load import load_task
from xstilts.data.examples import Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.located import Located, locate
from xstilts.data.readers import READERS
from xstilts.data.rows import Dropped, ReaderOptions
from xstilts.errors import DataError, NotFoundError
from xstilts.tasks.conformance import reader_problems

HUB_COPY = {"stanfordnlp/sst2/train.jsonl": '{"sentence": "a é", "label": 1}\n' * 2}
FILES = GOOD | {"hub": ("sst2", "train", "en", HUB_COPY)}
DAMAGE = {
    "": lambda data: data,
    "empty": REFUSED["nothing"],
    "torn JSON": lambda data: b'{"data": [{"a',
    "one word": lambda data: b"x\n",
}


def located(layout: str, root) -> Located:
    """The files of a layout, written below `root`, and the source of their task that has them."""
    name, split, language, files = FILES[layout]
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    task = load_task(name)
    two_sided = ROW_FORMATS.get(task.format).TWO_SIDED
    found = locate(task, f"{split}.source" if two_sided else split, language, root)
    assert found is not None and found.paths
    return found


def read(name: str, place: Located) -> list[Example | Dropped]:
    """The rows that the reader called `name` finds there; options are those of its own sources."""
    source = place.source
    if source.reader != name:
        source = source.model_copy(update={"reader": name, "options": {}})
    rows = READERS.get(name).read(place.paths, source, place.task, place.language, place.split)
    return list(rows)


def read_or_refused(name: str, place: Located) -> list[Example | Dropped]:
    """The rows; none where it is said in which file or source what is wrong."""
    known = [path.name for path in (*place.files, *place.paths)] + [f"reader {name}"]
    try:
        rows = read(name, place)
    except (DataError, NotFoundError) as error:
        assert error.what and any(word in error.where for word in known), repr(error)
        return []
    assert all(isinstance(row, Example | Dropped) and row.place for row in rows)
    assert all(row.language == place.language for row in rows if isinstance(row, Example))
    return rows


def fits(row: Example | Dropped, place: Located) -> bool:
    """Whether a row has the fields of its task's format."""
    form = ROW_FORMATS.get(place.task.format)
    names = set(row.fields) if isinstance(row, Example) else set()
    return set(form.FIELDS) <= names <= {*form.FIELDS, *form.OPTIONAL}


@pytest.fixture(scope="module", params=DAMAGE)
def places(request, tmp_path_factory):
    """What was done to the files, and each layout's: located while whole, then damaged."""
    root = tmp_path_factory.mktemp("layouts")
    found = {layout: located(layout, root / str(n)) for n, layout in enumerate(FILES)}
    for path in {path for place in found.values() for path in place.files}:
        path.write_bytes(DAMAGE[request.param](path.read_bytes()))
    return request.param, found


@pytest.mark.parametrize("name", READERS)
def test_it_does_what_its_contract_says(name):
    assert reader_problems(name) == []


@pytest.mark.parametrize("name", READERS)
def test_it_states_its_contract(name):
    reader = READERS.get(name)
    assert reader.__doc__
    assert issubclass(reader.Options, ReaderOptions)
    assert isinstance(reader.TELLS_LANGUAGE, bool)
    assert reader.Options(labels="optional", blank="keep").labels == "optional"


@pytest.mark.parametrize("name", READERS)
def test_it_reads_its_smallest_file_and_refuses_what_is_none(name, places):
    damage, found = places
    rows = {layout: read_or_refused(name, place) for layout, place in found.items()}
    own = [layout for layout, place in found.items() if place.source.reader == name]
    if not damage:
        read = [at for at in rows if rows[at] and all(fits(row, found[at]) for row in rows[at])]
        assert read, f"'{name}' reads none of them: add its layout to tests/support/reader_files.py"
        assert set(own) <= set(read)
    elif damage == "empty":
        assert not any(rows.values())
