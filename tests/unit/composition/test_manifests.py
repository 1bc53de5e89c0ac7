"""What a new manifest records of where it was made."""

from __future__ import annotations

from support.models import tiny_backbone

from xstilts.backbone.machine import machine
from xstilts.composition.manifests import new_manifest
from xstilts.config.load import load_task
from xstilts.zoo import read_manifest, write_manifest
from xstilts.zoo.card import write_card


def test_the_machine_is_recorded_outside_the_digest(tmp_path):
    folders = tmp_path / "here", tmp_path / "there"
    backbone = tiny_backbone()
    made = new_manifest("own", "lora", backbone, head=load_task("mnli"), run="0a" * 32)
    other = made.model_copy(
        update={"versions": {**made.versions, "cpu": "Another", "threads": "9"}}
    )
    for folder, manifest in zip(folders, (made, other), strict=True):
        folder.mkdir()
        write_manifest(folder, manifest)
    here, there = map(read_manifest, folders)
    assert here.versions.items() >= machine().items()
    assert {"cpu", "threads", "kernels", "onednn", "blas", "xstilts"} <= here.versions.keys()
    assert there.versions["cpu"] == "Another"
    assert here.digest == there.digest


def test_the_card_says_what_equal_inputs_mean(tmp_path):
    write_manifest(tmp_path, new_manifest("own", "lora", tiny_backbone(), run="0a" * 32))
    write_card(tmp_path, [])
    card = " ".join((tmp_path / "README.md").read_text().split())
    assert f"digest of the training's inputs | `{'0a' * 32}`" in card
    assert "never the same weights" in card
