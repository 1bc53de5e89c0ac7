from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from support.models import randomise, tokens
from support.trained import add_module, backbone_folder
from support.zoo_modules import LABELS, add, base, build

from xstilts.backbone.architectures import ARCHITECTURES, model_types
from xstilts.backbone.backbone import Backbone
from xstilts.config.load import load_method, load_task
from xstilts.config.specs import BackboneIdentity
from xstilts.errors import DataError
from xstilts.modules.methods import METHODS
from xstilts.tasks.formats._heads import SentenceHead, TokenHead
from xstilts.zoo import Zoo, hubs, read_manifest, verify_folder
from xstilts.zoo.card import base_model, read_scores, render_card, write_card
from xstilts.zoo.manifest import CARD, MERGE, SIMULATED, Parent
from xstilts.zoo.snippets import LACKED, card_of, library_code

SCORES = [
    {"task": task, "language": language, "split": "test", "metric": metric, "value": value}
    for task, language, metric, value in (
        ("xnli", "sw", "accuracy", 61.239),
        ("xnli", "de", "accuracy", 70.0),
        ("mlqa", "de", "f1", 50.5),
        ("mlqa", "de", "exact_match", 40.5),
    )
]


def on_hub(manifest, repo="org/base", revision="e73636d"):
    backbone = manifest.backbone.model_copy(update={"repo": repo, "revision": revision})
    return manifest.model_copy(update={"backbone": BackboneIdentity(**backbone.model_dump())})


def head_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_metadata_is_what_hubs_index(tmp_path):
    manifest = on_hub(build(tmp_path, "lora", license="mit"))
    values = head_of(render_card(manifest, SCORES, repo="org/mnli"))
    index = values.pop("model-index")
    assert values == {
        "library_name": "peft",
        "base_model": "org/base",
        "base_model_relation": "adapter",
        "pipeline_tag": "text-classification",
        "language": ["en"],
        "license": "mit",
        "datasets": ["nyu-mll/glue"],
        "metrics": ["accuracy", "exact_match", "f1"],
        "tags": ["xstilts", "peft", "lora", "intermediate:mnli", "xlm-roberta", "xtreme"],
    }
    assert index[0]["name"] == "mnli"
    assert len(index[0]["results"]) == 3
    assert index[0]["results"][-1] == {
        "task": {"type": "text-classification", "name": "xnli"},
        "dataset": {"type": "xnli", "name": "xnli (sw)", "config": "sw", "split": "test"},
        "metrics": [{"type": "accuracy", "name": "accuracy", "value": 61.24}],
    }
    assert [m["type"] for m in index[0]["results"][0]["metrics"]] == ["exact_match", "f1"]


def test_scores_of_two_blocks_are_told_apart(tmp_path):
    row = {"task": "tatoeba", "language": "sw", "split": "test", "metric": "accuracy"}
    blocks = [{**row, "value": 40.0, "layer": 7}, {**row, "value": 80.0, "layer": 12}]
    text = render_card(on_hub(build(tmp_path)), [*blocks[::-1], {**row, "value": 1, "layer": -1}])
    lines = [line for line in text.split("\n") if line.startswith("| tatoeba")]
    assert lines == [
        "| tatoeba | sw | test | accuracy | 1.00 |",
        "| tatoeba | sw | test | accuracy (block 7) | 40.00 |",
        "| tatoeba | sw | test | accuracy (block 12) | 80.00 |",
    ]
    metrics = head_of(text)["model-index"][0]["results"][0]["metrics"]
    assert [metric["name"] for metric in metrics][1:] == [
        "accuracy (block 7)",
        "accuracy (block 12)",
    ]


