"""What every hub must do; a new file in `hubs/` is found by itself."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from integration.hub_server import HubServer, use
from support.zoo_modules import add, build, contents

from xstilts.errors import IntegrityError, NotFoundError, OfflineError, UsageError
from xstilts.zoo import Zoo, hubs
from xstilts.zoo.hubs import HUBS, PushOptions, parse_address
from xstilts.zoo.manifest import CARD

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


def test_every_hub_has_a_target_here():
    assert {name.split()[0] for name in TARGETS} == set(HUBS.names())
    for name in HUBS.names():
        hub = HUBS.get(name)
        assert isinstance(hub.SCHEMES, tuple)
        assert isinstance(hub.CACHES, bool)


def test_a_module_pushed_and_pulled_is_byte_equal(zoo, target, tmp_path):
    entry = add(zoo)
    ref = hubs.push(entry.folder, target)
    assert ref.digest == entry.manifest.digest
    got = hubs.pull(target, Zoo(tmp_path / "other"))
    assert got.manifest == entry.manifest
    same(entry.folder, got.folder)
    assert (got.folder / CARD).read_text(encoding="utf-8").startswith("---\n")
    same(entry.folder, hubs.pull(ref.reference, Zoo(tmp_path / "third")).folder)


def test_there_is_nothing_before_the_first_push(target, tmp_path):
    assert not hubs.exists(target)
    assert hubs.modules(target) == []
    with pytest.raises(NotFoundError):
        hubs.pull(target, Zoo(tmp_path / "other"))
    assert Zoo(tmp_path / "other").entries() == []


def test_what_was_pushed_is_listed(zoo, target):
    ref = hubs.push(add(zoo).folder, target)
    assert hubs.exists(target)
    assert hubs.exists(ref.reference)
    assert len(hubs.modules(target)) == 1


def test_pushing_again_changes_nothing(zoo, target, tmp_path):
    entry = add(zoo)
    hubs.push(entry.folder, target)
    hubs.push(entry.folder, target)
    assert len(hubs.modules(target)) == 1
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


def test_a_broken_module_is_not_pushed(zoo, target):
    entry = add(zoo)
    (entry.folder / "head.safetensors").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=r"head\.safetensors"):
        hubs.push(entry.folder, target)
    assert not hubs.exists(target)


def test_a_module_broken_on_the_hub_is_not_kept(zoo, target, tmp_path, monkeypatch):
    hub = HUBS.get(parse_address(target).hub)
    whole = hub.pull

    def spoilt(address, into, *, offline):
        ref = whole(address, into, offline=offline)
        path = into / "adapter.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        return ref

    hubs.push(add(zoo).folder, target)
    monkeypatch.setattr(hub, "pull", spoilt)
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
    with pytest.raises(OfflineError):
        hubs.exists(address, offline=True)


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
