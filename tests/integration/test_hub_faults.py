"""The Hugging Face Hub with its real client: refusals, broken transfers, revisions, offline."""

from __future__ import annotations

import gc
import itertools
import socket
import time
from types import SimpleNamespace

import huggingface_hub
import pytest
from integration.hub_server import HubServer, use
from support.zoo_modules import add, contents

from xstilts.errors import NetworkError, NotFoundError, OfflineError, UsageError, XstiltsError
from xstilts.zoo import Zoo, hubs
from xstilts.zoo.hubs import PushOptions
from xstilts.zoo.manifest import CARD

NAME = "hf:org/mnli"

# From 1.18 on, the client writes to a file of a new name each time and removes it when it fails:
# where file locks do not work, two commands corrupted the file that they both continued.
CLIENT_KEEPS_PARTS = tuple(map(int, huggingface_hub.__version__.split(".")[:2])) < (1, 18)

# The client leaves the sockets of failed requests to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True, scope="module")
def no_sockets_left():
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Neither we nor the client wait between attempts; the server may still be slow."""
    monkeypatch.setattr("xstilts.zoo.hubs._hf_errors.WAIT_SECONDS", 0)
    client = SimpleNamespace(sleep=lambda _: None, time=time.time, perf_counter=time.perf_counter)
    for module in ("utils._http", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", client, raising=False)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        use(monkeypatch, server, tmp_path)
        yield server


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path / "zoo")


@pytest.fixture
def other(tmp_path):
    return Zoo(tmp_path / "other")


def files(hub, name="org/mnli", revision="main"):
    there = dict(hub.repo(name).at(revision).files)
    there.pop(".gitattributes", None)
    return there


def equal(folder, there):
    mine = contents(folder)
    return {k: v for k, v in mine.items() if k != CARD} == {
        k: v for k, v in there.items() if k != CARD
    }


# ------------------------------------------------------------------------------------- refusals

PUSH_STEPS = {
    "create": ("POST", "/api/repos/create"),
    "refs": ("GET", "/refs$"),
    "head": ("GET", "/revision/|/api/models/org/mnli$"),
    "preupload": ("POST", "/preupload/"),
    "batch": ("POST", "/objects/batch"),
    "upload": ("PUT", "/lfs/"),
    "commit": ("POST", "/commit/"),
    "tag": ("POST", "/tag/"),
}
PULL_STEPS = {
    "manifest": ("HEAD", r"/resolve/.*/manifest\.json"),
    "sizes": ("POST", "/paths-info/"),
    "weights": ("HEAD", r"/resolve/.*/adapter\.safetensors"),
    "bytes": ("GET", r"/resolve/.*/adapter\.safetensors"),
}


def cases(steps, statuses):
    """Every step with every status; by default each step once and each status at least once."""
    quick = set(zip(steps, itertools.cycle(statuses), strict=False))
    return [
        pytest.param(*pair, marks=() if pair in quick else pytest.mark.slow)
        for pair in itertools.product(steps, statuses)
    ]


@pytest.mark.parametrize(("step", "status"), cases(PUSH_STEPS, (401, 403, 404, 429, 500)))
def test_a_refused_push_says_so_and_can_be_repeated(zoo, other, hub, step, status):
    entry = add(zoo)
    fault = hub.fault(*PUSH_STEPS[step], status, times=99)
    with pytest.raises((NetworkError, NotFoundError)) as caught:
        hubs.push(entry.folder, NAME, PushOptions(tags=("v1",)))
    assert fault.hits > 0
    told = str(caught.value)
    assert NAME in told
    assert caught.value.hint
    assert str(status) in told or "does not exist, or it is private" in told
    assert "hf_owner" not in told
    assert "canary" not in told
    if ("models", "org/mnli") in hub.repos:
        assert files(hub) == {} or equal(entry.folder, files(hub))
    hub.faults.clear()
    hubs.push(entry.folder, NAME, PushOptions(tags=("v1",)))
    assert equal(entry.folder, files(hub, revision="v1"))
    assert hubs.pull(f"{NAME}@v1", other).manifest == entry.manifest


@pytest.mark.parametrize(("step", "status"), cases(PULL_STEPS, (401, 403, 404, 429, 500)))
def test_a_refused_pull_says_so_and_can_be_repeated(zoo, other, hub, step, status):
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    hub.fault(*PULL_STEPS[step], status, times=99)
    with pytest.raises((NetworkError, NotFoundError)) as caught:
        hubs.pull(NAME, other)
    told = str(caught.value)
    assert NAME in told
    assert str(status) in told or "does not exist" in told or "no file" in told
    assert "hf_owner" not in told
    assert other.entries() == []
    assert not list(other.root.glob(".staging/*"))
    hub.faults.clear()
    assert hubs.pull(NAME, other).manifest == entry.manifest


@pytest.mark.parametrize(("step", "status"), cases(PUSH_STEPS, (429, 500, 502, 503, 504)))
def test_what_passes_is_tried_again(zoo, other, hub, step, status):
    entry = add(zoo)
    headers = {"Retry-After": "0"} if status == 429 else {}
    hub.fault(*PUSH_STEPS[step], status, times=2, headers=headers)
    hubs.push(entry.folder, NAME, PushOptions(tags=("v1",)))
    assert hubs.pull(NAME, other).manifest == entry.manifest


def test_a_quota_is_no_traceback(zoo, hub, monkeypatch):
    def full(handler, **_):
        objects = [{"oid": "0", "size": 1, "error": {"code": 403, "message": "storage is full"}}]
        handler._json(200, {"transfer": "basic", "objects": objects})

    monkeypatch.setattr(hub.http.RequestHandlerClass, "lfs_batch", full)
    with pytest.raises(NetworkError, match="does not take these files"):
        hubs.push(add(zoo).folder, NAME)


def test_a_card_that_the_hub_does_not_take_is_no_traceback(zoo, hub, monkeypatch):
    def refuse(handler):
        handler._json(400, {"errors": [{"message": '"license" must be one of'}], "warnings": []})

    monkeypatch.setattr(hub.http.RequestHandlerClass, "validate_yaml", refuse)
    with pytest.raises(UsageError, match="does not take what the card's head says") as caught:
        hubs.push(add(zoo).folder, NAME, PushOptions(license="mine"))
    assert "--license" in caught.value.hint
    assert files(hub) == {}


def test_a_wrong_token_is_not_repeated_to_anybody(zoo, hub, tmp_path, monkeypatch, capfd):
    use(monkeypatch, hub, tmp_path, "hf_canary_that_nobody_knows")
    with pytest.raises(NetworkError, match="missing or not valid") as caught:
        hubs.push(add(zoo).folder, NAME)
    assert "canary" not in str(caught.value) + "".join(capfd.readouterr())


def test_signed_addresses_stay_out_of_the_log(zoo, hub, capfd):
    """The client warns about each retry, with the whole address."""
    hub.fault("PUT", "/lfs/", 500, times=99)
    with pytest.raises(NetworkError):
        hubs.push(add(zoo).folder, NAME)
    assert "presigned-canary" not in "".join(capfd.readouterr())


def test_nobody_there(zoo, other, hub, tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = SimpleNamespace(url=f"http://127.0.0.1:{closed.getsockname()[1]}")
    use(monkeypatch, gone, tmp_path)
    for work in (
        lambda: hubs.push(add(zoo).folder, NAME),
        lambda: hubs.pull(NAME, other),
        lambda: hubs.fetch_files(NAME, ["adapter_config.json"], tmp_path),
    ):
        with pytest.raises(NetworkError, match="cannot be reached"):
            work()


# ------------------------------------------------------------------------------------- transfers


@pytest.fixture
def small_pieces(monkeypatch):
    """The client keeps what it got in pieces of this size (10 MB by default)."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 2)


