"""Tasks and settings that cannot train together are refused before the first step."""

from __future__ import annotations

import json

import pytest
from support.own_task import TASK, own_session
from support.trained import TEXTS

from xstilts.errors import UsageError
from xstilts.train.trainer import Trainer


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return own_session(tmp_path_factory.mktemp("place"))


def task(session, name, labels="[a, b]", folder="tasks", **more):
    """A task with the rows of `own` and other lines of YAML; the path of its file."""
    text = TASK.replace("labels: [a, b]", f"labels: {labels}").replace("train_task: own\n", "")
    lines = "".join(f"{key}: {value}\n" for key, value in more.items())
    path = session.data.parent / folder / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(lines + text)
    return str(path)


def phase(session, *tasks, method="head", name="new", **settings):
    return session.phase(",".join(tasks), name=name, method=method, settings=settings)


def heads(session, *tasks):
    return {part.name: part.head for part in phase(session, *tasks).parts}


def test_a_head_has_one_order_of_labels(session):
    first = task(session, "n1", family="nli")
    second = task(session, "nli", "[b, a]")
    with pytest.raises(UsageError, match="n1 and nli both name a head 'nli'"):
        phase(session, first, second)
    assert heads(session, second, first) == {"nli": "nli", "n1": "n1"}


def test_tasks_of_a_family_share_a_head_where_their_labels_are_the_same(session):
    first, second = (task(session, name, family="nli") for name in ("n1", "n2"))
    other = task(session, "n3", "[b, a]", family="nli")
    assert heads(session, first, second, other) == {"n1": "nli", "n2": "nli", "n3": "n3"}


def test_two_tasks_of_one_name(session):
    own = task(session, "own")
    other = task(session, "own", folder="other")
    for tasks in ((own, other), (own, own), ("mlm", "mlm")):
        with pytest.raises(UsageError, match="two of the tasks are called"):
            phase(session, *tasks)


def texts(session):
    """Plain text in English and German, as a run names it."""
    found = []
    for code in ("en", "de"):
        path = session.data.parent / f"{code}.txt"
        path.write_text("a man runs home\nsomebody moves quickly\n")
        found.append(f"{code}={path}")
    return found


@pytest.mark.parametrize(
    ("share", "beside", "said"),
    [
        (0.0, {}, "no share of the steps"),
        (0.0, {"mlm": 0.0}, "no share of the steps"),
        (0.3, {"mlm": 0.1}, "mlm.share says 0.3, and mix.beside 0.1"),
        (0.3, {"mlm/en": 0.2}, "mlm.share says 0.3, and mix.beside 0.2"),
    ],
)
def test_plain_text_beside_a_task_needs_one_share(session, share, beside, said):
    own, mlm = task(session, "own"), {"share": share, "text": texts(session)}
    with pytest.raises(UsageError, match=said):
        phase(session, own, "mlm", mlm=mlm, mix={"beside": beside})


@pytest.mark.parametrize(("share", "beside"), [(0.3, {}), (0.0, {"mlm": 0.3}), (0.3, {"mlm": 0.3})])
def test_a_share_of_plain_text_is_dealt_to_its_languages(session, share, beside):
    own, mlm = task(session, "own"), {"share": share, "text": texts(session)}
    made = phase(session, own, "mlm", mlm=mlm, mix={"beside": beside})
    assert made.mix.beside == pytest.approx({"mlm/en": 0.15, "mlm/de": 0.15})  # as much of each


def test_plain_text_alone_needs_no_share(session):
    made = phase(session, "mlm", mlm={"text": texts(session)})
    assert made.mix.shares == pytest.approx({"mlm/en": 0.5, "mlm/de": 0.5})


KINDS = {"classification": ("text", "accuracy"), "tagging": ("words", "token_accuracy")}
STEPS = {"max_steps": 2, "batch_size": 2, "eval_every": 1}


def unlabelled_task(session, form, *, train, dev):
    """A task that lists no labels, with a row of each label; the path of its file."""
    field, metric = KINDS[form]
    name = f"open_{form}"
    for split, labels in (("train", train), ("validation", dev)):
        rows = [(text, label) for text, label in zip(TEXTS * 3, labels, strict=False)]
        if form == "tagging":
            rows = [(text.split(), [label] * len(text.split())) for text, label in rows]
        lines = [json.dumps({field: text, "label": label}) for text, label in rows]
        path = session.data / "own" / f"{name}-{split}.jsonl"
        path.write_text("\n".join(lines) + "\n")
    path = session.data.parent / "tasks" / f"{name}.yaml"
    path.write_text(
        f"format: {form}\nlanguages: [en]\nmetric: {metric}\n"
        "sources:\n"
        f"  - reader: jsonl\n    columns: {{{field}: {field}, target: label}}\n"
        f"    files: {{train: own/{name}-train.jsonl, validation: own/{name}-validation.jsonl}}\n"
    )
    return str(path)


