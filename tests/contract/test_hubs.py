"""What every hub must do; a new file in `hubs/` is found by itself."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from uuid import uuid4

import pytest
from integration.hub_server import HubServer, use
from support.zoo_modules import add, build, contents

from xstilts.config.registry import complete
from xstilts.errors import IntegrityError, NotFoundError, OfflineError, UsageError
from xstilts.tasks.conformance import hub_problems
from xstilts.zoo import Zoo, hubs, verify_folder
from xstilts.zoo.hubs import HUBS, PushOptions, parse_address
from xstilts.zoo.manifest import CARD, Parent
from xstilts.zoo.verify import check_file as check

TARGETS = {
    "folder": "folder:{tmp}/shared",
    "remote": "memory://{id}/zoo",
    "remote file": "file://{tmp}/remote",
    "huggingface": "hf:org/mnli",
}


@pytest.fixture(params=sorted(TARGETS))
def target(request, tmp_path, monkeypatch):
    """An address that takes a push."""
    if request.param != "huggingface":
        yield TARGETS[request.param].format(tmp=tmp_path, id=uuid4().hex)
        return
    with HubServer() as hub:
        use(monkeypatch, hub, tmp_path)
        yield "hf:org/mnli"


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path / "zoo")


def same(a, b):
    """Byte-equal, but for the card, which is written for the place that it goes to."""
    left, right = contents(a), contents(b)
    assert left.keys() - {CARD} == right.keys() - {CARD}
    assert {k: v for k, v in left.items() if k != CARD} == {
        k: v for k, v in right.items() if k != CARD
    }


@pytest.mark.parametrize("name", HUBS)
def test_it_does_what_its_contract_says(name):
    assert hub_problems(name) == []


def test_a_hub_gets_what_it_may_leave_out(tmp_path):
    least = SimpleNamespace(SCHEMES=("least:",), CACHES=False, OPTIONS=())
    least.push = lambda folder, address, options, progress: None
    least.pull = lambda address, into, progress, *, offline: None
    assert complete(least, [hubs.Hub]) == ["it has no card(address, manifest)"]
    least.card = lambda address, manifest: ""
    assert complete(least, [hubs.Hub]) == []
    address = hubs.Address("least", "least:x", "x")
    assert (least.MANY, least.IMPORTS) == (False, False)
    assert isinstance(least.closed(address, offline=True), OfflineError)
    assert least.closed(address, offline=False) is None
    assert least.beside(address, "0" * 64) is None
    with pytest.raises(UsageError, match="least:x holds modules only"):
        least.fetch_files(address, ["a"], tmp_path, offline=False)


def test_every_hub_has_a_target_here():
    assert {name.split()[0] for name in TARGETS} == set(HUBS.names())
    for name in HUBS.names():
        hub = HUBS.get(name)
        assert isinstance(hub.SCHEMES, tuple)
        assert isinstance(hub.CACHES, bool)


def references(target, tmp_path):
    """The modules at an address, as a pull finds them."""
    try:
        hubs.pull(target, Zoo(tmp_path / "look"))
    except NotFoundError:
        return []
    except UsageError as error:
        return error.where.split()
    return [target]


def test_a_module_pushed_and_pulled_is_byte_equal(zoo, target, tmp_path):
    entry = add(zoo)
    ref = hubs.push(entry.folder, target)
    assert ref.digest == entry.manifest.digest
    got = hubs.pull(target, Zoo(tmp_path / "other"))
    assert got.manifest == entry.manifest
    same(entry.folder, got.folder)
    assert (got.folder / CARD).read_text(encoding="utf-8").startswith("---\n")
    same(entry.folder, hubs.pull(ref.reference, Zoo(tmp_path / "third")).folder)


def test_it_tells_how_far_it_is(zoo, target, tmp_path):
    entry = add(zoo)
    size = sum(file.size for file in entry.manifest.files) / 1e6
    sent, fetched = [], []
    hubs.push(entry.folder, target, progress=lambda *report: sent.append(report))
    hubs.pull(target, Zoo(tmp_path / "other"), progress=lambda *report: fetched.append(report))
    assert sent[0] == ("checking every file", 0.0)
    assert len(sent) > 1  # and what it sends, where to
    assert fetched[0] == (f"looking for {target}", 0.0)
    shares = [share for _, share in fetched]
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] < shares[-1] <= 1.0
    text = fetched[-1][0]
    assert any(name in text for name in contents(entry.folder))
    assert f"of {size:.1f} MB" in text or target.startswith("folder:")  # which copies its card, too


def test_there_is_nothing_before_the_first_push(target, tmp_path):
    assert references(target, tmp_path) == []
    with pytest.raises(NotFoundError):
        hubs.pull(target, Zoo(tmp_path / "other"))
    assert Zoo(tmp_path / "other").entries() == []


def test_what_was_pushed_is_there(zoo, target, tmp_path):
    ref = hubs.push(add(zoo).folder, target)
    assert len(references(target, tmp_path)) == 1
    assert len(references(ref.reference, tmp_path)) == 1


def test_pushing_again_changes_nothing(zoo, target, tmp_path):
    entry = add(zoo)
    hubs.push(entry.folder, target)
    hubs.push(entry.folder, target)
    assert len(references(target, tmp_path)) == 1
    same(entry.folder, hubs.pull(target, Zoo(tmp_path / "other")).folder)


def test_a_push_does_not_touch_the_module(zoo, target):
    entry = add(zoo)
    before = contents(entry.folder)
    hubs.push(entry.folder, target, scores=[_score(50.0)])
    assert contents(entry.folder) == before


def test_new_scores_reach_the_hub(zoo, target, tmp_path):
    entry = add(zoo)
    hubs.push(entry.folder, target, scores=[_score(50.0)])
    hubs.push(entry.folder, target, scores=[_score(60.5)])
    folder = hubs.pull(target, Zoo(tmp_path / "other")).folder
    assert json.loads((folder / "scores.json").read_text())[0]["value"] == 60.5
    assert "| 60.50 |" in (folder / CARD).read_text(encoding="utf-8")


OPTIONS = {
    "private": True,
    "create_pr": True,
    "tags": ("v1",),
    "message": "Better scores",
    "license": "mit",
}


def test_every_option_is_honoured_or_refused(zoo, target, tmp_path):
    """Each by itself on a new target; what is honoured is seen in what is there."""
    hub = HUBS.get(parse_address(target).hub)
    assert set(hub.OPTIONS) <= OPTIONS.keys()
    for name, value in OPTIONS.items():
        place = target + name.replace("_", "")
        entry, options = add(zoo), PushOptions(**{name: value})
        if name not in (*hub.OPTIONS, "license"):
            with pytest.raises(UsageError, match=r"has no --[a-z-]+\n"):
                hubs.push(entry.folder, place, options)
            assert references(place, tmp_path) == []
            continue
        ref = hubs.push(entry.folder, place, options)
        if name == "tags":
            for mark in "@" if target.startswith("hf:") else "@:":
                got = hubs.pull(f"{place}{mark}v1", Zoo(tmp_path / "tagged"))
                assert got.manifest.digest == entry.manifest.digest
        elif name == "create_pr":
            assert references(place, tmp_path) == []
            assert "discussions" in ref.url
        elif name == "license":
            card = (hubs.pull(place, Zoo(tmp_path / "licensed")).folder / CARD).read_text("utf-8")
            assert "\nlicense: mit\n" in card
        else:
            assert len(references(place, tmp_path)) == 1


def test_a_tag_keeps_meaning_the_same_module(zoo, target, tmp_path):
    hub = HUBS.get(parse_address(target).hub)
    if "tags" not in hub.OPTIONS:
        pytest.skip("this hub has no tags")
    first, second = add(zoo, seed=1), add(zoo, seed=2)
    options = PushOptions(tags=("v1",))
    hubs.push(first.folder, target, options)
    hubs.push(first.folder, target, options)
    with pytest.raises(UsageError, match="has the tag v1 already"):
        hubs.push(second.folder, target, options)
    got = hubs.pull(f"{target}@v1", Zoo(tmp_path / "other"))
    assert got.manifest.digest == first.manifest.digest
    with pytest.raises(NotFoundError):
        hubs.pull(f"{target}@v2", Zoo(tmp_path / "other"))


def test_a_licence_stays_until_another_is_given(zoo, target, tmp_path):
    def stated(name):
        card = (hubs.pull(target, Zoo(tmp_path / name)).folder / CARD).read_text("utf-8")
        return card.split("\nlicense: ")[1].split("\n")[0]

    entry = add(zoo, license="")
    hubs.push(entry.folder, target, PushOptions(license="cc-by-4.0"))
    hubs.push(entry.folder, target, scores=[_score(50.0)])
    assert stated("one") == "cc-by-4.0"
    pulled = hubs.pull(target, Zoo(tmp_path / "two"))
    hubs.push(pulled.folder, target + "-two")
    assert stated("three") == "cc-by-4.0"
    hubs.push(entry.folder, target, PushOptions(license="mit"))
    assert stated("four") == "mit"


def composition(zoo, *parts):
    """A module that computes nothing without its parts."""
    return add(
        zoo,
        name="fused",
        kind="composition",
        composition="fuse(" + ", ".join(f"@{part.manifest.digest}" for part in parts) + ")",
        parents=[Parent(reference=part.reference, digest=part.manifest.digest) for part in parts],
    )


def test_a_composition_takes_its_parts_along_or_is_refused(zoo, target, tmp_path):
    first, second = add(zoo, seed=1), add(zoo, seed=2)
    inner = composition(zoo, first, second)
    outer = composition(zoo, inner)
    with pytest.raises(UsageError, match="'fused' cannot do without fused/seq_bn/"):
        hubs.push(outer.folder, target)
    if target.startswith("hf:"):
        with pytest.raises(UsageError, match="holds one module") as caught:
            hubs.push(outer.folder, target, zoo=zoo)
        assert "zoo bundle" in caught.value.hint
        assert references(target, tmp_path) == []
        return
    ref = hubs.push(outer.folder, target, zoo=zoo)
    other = Zoo(tmp_path / "other")
    got = hubs.pull(ref.reference, other)
    assert got.manifest.digest == outer.manifest.digest
    wanted = {entry.manifest.digest for entry in (first, second, inner, outer)}
    assert {entry.manifest.digest for entry in other.entries()} == wanted
    zoo.remove(second)
    with pytest.raises(NotFoundError):
        hubs.push(outer.folder, target + "-more", zoo=zoo)


def test_a_composition_whose_parts_are_nowhere_is_not_pulled(zoo, target, tmp_path):
    if target.startswith("hf:"):
        pytest.skip("a repository holds no composition")
    part = add(zoo, seed=1)
    whole = composition(zoo, part)
    ref = hubs.push(whole.folder, target, zoo=zoo)
    HUBS.get(parse_address(target).hub)
    where = parse_address(hubs.push(part.folder, target).reference).location
    if where.startswith("memory:"):
        import fsspec

        fsspec.filesystem("memory").rm(where, recursive=True)
    else:
        shutil.rmtree(where.removeprefix("file://"))
    other = Zoo(tmp_path / "other")
    with pytest.raises(NotFoundError, match="neither in the library nor beside it"):
        hubs.pull(ref.reference, other)
    assert other.entries() == []


def test_a_push_verifies_the_module_once(zoo, target, monkeypatch):
    entry, seen = add(zoo), []
    monkeypatch.setattr(hubs, "verify_folder", lambda f: seen.append(f) or verify_folder(f))
    monkeypatch.setattr(
        "xstilts.zoo.verify.check_file",
        lambda path, record: seen.append(path) or check(path, record),
    )
    hubs.push(entry.folder, target)
    assert [path for path in seen if path == entry.folder] == [entry.folder]
    own = [path.name for path in seen if path.parent == entry.folder]
    assert sorted(own) == sorted(record.path for record in entry.manifest.files)
    assert not [path for path in seen if "xstilts-push-" in str(path)]


def test_a_broken_module_is_not_pushed(zoo, target, tmp_path):
    entry = add(zoo)
    (entry.folder / "head.safetensors").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=r"head\.safetensors"):
        hubs.push(entry.folder, target)
    assert references(target, tmp_path) == []


def test_a_module_broken_on_the_hub_is_not_kept(zoo, target, tmp_path, monkeypatch):
    hub = HUBS.get(parse_address(target).hub)
    whole = hub.pull

    def corrupted(address, into, progress, *, offline):
        ref = whole(address, into, progress, offline=offline)
        path = into / "adapter.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        return ref

    hubs.push(add(zoo).folder, target)
    monkeypatch.setattr(hub, "pull", corrupted)
    other = Zoo(tmp_path / "other")
    with pytest.raises(IntegrityError, match=r"adapter\.safetensors"):
        hubs.pull(target, other)
    assert other.entries() == []
    assert list(other.root.glob(".staging/*")) == []


def test_a_module_may_be_pushed_from_any_folder(target, tmp_path):
    (tmp_path / "module").mkdir()
    manifest = build(tmp_path / "module", "lora")
    hubs.push(tmp_path / "module", target)
    assert hubs.pull(target, Zoo(tmp_path / "other")).manifest == manifest


def test_of_several_modules_one_must_be_named(zoo, target, tmp_path):
    if target.startswith("hf:"):
        pytest.skip("a repository holds one module")
    refs = [hubs.push(add(zoo, seed=seed).folder, target) for seed in (1, 2)]
    with pytest.raises(UsageError, match="holds 2 modules") as caught:
        hubs.pull(target, Zoo(tmp_path / "other"))
    for ref in refs:
        assert ref.reference in caught.value.where
        assert hubs.pull(ref.reference, Zoo(tmp_path / "other")).manifest.digest == ref.digest


@pytest.mark.parametrize("address", ["hf:org/x", "s3://bucket/x", "gs://bucket/x"])
def test_nothing_opens_a_socket_offline(address, zoo, tmp_path, monkeypatch):
    import socket

    def refuse(*_: object, **__: object):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    entry = add(zoo)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OfflineError):
        hubs.push(entry.folder, address, offline=True)
    with pytest.raises(OfflineError):
        hubs.pull(address, Zoo(tmp_path / "other"), offline=True)


# ------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("text", "hub", "location", "revision"),
    [
        ("hf:org/name", "huggingface", "org/name", ""),
        ("hf:org/name@v1.0", "huggingface", "org/name", "v1.0"),
        ("folder:/a/b@c", "folder", "/a/b@c", ""),
        ("./x", "folder", "./x", ""),
        ("/x", "folder", "/x", ""),
        ("s3://bucket/zoo/mnli/lora/base@0a", "remote", "s3://bucket/zoo/mnli/lora/base@0a", ""),
        ("memory://x", "remote", "memory://x", ""),
    ],
)
def test_addresses(text, hub, location, revision):
    address = parse_address(text)
    assert (address.hub, address.location, address.revision) == (hub, location, revision)


@pytest.mark.parametrize(
    "text",
    ["mnli", "", "xyz:thing", "s3://key:secret@host/b", "https://h/x?token=1", "hf://x?sig=2"],
)
def test_what_is_no_address(text):
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "secret" not in str(caught.value)
    assert "token=1" not in str(caught.value)


@pytest.mark.parametrize("text", ["hf:", "hf:a/b/c", "hf:../x", "hf:org/na me"])
def test_what_names_no_repository(text, zoo):
    with pytest.raises(UsageError):
        hubs.push(add(zoo).folder, text)


def test_an_unknown_store_says_what_to_install(zoo):
    with pytest.raises(UsageError, match="cannot open nothing://"):
        hubs.push(add(zoo).folder, "nothing://x")


def test_a_pull_request_takes_no_tag(zoo):
    with pytest.raises(UsageError, match="cannot be tagged"):
        hubs.push(add(zoo).folder, "hf:o/n", PushOptions(create_pr=True, tags=("v1",)))


def _score(value):
    return {"task": "xnli", "language": "sw", "split": "test", "metric": "accuracy", "value": value}