def cut_in_half(hub, entry):
    """Let the next transfer of the weights break off in the middle; the bytes that arrive."""
    half = (entry.folder / "adapter.safetensors").stat().st_size // 2
    hub.fault("GET", r"/adapter\.safetensors", cut_after=half)
    return half


@pytest.mark.usefixtures("small_pieces")
def test_a_broken_transfer_is_continued(zoo, other, hub):
    """The second request asks for the rest only."""
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    half = cut_in_half(hub, entry)
    assert hubs.pull(NAME, other).manifest == entry.manifest
    asked = [h.get("Range") for m, p, h in hub.requests if m == "GET" and "adapter.saf" in p]
    assert asked == [None, f"bytes={half}-"]


@pytest.mark.usefixtures("small_pieces")
def test_a_transfer_that_broke_is_continued_by_the_next_command(zoo, other, hub):
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    half = cut_in_half(hub, entry)
    hub.fault("GET", r"/adapter\.safetensors", 403, times=99)
    with pytest.raises(NetworkError):
        hubs.pull(NAME, other)
    hub.faults.clear()
    hub.requests.clear()
    assert hubs.pull(NAME, other).manifest == entry.manifest
    asked = [(p, h.get("Range")) for m, p, h in hub.requests if m == "GET" and "/resolve/" in p]
    weights = [part for path, part in asked if "adapter.saf" in path]
    assert weights == ([f"bytes={half}-"] if CLIENT_KEEPS_PARTS else [None])
    assert not [path for path, _ in asked if "manifest.json" in path], "it was there already"