@pytest.mark.parametrize("form", KINDS)
def test_a_dev_label_that_no_training_row_has_counts_as_wrong(session, form):
    own = unlabelled_task(session, form, train="XXXX", dev="XXXZ")
    entry = session.run_phase(phase(session, own, name=f"dev-{form}", train=STEPS)).entry
    # the head knows X only, and says it everywhere: right in 3 of the 4 rows, or of their
    # 4 + 3 + 3 + 6 words in the first 10
    right = {"classification": 3 / 4, "tagging": 10 / 16}[form]
    assert entry.manifest.training["dev_score"] == pytest.approx(100 * right)
    assert entry.manifest.labels == ["X"]


def test_labels_of_a_limited_training_are_those_of_its_rows(session):
    own = unlabelled_task(session, "classification", train="XYZXYZXYZ", dev="XYZ")
    made = session.phase(own, name="few", method="head", limit=1, settings={"train": STEPS})
    (part,) = made.parts
    assert part.task.labels == [part.rows[0].target]
    assert [row.target for row in part.dev[0].rows] == ["X", "Y", "Z"]


def selected_on(session, target, *tasks):
    return phase(session, *tasks, select_on="target-dev", target=target, train=STEPS)


def german(session, name, labels="[a, b]", **more):
    """A task with dev rows in German."""
    path = task(session, name, labels, **more)
    rows = "".join(json.dumps({"text": t, "label": labels[1]}) + "\n" for t in TEXTS)
    (session.data / "own" / "validation-de.jsonl").write_text(rows)
    return path


def test_a_target_that_no_trained_head_predicts_selects_nothing(session):
    own = task(session, "n1", family="nli")
    for target in (
        german(session, "foreign", "[p, q]", family="nli"),
        german(session, "stranger"),
        unlabelled_task(session, "tagging", train="X", dev="X"),
    ):
        with pytest.raises(UsageError, match="no head of n1 predicts"):
            selected_on(session, target, own)


def test_of_a_mixture_the_tasks_select_that_predict_the_target(session):
    own, other = task(session, "n1", family="nli"), task(session, "n4")
    made = selected_on(session, german(session, "n5", family="nli"), own, other)
    assert {part.name: [dev.language for dev in part.dev] for part in made.parts} == {
        "n1": ["de"],
        "n4": [],
    }


@pytest.mark.parametrize(
    ("name", "more"), [("squad1.1", {}), ("n6", {"family": "a.b"}), ("pop", {})]
)
def test_any_name_of_a_task_names_a_head(session, name, more):
    own = task(session, name, **more)
    module = f"of-{name}"
    session.run_phase(phase(session, own, name=module, train=STEPS))
    (score,) = session.evaluate(module, own, langs=["en"]).scores
    assert score.train_task == name


def test_heads_with_dots_are_kept_beside_each_other(session):
    names = ["squad1.1", "squad1.2"]
    tasks = [
        task(session, name, labels)
        for name, labels in zip(names, ("[a, b]", "[b, a]"), strict=True)
    ]
    entry = session.run_phase(phase(session, *tasks, name="both", train=STEPS)).entry
    assert {head.task: head.file for head in entry.manifest.heads} == {
        name: f"head-{name}.safetensors" for name in names
    }
    for name in tasks:
        assert session.evaluate("both", name, langs=["en"]).scores


@pytest.mark.parametrize("name", ["my task", "ö", "x" * 120])
def test_a_head_that_cannot_name_a_file(session, name):
    own, other = task(session, "own"), task(session, name)
    with pytest.raises(UsageError, match=f"the head '{name}' of task {name} cannot name a file"):
        phase(session, own, other)
    assert heads(session, other) == {name: name}  # alone it lies in head.safetensors


def test_heads_that_differ_in_upper_and_lower_case_only(session):
    with pytest.raises(UsageError, match="'own' and 'Own' would lie in one file"):
        phase(session, task(session, "Own"), task(session, "own"))


def test_a_snapshot_with_too_long_a_name(session, monkeypatch):
    own, train = task(session, "own"), {**STEPS, "save_every": 1}
    monkeypatch.setattr(Trainer, "run", lambda _: pytest.fail("a step was taken"))
    with pytest.raises(UsageError, match="a name of 97 characters, more than 96"):
        session.run_phase(phase(session, own, name="x" * 91, train=train))  # and -step2
