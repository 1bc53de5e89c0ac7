"""What an evaluation cut is told; what it cannot do is told before anything is computed."""

from __future__ import annotations

import pytest
from support.models import tiny_backbone
from support.tokenizers import tiny_tokenizer

from xstilts.cli.eval_output import cut_lines
from xstilts.composition.parser import parse
from xstilts.config.load import load_task
from xstilts.evaluate.cells import jobs_of
from xstilts.evaluate.evaluator import Evaluator
from xstilts.evaluate.request import Request
from xstilts.evaluate.store import ResultStore
from xstilts.zoo import Zoo
from xstilts.zoo.workspace import Workspace

LONG, SHORT = "a b c d e f g h i j k l", "a b"
TOO_LONG = " ".join([LONG] * 4)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer([LONG] * 3, characters=True)


def test_retrieval_takes_what_the_backbone_holds(tmp_path):
    own = tmp_path / "own.yaml"
    text = (
        "format: retrieval\nlanguages: [de]\nmetric: tatoeba\nsources:\n  - reader: bitext\n"
        "    files: {test.source: s.txt, test.target: t.txt}\n"
    )
    (tmp_path / "s.txt").write_text("a\n", "utf-8")
    (tmp_path / "t.txt").write_text("b\n", "utf-8")
    backbone = tiny_backbone()
    own.write_text(text, "utf-8")
    (job,), _ = jobs_of([Request("none", str(own))], backbone, tmp_path, "fp32")
    assert job.task.max_length == backbone.max_length != 128
    own.write_text(text + "max_length: 20\n", "utf-8")
    (job,), _ = jobs_of([Request("none", str(own))], backbone, tmp_path, "fp32")
    assert job.task.max_length == 20
    assert load_task("xnli").max_length == 128


def test_a_cell_records_how_many_rows_were_cut(tokenizer, tmp_path):
    (tmp_path / "tatoeba").mkdir()
    (tmp_path / "tatoeba/tatoeba.deu-eng.deu").write_text(f"{TOO_LONG}\n{SHORT}\n", "utf-8")
    (tmp_path / "tatoeba/tatoeba.deu-eng.eng").write_text(f"{TOO_LONG}\n{TOO_LONG} a\n", "utf-8")
    backbone = tiny_backbone(tokenizer=tokenizer)
    place = Workspace(tmp_path, Zoo(tmp_path / "zoo"), tmp_path / "cache", None)
    store = ResultStore(tmp_path / "results")
    outcome = Evaluator(backbone, place, store).run([Request("none", "tatoeba")], lambda *_: None)
    score = next(score for score in store.scores() if score.main)
    assert str(parse(score.expression)) == "none"
    assert (score.num_cut, score.max_length) == (3, backbone.max_length)
    assert cut_lines(outcome.scores) == [
        f"tatoeba: 3 rows were cut at {backbone.max_length} sub-words (de 3)"
    ]


def test_a_missing_head_is_told_before_anything_is_computed(tokenizer, tmp_path, monkeypatch):
    from xstilts.errors import UsageError
    from xstilts.evaluate import computing

    (tmp_path / "xnli").mkdir()
    (tmp_path / "xnli/test-en.tsv").write_text(f"{SHORT}\t{SHORT}\tneutral\n", "utf-8")
    backbone = tiny_backbone(tokenizer=tokenizer)
    place = Workspace(tmp_path, Zoo(tmp_path / "zoo"), tmp_path / "cache", None)
    work = Evaluator(backbone, place, ResultStore(tmp_path / "results"))
    monkeypatch.setattr(computing, "load_expression", None)  # would fail if it were called
    for call in (lambda r: work.run(r, lambda *_: None), work.plan):
        with pytest.raises(UsageError, match="'none' has no head for task xnli") as caught:
            call([Request("none", "xnli", languages=("en",))])
        assert "compose 'none' --target xnli" in caught.value.hint


def test_progress_names_what_stands_in_tables(tmp_path):
    from xstilts.evaluate.cells import EvaluationJob
    from xstilts.evaluate.progress import Within

    shown = []
    job = EvaluationJob(Request("@" + "f" * 64, "xnli", "mnli"), load_task("xnli"), "de", "test")
    Within(lambda text, share: shown.append(text), job, 0, 1)("searching", 0.5)
    assert shown == ["mnli xnli de searching"]