def test_the_hubs_own_reader_finds_the_results(tmp_path):
    card = ModelCard(render_card(on_hub(build(tmp_path)), SCORES))
    assert card.data.library_name == "adapter-transformers"
    assert card.data.base_model == "org/base"
    found = {(r.dataset_config, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert found == {
        ("de", "accuracy"): 70.0,
        ("sw", "accuracy"): 61.24,
        ("de", "f1"): 50.5,
        ("de", "exact_match"): 40.5,
    }


def test_a_local_backbone_is_no_base_model(tmp_path):
    manifest = build(tmp_path)
    assert base_model(on_hub(manifest, "sandbox", "")) == ""
    assert base_model(on_hub(manifest, "org/base", "")) == "org/base"
    assert base_model(on_hub(manifest, "xlm-roberta-base", "e73")) == "xlm-roberta-base"
    assert "base_model" not in head_of(render_card(on_hub(manifest, "sandbox", "")))


def test_recorded_data_wins_over_the_tasks(tmp_path):
    row = {"task": "mnli", "split": "train", "language": "en", "rows": 1200, "source": "me/mine"}
    text = render_card(build(tmp_path, data=[row]))
    assert head_of(text)["datasets"] == ["me/mine"]
    assert "mnli train (en): 1,200 rows from me/mine" in text


def test_a_merge_names_the_licences_of_its_parts_data(tmp_path):
    zoo = Zoo(tmp_path / "zoo")

    def parents(*entries):
        return [Parent(reference=e.name, digest=e.digest, role="merged") for e in entries]

    def row(task, source="org/rows"):
        return {"task": task, "split": "train", "language": "en", "rows": 9, "source": source}

    first, second, made_up = (
        add(zoo, "lora", name=task, seed=seed, data=[row(task, source)]).manifest
        for seed, (task, source) in enumerate(
            (("mnli", "org/rows"), ("pawsx", "org/rows"), ("qqp", SIMULATED))
        )
    )
    gone = first.model_copy(update={"digest": "0" * 64})
    inner = add(zoo, "lora", name="two", kind=MERGE, parents=parents(second, made_up))
    outer = add(zoo, "lora", name="all", kind=MERGE, parents=parents(inner.manifest, first, gone))
    hubs.push(outer.folder, f"folder:{tmp_path / 'shared'}", zoo=zoo)
    (shared,) = (tmp_path / "shared").rglob("README.md")
    stated = {task: load_task(task).license for task in ("mnli", "pawsx")}
    assert all(stated.values())
    for card in (outer.folder / "README.md", shared):
        (line,) = (li for li in card.read_text().splitlines() if "licence of its data" in li)
        for task, license_ in stated.items():
            assert f"{task}: {license_}" in line
        assert "qqp" not in line


def test_rows_of_a_built_in_world_are_no_dataset(tmp_path):
    row = {"task": "mnli", "split": "train", "language": "qaa", "rows": 6, "source": SIMULATED}
    text = render_card(build(tmp_path, data=[row]))
    assert "datasets" not in head_of(text)
    assert "licence of its data" not in text
    assert "mnli train (qaa): 6 rows from simulated world" in text


def test_licences_are_that_of_the_module_and_those_of_its_data(tmp_path):
    row = {"task": "mnli", "split": "train", "language": "en", "rows": 6}
    build(tmp_path, data=[row], license="")
    write_card(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "license" not in head_of(text)
    assert f"| licence of its data | mnli: {load_task('mnli').license} |" in text
    write_card(tmp_path, license_id="cc-by-4.0")
    assert head_of((tmp_path / "README.md").read_text(encoding="utf-8"))["license"] == "cc-by-4.0"


def test_the_text_has_facts_scores_and_training(tmp_path):
    manifest = build(tmp_path, languages=["sw"])
    text = render_card(manifest, SCORES)
    assert "A bottleneck adapter trained on mnli in en for pico-xlm-roberta" in text
    assert f"| module digest | `{manifest.digest}` |" in text
    assert "| labels | entailment, neutral, contradiction |" in text
    assert "| xnli | sw | test | accuracy | 61.24 |" in text
    assert "- dev score: 80.5" in text
    assert "never the same weights: another machine's rounding is one more run" in text
    assert "## Scores" not in render_card(manifest)


def test_a_label_cannot_break_the_table(tmp_path):
    manifest = build(tmp_path).model_copy(update={"labels": ["a|b", "c\nd", "e"]})
    assert "| labels | a\\|b, c d, e |" in render_card(manifest)


def test_writing_keeps_scores_and_digest(tmp_path):
    digest = build(tmp_path).digest
    write_card(tmp_path, SCORES)
    write_card(tmp_path, repo="org/mnli")
    assert read_scores(tmp_path) == [{**row, "value": float(row["value"])} for row in SCORES]
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| xnli | sw | test | accuracy | 61.24 |" in text
    assert "xstilts zoo pull hf:org/mnli" in text
    assert verify_folder(tmp_path).digest == digest


def test_a_score_row_without_value_is_refused(tmp_path):
    manifest = build(tmp_path)
    with pytest.raises(DataError, match="no split, value"):
        render_card(manifest, [{"task": "xnli", "language": "sw", "metric": "accuracy"}])
    (tmp_path / "scores.json").write_text(json.dumps({"task": "x"}))
    with pytest.raises(DataError, match="no language"):
        read_scores(tmp_path)


# ------------------------------------------------------------------------------------ snippets


def expected(folder, manifest, ids, mask, head):
    """What our own engine computes."""
    where = base()
    adapter = METHODS.get(manifest.method).load(folder, where.shape)
    with torch.no_grad(), where.attach(adapter.at, adapter.encoder_weights):
        return head(where(ids, mask), None)


def run(code, folder, base_folder):
    assert 'folder = "."' in code
    text = code.replace('folder = "."', f"folder = {str(folder)!r}")
    text = text.replace(json.dumps(base().identity.repo), repr(str(base_folder)))
    scope = {}
    exec(compile(text, "card", "exec"), scope)
    return scope["model"]


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    base().encoder.save_pretrained(folder)
    return folder


def check(preset, tmp_path, base_folder, **values):
    if preset in ("seq_bn", "double_seq_bn", "par_bn", "lang"):
        pytest.importorskip("adapters", reason="the adapters library is not installed")
    manifest = build(tmp_path, preset, **values)
    hidden, generator = 16, torch.Generator().manual_seed(5)
    head = {
        "classification": lambda: SentenceHead(hidden, 3, 0.0, generator),
        "multiple_choice": lambda: SentenceHead(hidden, 1, 0.0, generator),
        "tagging": lambda: TokenHead(hidden, len(manifest.labels), 0.0, generator),
        "extractive_qa": lambda: TokenHead(hidden, 2, 0.0, generator),
    }[manifest.format]()
    randomise(head)
    save_file(dict(head.state_dict()), tmp_path / "head.safetensors")
    model = run(library_code(manifest), tmp_path, base_folder)
    ids, mask = tokens()
    ours = expected(tmp_path, manifest, ids, mask, head)
    with torch.no_grad():
        if manifest.format == "multiple_choice":
            theirs = model(input_ids=ids[None], attention_mask=mask[None]).logits[0][:, None]
        else:
            found = model(input_ids=ids, attention_mask=mask)
            if manifest.format == "extractive_qa":
                theirs = torch.stack([found.start_logits, found.end_logits], dim=-1)
            else:
                theirs = found.logits
    assert theirs.shape == ours.shape
    assert float(ours.abs().max()) > 0.01
    assert torch.allclose(theirs, ours, atol=1e-6)
    return model


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("preset", ["seq_bn", "double_seq_bn", "par_bn", "lora", "full", "head"])
def test_the_snippet_gives_the_same_logits(preset, tmp_path, base_folder):
    model = check(preset, tmp_path, base_folder)
    assert model.config.id2label == dict(enumerate(LABELS))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("preset", ["seq_bn", "lang"])
def test_the_snippet_loads_a_module_whose_name_has_a_dot(preset, tmp_path, base_folder):
    model = check(preset, tmp_path, base_folder, name="nli.v2")
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter.safetensors"
    outer = json.loads(config.read_text())
    assert outer["name"] == "nli-v2"
    # as folders were written before: with the dot
    config.write_text(json.dumps(outer | {"name": "nli.v2"}))
    old = {k.replace(".nli-v2.", ".nli.v2."): v for k, v in load_file(weights).items()}
    save_file(old, weights)
    manifest, (ids, mask) = read_manifest(tmp_path), tokens()
    again = run(library_code(manifest), tmp_path, base_folder)
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask).logits
        assert torch.equal(again(input_ids=ids, attention_mask=mask).logits, wanted)
    assert all(
        map(torch.any, METHODS.get(manifest.method).load(tmp_path, base().shape).parameters())
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format_", ["tagging", "extractive_qa", "multiple_choice"])
def test_the_snippet_knows_every_head(format_, tmp_path, base_folder):
    check("lora", tmp_path, base_folder, format=format_)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hundreds_of_labels_are_read_and_not_written_out(tmp_path, base_folder):
    labels = [f"n_-_c-{number}_le" for number in range(700)]
    model = check("lora", tmp_path, base_folder, format="tagging", labels=labels)
    assert model.config.id2label == dict(enumerate(labels))
    card = render_card(read_manifest(tmp_path).model_copy(update={"labels": labels}))
    assert f"{labels[2]}, … (700 in `manifest.json`)" in card
    assert labels[3] not in card


def test_a_composition_has_no_library(tmp_path):
    manifest = build(tmp_path).model_copy(update={"kind": "composition"})
    assert library_code(manifest) == ""
    assert "With plain" not in render_card(manifest)


def test_head_file_is_what_the_snippet_reads(tmp_path):
    build(tmp_path)
    assert sorted(load_file(tmp_path / "head.safetensors")) == [
        "dense.bias",
        "dense.weight",
        "out_proj.bias",
        "out_proj.weight",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_card_says_what_the_method_states(method, tmp_path):
    build(tmp_path, name="mnli")
    manifest = read_manifest(tmp_path).model_copy(update={"method": method})
    assert card_of(manifest) == METHODS.get(method).CARD


ADDED = """
import sys
from xstilts.cli import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in ("torch", "transformers") if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.long
@pytest.mark.parametrize("preset", ["seq_bn", "lora"])
def test_a_folder_without_a_card_is_added_without_torch(preset, tmp_path):
    (tmp_path / "module").mkdir()
    build(tmp_path / "module", name="mnli", preset=preset)
    (tmp_path / "module" / CARD).unlink(missing_ok=True)
    words = ["--zoo", str(tmp_path / "zoo"), "zoo", "add", str(tmp_path / "module")]
    done = subprocess.run(
        [sys.executable, "-c", ADDED, *words], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
    (card,) = (tmp_path / "zoo").glob(f"mnli/{preset}/*/{CARD}")
    assert METHODS.get(load_method(preset).method).CARD.noun in card.read_text("utf-8")


@pytest.mark.parametrize("value", ["many", None, float("nan"), "inf", [1]])
def test_scores_are_numbers(value, tmp_path):
    build(tmp_path, name="mnli")
    with pytest.raises(DataError, match="a score row has no number"):
        write_card(tmp_path, [{**SCORES[0], "value": value}])


def test_no_card_shows_code_for_a_library_that_cannot_load_the_backbone(tmp_path):
    known = set()
    for name in ARCHITECTURES:
        known |= ARCHITECTURES.get(name).ADAPTERS_CLASSES.keys()
    assert LACKED["adapters"] == set(model_types()) - known
    for model_type in ("camembert", "xlm-roberta"):
        backbone = Backbone.load(str(backbone_folder(tmp_path / model_type, model_type)))
        made = add_module(Zoo(tmp_path / f"zoo-{model_type}"), backbone, "mnli", "seq_bn")
        said = "With plain adapters" in render_card(made.manifest)
        assert said == (model_type == "xlm-roberta")
