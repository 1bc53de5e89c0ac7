from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.zoo_modules import add, base, build, contents

from xstilts.errors import (
    BackboneMismatchError,
    IntegrityError,
    NotFoundError,
    UsageError,
)
from xstilts.zoo import Entry, Zoo, hubs, verify_folder
from xstilts.zoo.card import license_in
from xstilts.zoo.maintenance import (
    ancestors,
    broken,
    bundle,
    copy_into,
    diff,
    family,
    gc,
    lineage,
    search,
)
from xstilts.zoo.manifest import CARD, Parent
from xstilts.zoo.reference import parse_reference, slug
from xstilts.zoo.verify import settled


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path / "zoo")


def leftovers(zoo):
    return [p.name for area in (".staging", ".trash") for p in (zoo.root / area).glob("*")]


# --------------------------------------------------------------------------------- references


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("mnli", {"name": "mnli"}),
        ("mnli/lora", {"name": "mnli", "variant": "lora"}),
        (
            "mnli/lora/xlm-roberta-base@0a1b",
            {"name": "mnli", "variant": "lora", "backbone": "xlm-roberta-base", "digest": "0a1b"},
        ),
        ("@" + "0" * 64, {"digest": "0" * 64}),
        ("mnli@0a", {"name": "mnli", "digest": "0a"}),
        ("mnli:best", {"name": "mnli", "tag": "best"}),
        ("ia3/peft:ia3", {"name": "ia3", "variant": "peft:ia3"}),
        ("a.b-c_d+e", {"name": "a.b-c_d+e"}),
    ],
)
def test_local_references(text, fields):
    parsed = parse_reference(text)
    assert parsed.kind == "local"
    for key in ("name", "tag", "variant", "backbone", "digest"):
        assert getattr(parsed, key) == fields.get(key, "")


@pytest.mark.parametrize("text", ["./x", "../x", "/x/y", "~/x", ".", "folder:x y"])
def test_folder_references(text):
    parsed = parse_reference(text)
    assert parsed.kind == "folder"
    assert parsed.path == Path(text.removeprefix("folder:")).expanduser()


@pytest.mark.parametrize("text", ["hf:a/b", "hf:a/b@v1", "s3://b/k", "memory://x", "file:///x"])
def test_remote_references(text):
    assert parse_reference(text).kind == "remote"


@pytest.mark.parametrize(
    "text", ["", "Mnli", "mnli//x", "mnli@xyz", "a b", "mnlі", ".x", "a/b/c/d"]
)
def test_what_is_no_reference(text):
    with pytest.raises(UsageError, match="no module reference"):
        parse_reference(text)


def test_slugs_are_folder_names():
    assert slug("xlm-roberta-base") == "xlm-roberta-base"
    assert slug("adapters:ia3") == "adapters-ia3"
    assert slug("../my model") == "my-model"
    assert slug("…") == "unnamed"


# ---------------------------------------------------------------------------- add, find, remove


def test_a_module_is_kept_under_its_name_method_backbone_and_digest(zoo):
    entry = add(zoo)
    digest = entry.manifest.digest
    assert entry.folder == zoo.root / "mnli" / "seq_bn" / f"pico-xlm-roberta@{digest[:12]}"
    assert entry.reference == f"mnli/seq_bn/pico-xlm-roberta@{digest[:12]}"
    assert verify_folder(entry.folder).digest == digest
    assert [oct(p.stat().st_mode & 0o777) for p in entry.folder.iterdir()] == ["0o644"] * 5
    assert "# mnli" in (entry.folder / CARD).read_text(encoding="utf-8")
    assert leftovers(zoo) == []


def test_adding_the_same_module_again_changes_nothing(zoo):
    first = add(zoo)
    before = (contents(first.folder), first.folder.stat().st_ino)
    assert add(zoo) == first
    assert (contents(first.folder), first.folder.stat().st_ino) == before
    assert len(zoo.entries()) == 1


