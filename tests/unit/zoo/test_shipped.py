"""The modules that come with the checkout: whole, small, licensed, of the documented encoder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from real_backbone.build import FINGERPRINT
from support.shipped import SHIPPED

from xstilts.config.load import load_task
from xstilts.zoo import Zoo
from xstilts.zoo.card import license_in, read_scores
from xstilts.zoo.verify import verify_folder

FOLDER = Path(__file__).parents[3] / "adapters_zoo"


@pytest.fixture(scope="module", params=SHIPPED)
def entry(request):
    return next(e for e in Zoo(FOLDER).entries() if e.folder == FOLDER / request.param)


def test_it_is_whole_and_of_the_encoder_that_anyone_can_build(entry):
    verify_folder(entry.folder)
    assert entry.manifest.backbone.fingerprint == FINGERPRINT
    assert entry.manifest.seed == 1
    assert entry.manifest.data[0].rows == SHIPPED[entry.folder.relative_to(FOLDER).as_posix()]


def test_it_is_small_and_its_data_is_free(entry):
    size = sum(path.stat().st_size for path in entry.folder.iterdir())
    assert size < 2_000_000
    assert not re.search(r"\bNC\b", load_task(entry.manifest.task).license)
    assert license_in((entry.folder / "README.md").read_text(encoding="utf-8"))


def test_its_card_has_its_scores(entry):
    rows = read_scores(entry.folder)
    assert {row["task"] for row in rows} >= {"tatoeba_mini", "sib200_retrieval_mini"}
    assert {row["layer"] for row in rows if row["task"] == "tatoeba_mini"} == {7, 12}
    assert "accuracy (block 12)" in (entry.folder / "README.md").read_text(encoding="utf-8")