def test_a_slow_transfer_arrives(zoo, other, hub):
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    slow = hub.fault("GET", "/resolve/", delay=0.001, times=99)
    assert hubs.pull(NAME, other).manifest == entry.manifest
    assert slow.hits >= len(entry.manifest.files)


@pytest.mark.long
def test_a_transfer_that_stands_still_ends(zoo, other, hub, monkeypatch):
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.01)
    hub.fault("GET", "/resolve/", delay=0.05, times=99)
    with pytest.raises(NetworkError, match="cannot be reached"):
        hubs.pull(NAME, other)
    assert other.entries() == []
    hub.faults.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 10)
    assert hubs.pull(NAME, other).manifest == entry.manifest


def test_a_file_that_was_spoilt_in_the_cache_is_fetched_again(zoo, other, hub, tmp_path):
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    hubs.pull(NAME, other)
    other.remove(other.find("mnli"))
    (cached,) = (tmp_path / "cache").glob("**/snapshots/*/adapter.safetensors")
    cached.resolve().write_bytes(b"x" * cached.stat().st_size)
    assert hubs.pull(NAME, other).manifest == entry.manifest


def test_a_cache_that_leads_elsewhere_is_refused(zoo, other, hub, tmp_path):
    hubs.push(add(zoo).folder, NAME)
    hubs.pull(NAME, other)
    (cached,) = (tmp_path / "cache").glob("**/snapshots/*/adapter.safetensors")
    (tmp_path / "secret").write_bytes(cached.read_bytes())
    cached.unlink()
    cached.symlink_to(tmp_path / "secret")
    with pytest.raises(XstiltsError, match="leads out of the cache"):
        hubs.pull(NAME, Zoo(tmp_path / "third"), offline=True)


@pytest.mark.parametrize("xet", [False, True])
def test_where_one_side_has_no_xet_plain_transfers_do(zoo, other, hub, tmp_path, monkeypatch, xet):
    hub.xet = not xet
    use(monkeypatch, hub, tmp_path, xet=xet)
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    assert hub.asked("PUT", "/lfs/") > 0
    assert hubs.pull(NAME, other).manifest == entry.manifest
    assert hub.asked("GET", "xet-read-token") == 0


def test_a_broken_xet_store_is_no_traceback(zoo, other, hub, tmp_path, monkeypatch):
    pytest.importorskip("hf_xet")
    hubs.push(add(zoo).folder, NAME)
    before = hub.asked("PUT", "/lfs/")
    hub.xet = True
    use(monkeypatch, hub, tmp_path, xet=True)
    with pytest.raises(XstiltsError):
        hubs.pull(NAME, other)
    with pytest.raises(NetworkError, match="403"):
        hubs.push(add(zoo, seed=8).folder, NAME)
    assert hub.asked("GET", "xet-write-token") > 0
    assert hub.asked("PUT", "/lfs/") == before, "a storage that fails is not gone around"


# ------------------------------------------------------------------------------------ revisions


def test_every_form_of_revision(zoo, hub, tmp_path):
    first, second = add(zoo, seed=1), add(zoo, seed=2)
    one = hubs.push(first.folder, NAME, PushOptions(tags=("v1", "first")))
    two = hubs.push(second.folder, f"{NAME}@next")
    commit = one.reference.rpartition("@")[2]
    revisions = dict.fromkeys(("", "@main", "@v1", "@first", f"@{commit}"), first)
    revisions |= {"@next": second, "@" + two.reference.rpartition("@")[2]: second}
    for number, (revision, wanted) in enumerate(revisions.items()):
        found = hubs.pull(NAME + revision, Zoo(tmp_path / f"other{number}"))
        assert found.manifest == wanted.manifest, revision
    with pytest.raises(NotFoundError, match="no such revision"):
        hubs.pull(f"{NAME}@v9", Zoo(tmp_path / "none"))


def test_a_push_is_one_commit_and_leaves_nothing_of_the_module_before(zoo, hub):
    hubs.push(add(zoo).folder, NAME)
    before = len(hub.repo("org/mnli").commits)
    entry = add(zoo, "lora")
    hubs.push(entry.folder, NAME, PushOptions(message="Replace it"))
    assert len(hub.repo("org/mnli").commits) == before + 1
    assert hub.repo("org/mnli").at("main").message == "Replace it"
    assert equal(entry.folder, files(hub))