def test_adding_a_module_again_repairs_a_broken_one(zoo):
    entry = add(zoo)
    (entry.folder / "head.safetensors").write_bytes(b"x")
    assert len(broken(zoo)) == 1
    add(zoo)
    assert broken(zoo) == []


@pytest.mark.parametrize(
    "reference",
    ["mnli", "mnli/seq_bn", "mnli/bottleneck", "mnli/seq_bn/pico-xlm-roberta", "mnli@{}", "@{}"],
)
def test_every_form_of_reference_finds_the_module(zoo, reference):
    entry = add(zoo)
    add(zoo, "lora", name="qqp")
    assert zoo.find(reference.format(entry.manifest.digest[:8])) == entry
    assert zoo.find(entry.reference) == entry


def test_a_folder_is_found_by_path(zoo, tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    build(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    for text in ("./m", str(tmp_path / "m"), "folder:m"):
        assert zoo.find(text).manifest.name == "mnli"
    with pytest.raises(NotFoundError, match="no module folder"):
        zoo.find("./nothing")


def test_an_unknown_name_shows_near_ones(zoo):
    add(zoo)
    with pytest.raises(NotFoundError) as caught:
        zoo.find("mnil")
    assert "Did you mean 'mnli'" in caught.value.hint
    with pytest.raises(NotFoundError, match="no module 'mnli/lora'"):
        zoo.find("mnli/lora")


def test_an_empty_library_says_so(zoo):
    with pytest.raises(NotFoundError) as caught:
        zoo.find("mnli")
    assert "empty" in caught.value.hint


def test_an_ambiguous_name_lists_the_candidates(zoo):
    entries = [add(zoo, seed=seed) for seed in (1, 2)]
    with pytest.raises(UsageError, match="fits 2 modules") as caught:
        zoo.find("mnli")
    assert all(entry.reference in caught.value.where for entry in entries)
    assert "seed 1" in caught.value.where


def test_only_modules_of_the_backbone_in_use_count(zoo):
    mine, other = add(zoo), add(zoo, base_seed=1)
    assert mine.manifest.backbone.fingerprint != other.manifest.backbone.fingerprint
    assert zoo.find("mnli", base(0).identity) == mine
    assert zoo.find("mnli", base(1).identity) == other
    with pytest.raises(UsageError):
        zoo.find("mnli")


def test_a_module_of_another_backbone_is_refused_with_both_named(zoo):
    entry = add(zoo)
    wrong = base(1).identity
    with pytest.raises(BackboneMismatchError) as caught:
        zoo.find("mnli", wrong)
    assert caught.value.exit_code == 5
    assert entry.manifest.backbone.fingerprint[:12] in caught.value.what
    assert wrong.fingerprint[:12] in caught.value.what
    assert zoo.find("mnli", wrong, allow_mismatch=True) == entry


def test_a_broken_manifest_is_reported_when_meant_and_skipped_otherwise(zoo):
    kept = add(zoo, "lora", name="qqp")
    entry = add(zoo)
    (entry.folder / "manifest.json").write_text("{")
    assert zoo.entries() == [kept]
    with pytest.raises(IntegrityError, match=r"manifest.json is broken"):
        zoo.find("mnli")
    assert [folder for folder, _ in broken(zoo)] == [entry.folder]
    assert gc(zoo, broken_too=True) == [f"broken {entry.folder.relative_to(zoo.root)}"]
    assert leftovers(zoo) == []
    assert broken(zoo) == []


def test_filters(zoo):
    add(zoo)
    add(zoo, "lora", name="qqp", task="qqp", source_language="de", training={"dev_score": 70})
    add(zoo, "lora", name="lang-sw", kind="language", languages=["sw"], training={}, base_seed=1)

    def names(**filters):
        return [entry.manifest.name for entry in zoo.entries(**filters)]

    assert names() == ["lang-sw", "mnli", "qqp"]
    assert names(task="qqp") == ["qqp"]
    assert names(method="lora") == ["lang-sw", "qqp"]
    assert names(method="bottleneck") == names(method="seq_bn") == ["mnli"]
    assert names(language="sw") == ["lang-sw"]
    assert names(language="de") == ["qqp"]
    assert names(kind="language") == ["lang-sw"]
    assert names(min_score=75) == ["mnli"]
    assert names(backbone=base(1).identity.fingerprint[:10]) == ["lang-sw"]
    assert names(backbone="pico-xlm-roberta", task="mnli", method="lora") == ["lang-sw"]


def test_nothing_is_left_when_building_fails(zoo):
    def fail(folder):
        (folder / "adapter.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        zoo.add(fail)
    with pytest.raises(IntegrityError, match="no module"):
        zoo.add(lambda folder: (folder / "x.json").write_text("{}"))
    assert zoo.entries() == []
    assert leftovers(zoo) == []


def test_removing_takes_module_tags_and_empty_folders(zoo):
    entry = add(zoo)
    zoo.tag(entry, "best")
    zoo.remove(entry)
    assert zoo.entries() == []
    assert zoo.tags() == {}
    assert not (zoo.root / "mnli").exists()
    assert leftovers(zoo) == []
    with pytest.raises(NotFoundError):
        zoo.remove(entry)


def test_a_folder_outside_the_library_is_never_removed(zoo, tmp_path):
    (tmp_path / "m").mkdir()
    build(tmp_path / "m")
    with pytest.raises(UsageError, match="not in the library"):
        zoo.remove(zoo.find(str(tmp_path / "m")))
    assert (tmp_path / "m" / "manifest.json").exists()


def test_tags_move(zoo):
    first, second = add(zoo, seed=1), add(zoo, seed=2)
    assert zoo.tag(first, "best") == "mnli:best"
    assert zoo.find("mnli:best") == first
    zoo.tag(second, "best")
    assert zoo.find("mnli:best") == second
    for tag in ("", "a b", "Best", "../x", "best/lora"):
        with pytest.raises(UsageError):
            zoo.tag(first, tag)
    with pytest.raises(NotFoundError) as caught:
        zoo.find("mnli:bets")
    assert "best" in caught.value.hint


def test_the_same_run_is_found_again(zoo):
    entry = add(zoo, run="ab" * 32)
    assert zoo.find_run("ab" * 32) == entry
    assert zoo.find_run("cd" * 32) is None
    assert zoo.find_run("") is None


def test_remote_references_need_a_way_to_fetch(zoo, tmp_path):
    with pytest.raises(NotFoundError) as caught:
        zoo.find("hf:org/name@v1")
    assert "xstilts zoo pull hf:org/name@v1" in caught.value.hint
    (tmp_path / "m").mkdir()
    build(tmp_path / "m")
    asked = []
    other = Zoo(zoo.root, fetch=lambda text: asked.append(text) or tmp_path / "m")
    assert other.find("hf:org/name@v1").manifest.name == "mnli"
    assert asked == ["hf:org/name@v1"]


def test_the_index_follows_the_folders(zoo):
    def rows():
        return json.loads((zoo.root / "index.json").read_text())["modules"]

    entry = add(zoo)
    key = entry.folder.relative_to(zoo.root).as_posix()
    assert rows()[key]["digest"] == entry.manifest.digest
    (zoo.root / "index.json").write_text("broken")
    other = add(zoo, "lora", name="qqp")
    assert len(rows()) == 2
    shutil.rmtree(entry.folder)
    zoo.remove(other)
    assert rows() == {}
    add(zoo)
    (zoo.root / "index.json").unlink()
    gc(zoo)
    assert list(rows()) == [key]


# -------------------------------------------------------------------------------- maintenance


def test_search_wants_every_word(zoo):
    add(zoo)
    zoo.tag(add(zoo, "lora", name="qqp", task="qqp"), "keeper")
    assert [e.manifest.name for e in search(zoo, "lora")] == ["qqp"]
    assert [e.manifest.name for e in search(zoo, "PICO")] == ["mnli", "qqp"]
    assert [e.manifest.name for e in search(zoo, "keeper")] == ["qqp"]
    assert search(zoo, "lora mnli-x") == []


def test_diff_names_each_place(zoo):
    first, second = add(zoo, seed=1), add(zoo, seed=2)
    found = {d.place: (d.left, d.right) for d in diff(first, second)}
    assert found["seed"] == (1, 2)
    assert set(found) == {"seed", "digest", "files.adapter.safetensors", "files.head.safetensors"}
    assert diff(first, first) == []


def parent(entry, role="below"):
    return Parent(reference=entry.reference, digest=entry.manifest.digest, role=role)


def test_lineage_is_a_tree_by_digest(zoo):
    lang = add(zoo, name="lang-en", kind="language")
    task = add(zoo, parents=[parent(lang)])
    fused = add(zoo, name="fused", kind="fusion", parents=[parent(task, "merged"), parent(lang)])
    tree = lineage(zoo, fused)
    assert [(a.entry.manifest.name, a.role) for a in tree.parents] == [
        ("mnli", "merged"),
        ("lang-en", "below"),
    ]
    assert [a.entry.manifest.name for a in ancestors(tree)] == [
        "lang-en",
        "mnli",
        "lang-en",
        "fused",
    ]
    assert zoo.has(lang.manifest.digest)
    zoo.remove(lang)
    assert not zoo.has(lang.manifest.digest)
    assert lineage(zoo, task).parents[0].entry is None


def test_cyclic_lineage_is_refused(zoo):
    first, second = add(zoo, seed=1), add(zoo, seed=2)
    loop = replace(first, manifest=first.manifest.model_copy(update={"parents": [parent(second)]}))
    back = replace(second, manifest=second.manifest.model_copy(update={"parents": [parent(first)]}))
    known = {entry.manifest.digest: entry for entry in (loop, back)}
    with pytest.raises(IntegrityError, match="its own ancestor"):
        family(loop, known)


def test_gc_takes_leftovers_only(zoo):
    entry = add(zoo)
    zoo.tag(entry, "best")
    (zoo.root / ".staging" / "dead").mkdir(parents=True)
    (zoo.root / ".staging" / "dead" / "half").write_text("x")
    (zoo.root / ".staging" / "dead.lock").write_text("")
    (zoo.root / ".trash" / "gone").mkdir(parents=True)
    (zoo.root / "empty" / "seq_bn").mkdir(parents=True)
    (zoo.root / ".tags" / "old").mkdir(parents=True)
    (zoo.root / ".tags" / "old" / "x").write_text("0" * 64)
    planned = gc(zoo, dry_run=True)
    assert sorted(planned) == ["leftover dead", "leftover dead.lock", "leftover gone", "tag old:x"]
    assert (zoo.root / ".staging" / "dead").exists()
    assert gc(zoo) == planned
    assert leftovers(zoo) == []
    assert not (zoo.root / "empty").exists()
    assert zoo.entries() == [entry]
    assert zoo.tags() == {("mnli", "best"): entry.manifest.digest}


def test_gc_leaves_a_module_of_a_later_version_its_tags_and_its_study(zoo):
    entry = add(zoo.of_study("tiny"))
    zoo.tag(add(zoo, name="qqp"), "best")
    for path in zoo.root.rglob("manifest.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    tags, folders = zoo.tags(), zoo.folders()
    assert gc(zoo, broken_too=True) == []
    assert (zoo.tags(), zoo.folders()) == (tags, folders)
    assert zoo.studies() == {entry.manifest.digest: "tiny"}


def test_gc_leaves_a_module_that_is_just_begun(zoo):
    def begin(folder):
        gc(zoo)
        build(folder)

    assert zoo.add(begin).folder.is_dir()


def test_gc_of_the_untagged_keeps_ancestors(zoo):
    lang = add(zoo, name="lang-en")
    task = add(zoo, parents=[parent(lang)])
    loose = add(zoo, "lora", name="loose")
    zoo.tag(task, "best")
    assert gc(zoo, untagged=True, dry_run=True) == [f"module {loose.reference}"]
    gc(zoo, untagged=True)
    assert zoo.entries() == [lang, task]


def test_a_bundle_is_a_library_with_all_ancestors(zoo, tmp_path):
    lang = add(zoo, name="lang-en")
    task = add(zoo, parents=[parent(lang)])
    add(zoo, "lora", name="loose")
    zoo.tag(task, "best")
    copied = bundle(zoo, ["mnli"], tmp_path / "bundle")
    assert [entry.manifest.name for entry in copied] == ["lang-en", "mnli"]
    other = Zoo(tmp_path / "bundle")
    assert contents(other.find("mnli:best").folder) == contents(task.folder)
    assert broken(other) == []
    assert [e.manifest.name for e in bundle(zoo, [], tmp_path / "all")] == [
        "lang-en",
        "loose",
        "mnli",
    ]
    zoo.remove(lang)
    with pytest.raises(NotFoundError, match="needs"):
        bundle(zoo, ["mnli"], tmp_path / "b2")
    with pytest.raises(UsageError, match="into itself"):
        bundle(zoo, [], zoo.root)


def test_entries_are_values(zoo):
    entry = add(zoo)
    assert entry == Entry(entry.manifest, entry.folder)


@pytest.mark.parametrize("again", [True, False])
def test_a_module_that_is_replaced_while_it_is_read_is_read_again(zoo, again):
    """`broken` and `entries` see whole modules only, or none."""
    entry = add(zoo)
    reads = []

    def read(folder):
        if not reads:
            zoo.remove(entry)
            if again:
                add(zoo)
        reads.append(folder)
        if len(reads) == 1:
            raise IntegrityError("half of it is gone")
        return verify_folder(folder)

    found = settled(entry.folder, read)
    assert found == (entry.manifest if again else None)
    assert len(reads) == 1 + again


def test_what_is_broken_stays_broken(zoo):
    entry = add(zoo)
    (entry.folder / "head.safetensors").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        settled(entry.folder, verify_folder)

    def vanished(folder):
        raise FileNotFoundError(folder)

    with pytest.raises(IntegrityError, match="a file vanished"):
        settled(entry.folder, vanished)


def test_a_folder_that_is_no_module_is_named_and_not_copied(zoo, tmp_path):
    entry = add(zoo)
    other = Zoo(tmp_path / "other")
    with pytest.raises(IntegrityError, match="no module") as caught:
        copy_into(other, tmp_path)
    assert caught.value.where == str(tmp_path)
    assert not other.root.exists()
    (entry.folder / "notes.txt").write_text("mine")
    with pytest.raises(IntegrityError, match=r"'notes.txt' is in no manifest"):
        copy_into(other, entry.folder)
    (entry.folder / "notes.txt").unlink()
    (entry.folder / ".git").mkdir()  # as in a clone
    (entry.folder / "head.safetensors").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=r"'head.safetensors' is not the one") as caught:
        copy_into(other, entry.folder)
    assert caught.value.where == str(entry.folder)


def test_a_file_where_the_library_would_be(zoo, tmp_path):
    entry = add(zoo)
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "zoo"):
        with pytest.raises(UsageError, match="no library can be at"):
            copy_into(Zoo(place), entry.folder)


def test_a_studys_module_stands_apart_until_it_is_tagged(zoo):
    own, other = add(zoo, seed=1), add(zoo.of_study("rates"), seed=2, run="0a1b")
    assert zoo.studies() == {other.manifest.digest: "rates"}
    assert zoo.library() == [own]
    assert {entry.manifest.seed for entry in zoo.entries()} == {1, 2}
    assert zoo.find("mnli/seq_bn") == own  # it would be ambiguous
    assert zoo.find(f"@{other.manifest.digest}") == other
    assert zoo.find_run("0a1b") == other
    zoo.tag(other, "best")
    assert zoo.studies() == {}
    with pytest.raises(UsageError, match="fits 2 modules"):
        zoo.find("mnli/seq_bn")


def test_a_search_and_a_bundle_are_of_the_library(zoo, tmp_path):
    own, other = add(zoo, seed=1), add(zoo.of_study("rates"), seed=2)
    assert search(zoo, "mnli") == [own]
    assert bundle(zoo, [], tmp_path / "whole") == Zoo(tmp_path / "whole").entries()
    assert [entry.manifest.seed for entry in Zoo(tmp_path / "whole").entries()] == [1]
    bundle(zoo, [f"@{other.manifest.digest}"], tmp_path / "one")
    assert Zoo(tmp_path / "one").library() == Zoo(tmp_path / "one").entries()


def test_modules_of_studies_are_found_by_name_where_the_library_has_none(zoo):
    first = add(zoo.of_study("rates"), seed=1)
    assert zoo.find("mnli/seq_bn") == first
    add(zoo.of_study("seeds"), seed=2)
    with pytest.raises(UsageError, match="fits 2 modules"):
        zoo.find("mnli/seq_bn")


def test_a_module_of_the_library_stays_there_when_a_study_makes_it_too(zoo):
    own = add(zoo, seed=1)
    add(zoo.of_study("rates"), seed=1)
    assert zoo.library() == [own]


def test_what_is_added_or_trained_outside_a_study_is_one_of_the_library(zoo):
    made = add(zoo.of_study("rates"), seed=1)
    zoo.of_study("rates").adopt(made)
    assert zoo.library() == []
    zoo.adopt(made)
    assert zoo.library() == [made]
    again = add(zoo.of_study("rates"), seed=2)
    copy_into(zoo, again.folder)
    assert zoo.library() == [made, again] or zoo.library() == [again, made]


def test_marks_go_with_the_modules(zoo):
    made = add(zoo.of_study("rates"), seed=1)
    zoo.remove(made)
    assert zoo.studies() == {}
    assert not (zoo.root / ".studies" / "rates").exists()
    broken_one = add(zoo.of_study("rates"), seed=2)
    shutil.rmtree(broken_one.folder)
    gc(zoo)
    assert zoo.studies() == {}


def test_links_to_themselves_and_to_nothing_are_no_modules(zoo):
    entry = add(zoo)
    for place in (zoo.root, entry.folder.parent.parent, entry.folder.parent):
        (place / "self").symlink_to("self")
        (place / "nothing").symlink_to("gone")
    assert [found.folder for found in zoo.entries()] == [entry.folder]
    assert zoo.find(entry.reference).folder == entry.folder


def test_an_address_without_a_folder_is_refused(zoo, tmp_path, monkeypatch):
    entry = add(zoo, license="")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="names no folder"):
        hubs.push(entry.folder, "folder:")
    assert sorted(tmp_path.iterdir()) == before


def test_a_card_and_a_tag_that_are_no_utf8(zoo, tmp_path):
    entry = add(zoo, license="")
    (entry.folder / "README.md").write_bytes("---\nlicense: mit\n---\nCafé\n".encode("latin-1"))
    hubs.push(entry.folder, f"folder:{tmp_path / 'shared'}")
    (card,) = (tmp_path / "shared").glob("*/*/*/README.md")
    assert license_in(card.read_text("utf-8")) == "mit"
    zoo.tag(entry, "best")
    (zoo.root / ".tags" / entry.manifest.name / "best").write_bytes(b"\xff")
    assert gc(zoo) == [f"tag {entry.manifest.name}:best"]
