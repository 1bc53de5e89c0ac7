"""A store or a hub that does not answer is said at once."""

from __future__ import annotations

import json
import time

import pytest
from support.zoo_modules import add

from xstilts.cli import main
from xstilts.cli.doctor import diagnose
from xstilts.config import hub_models
from xstilts.errors import NetworkError, OfflineError
from xstilts.zoo import Zoo, hubs
from xstilts.zoo.hubs import remote


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint=http://127.0.0.1:9")
    monkeypatch.setattr("xstilts.zoo.hubs.remote.getproxies", dict)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub_models._answers.cache_clear()


@pytest.mark.parametrize("scheme", ["s3", "gs", "abfs", "az"])
def test_a_store_that_does_not_answer(scheme, nobody, tmp_path):
    if scheme == "s3":
        pytest.importorskip("botocore")
    entry, zoo = add(Zoo(tmp_path / "zoo")), Zoo(tmp_path / "other")
    for go in (
        lambda **how: hubs.pull(f"{scheme}://bucket/zoo", zoo, **how),
        lambda **how: hubs.push(entry.folder, f"{scheme}://bucket/zoo", **how),
    ):
        began = time.perf_counter()
        with pytest.raises(NetworkError, match=r"reached: http://127\.0\.0\.1:9 does not"):
            go()
        assert time.perf_counter() - began < 3
        with pytest.raises(OfflineError, match="this run is offline"):
            go(offline=True)


def _hub(tmp_path, **how):
    found = diagnose(tmp_path, tmp_path, None, **{"offline": False, "ask_hub": True, **how})
    return next(item for item in found if item.name == "hub")


def test_doctor_asks_the_hub(nobody, tmp_path, monkeypatch):
    began = time.perf_counter()
    item = _hub(tmp_path)
    assert item.value == "not reached: http://127.0.0.1:9 does not answer"
    assert "HF_ENDPOINT" in item.advice
    assert time.perf_counter() - began < 3
    assert _hub(tmp_path, offline=True).value == "not asked"

    monkeypatch.setattr(hub_models, "no_network", lambda _offline: None)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    item = _hub(tmp_path)
    assert item.value == "reached, without a token"
    assert "hf auth login" in item.advice


def test_doctor_ends_well_without_a_network(nobody, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        main(["--json", "doctor", "--hub"])
    assert not caught.value.code
    assert json.loads(capsys.readouterr().out)["hub"]["value"].startswith("not reached")


@pytest.mark.parametrize(
    ("url", "environment", "host"),
    [
        ("abfs://zoo@mine.dfs.core.windows.net/a", {}, "https://mine.blob.core.windows.net"),
        ("abfs://zoo/a", {"ACCOUNT_NAME": "mine"}, "https://mine.blob.core.windows.net"),
        ("az://zoo/a", {"CONNECTION_STRING": "A=b;AccountName=own;K=x=="}, "https://own.blob."),
        ("abfs://zoo/a", {}, ""),
    ],
)
def test_the_service_of_an_azure_url(url, environment, host, monkeypatch):
    for name in ("ACCOUNT_NAME", "CONNECTION_STRING"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
    found = remote._endpoint(url)
    assert found.startswith(host) if host else not found