def test_a_tag_keeps_meaning_the_same_files(zoo, hub):
    first = add(zoo, seed=1)
    hubs.push(first.folder, NAME, PushOptions(tags=("v1",)))
    commits = len(hub.repo("org/mnli").commits)
    hubs.push(first.folder, NAME, PushOptions(tags=("v1",)))  # the same again is no error
    assert len(hub.repo("org/mnli").commits) == commits
    with pytest.raises(UsageError, match="has the tag v1 already, for other files"):
        hubs.push(add(zoo, seed=2).folder, NAME, PushOptions(tags=("v1", "v2")))
    assert len(hub.repo("org/mnli").commits) == commits
    assert set(hub.repo("org/mnli").tags) == {"v1"}


def test_a_commit_in_between_is_noticed(zoo, other, hub, monkeypatch):
    """Another push lands after this one looked: nothing of the two is mixed."""
    hubs.push(add(zoo, seed=1).folder, NAME)
    entry = add(zoo, "lora")
    handler = hub.http.RequestHandlerClass
    whole, done = handler.preupload, []

    def meanwhile(self, kind, repo, revision):
        if not done:
            done.append(True)
            there = hub.repo("org/mnli")
            there.commit({**there.at("main").files, "extra.json": b"{}"}, "meanwhile", "main")
        whole(self, kind, repo, revision)

    monkeypatch.setattr(handler, "preupload", meanwhile)
    hubs.push(entry.folder, NAME)
    assert done
    assert equal(entry.folder, files(hub))
    assert hubs.pull(NAME, other).manifest == entry.manifest


def test_a_pull_request_leaves_the_branch_alone(zoo, other, hub, tmp_path, monkeypatch):
    first, second = add(zoo, seed=1), add(zoo, seed=2)
    hubs.push(first.folder, NAME)
    use(monkeypatch, hub, tmp_path, "hf_guest")
    with pytest.raises(NetworkError, match="may not do this"):
        hubs.push(second.folder, NAME)
    made = hubs.push(second.folder, NAME, PushOptions(create_pr=True))
    assert made.url.endswith("/org/mnli/discussions/1")
    assert equal(first.folder, files(hub))
    assert equal(second.folder, files(hub, revision="refs/pr/1"))
    assert hubs.pull(NAME, other).manifest == first.manifest
    assert hubs.pull(f"{NAME}@refs/pr/1", other).manifest == second.manifest


def test_a_private_repository_is_for_its_owner(zoo, other, hub, tmp_path, monkeypatch):
    entry = add(zoo)
    hubs.push(entry.folder, NAME, PushOptions(private=True))
    assert hub.repo("org/mnli").private
    assert hubs.pull(NAME, other).manifest == entry.manifest
    for token in ("hf_guest", ""):
        use(monkeypatch, hub, tmp_path / token, token)
        with pytest.raises(NotFoundError, match="does not exist, or it is private") as caught:
            hubs.pull(NAME, Zoo(tmp_path / "third"))
        assert "hf auth login" in caught.value.hint


def test_a_gated_repository_says_what_to_do(zoo, other, hub, tmp_path, monkeypatch):
    entry = add(zoo)
    hubs.push(entry.folder, NAME)
    hub.repo("org/mnli").gated = True
    use(monkeypatch, hub, tmp_path / "guest", "hf_guest")
    with pytest.raises(NetworkError, match="is gated") as caught:
        hubs.pull(NAME, other)
    assert "Ask for access" in caught.value.hint
    hub.repo("org/mnli").gated = False
    assert hubs.pull(NAME, other).manifest == entry.manifest


def test_the_stored_login_is_used(zoo, other, hub, tmp_path, monkeypatch):
    use(monkeypatch, hub, tmp_path, "")
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text("hf_owner")
    entry = add(zoo)
    hubs.push(entry.folder, NAME, PushOptions(private=True))
    assert hubs.pull(NAME, other).manifest == entry.manifest
    (tmp_path / "token").unlink()
    with pytest.raises(NetworkError, match="token"):
        hubs.push(entry.folder, NAME)


# -------------------------------------------------------------------------------------- offline


@pytest.mark.long
def test_a_warm_cache_serves_without_a_socket(zoo, hub, tmp_path, monkeypatch):
    entry = add(zoo)
    hubs.push(entry.folder, NAME, PushOptions(tags=("v1",)))
    hubs.pull(f"{NAME}@v1", Zoo(tmp_path / "warm"))

    def refuse(*_: object, **__: object):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    got = hubs.pull(f"{NAME}@v1", Zoo(tmp_path / "other"), offline=True)
    assert got.manifest == entry.manifest
    assert contents(got.folder)[CARD]
    with pytest.raises(OfflineError, match="not in the cache"):
        hubs.pull(f"{NAME}@v2", Zoo(tmp_path / "other"), offline=True)
