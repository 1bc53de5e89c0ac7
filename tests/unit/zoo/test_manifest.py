from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path

import jsonschema
import pytest
import torch
from support.models import tiny_backbone, tokens
from support.zoo_modules import build

from xstilts.composition.heads import load_heads
from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.methods import METHODS
from xstilts.zoo import Entry, Manifest, read_manifest, require_name, verify_folder, write_manifest
from xstilts.zoo.manifest import SCHEMA_VERSION, schema_text
from xstilts.zoo.strict_json import parse_json
from xstilts.zoo.tensors import read_header

GOLDEN = Path(__file__).parents[2] / "golden" / "modules"
SHIPPED = Path(__file__).parents[3] / "src" / "xstilts" / "zoo" / "manifest.schema.json"


@pytest.fixture
def module(tmp_path):
    folder = tmp_path / "module"
    folder.mkdir()
    build(folder)
    return folder


def edit(folder, **changes):
    """Change the manifest and give it the digest that fits, as an attacker would."""
    values = json.loads((folder / "manifest.json").read_text())
    values |= changes
    rest = {k: v for k, v in values.items() if k not in ("digest", "created", "versions")}
    text = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    values["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(values))


def record(folder, name):
    data = (folder / name).read_bytes()
    values = json.loads((folder / "manifest.json").read_text())
    files = [f for f in values["files"] if f["path"] != name]
    entry = {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"files": [*files, entry | {"role": "other"}]}


# ----------------------------------------------------------------------------------- manifest


def test_write_then_read_gives_the_same_values(module):
    manifest = read_manifest(module)
    assert manifest.name == "mnli"
    assert [f.path for f in manifest.files] == [
        "adapter.safetensors",
        "adapter_config.json",
        "head.safetensors",
    ]
    assert [f.role for f in manifest.files] == ["weights", "config", "head"]
    for entry in manifest.files:
        data = (module / entry.path).read_bytes()
        assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert verify_folder(module) == manifest


def test_digest_is_of_the_canonical_values(module):
    values = json.loads((module / "manifest.json").read_text())
    digest = values.pop("digest")
    del values["created"], values["versions"]
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).hexdigest()


def test_digest_ignores_time_versions_card_and_scores(module):
    before = read_manifest(module)
    (module / "README.md").write_text("a card")
    (module / "scores.json").write_text("[]")
    later = before.model_copy(update={"created": "2030-01-01", "versions": {"torch": "9"}})
    assert write_manifest(module, later).digest == before.digest
    assert verify_folder(module).digest == before.digest


@pytest.mark.parametrize("change", [{"seed": 8}, {"labels": ["a", "b", "c"]}, {"task": "qqp"}])
def test_digest_changes_with_what_the_module_is(module, change):
    before = read_manifest(module)
    assert write_manifest(module, before.model_copy(update=change)).digest != before.digest


def test_a_changed_manifest_is_refused(module):
    values = json.loads((module / "manifest.json").read_text())
    values["seed"] = 99
    (module / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match="its digest differs"):
        read_manifest(module)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "broken"),
        ("{", "broken"),
        ("[]", "no schema version"),
        ('{"schema_version": 99}', "newer than"),
        ('{"schema_version": "1"}', "no schema version"),
        ('{"schema_version": 1, "schema_version": 1}', "repeats"),
        ('{"schema_version": 1, "seed": NaN}', "no JSON number"),
        ('{"schema_version": 1, "seed": 1e999}', "too large a number"),
        ('{"schema_version": 1, "x": ' + "[" * 40 + "]" * 40 + "}", "nested more than 32"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"schema_version": 1, "name": "a\\u001b[31m"}', "control character U.001B"),
        ('{"schema_version": 1, "name": "a\\u202eb"}', "control character U.202E"),
        ('{"schema_version": 1}', "name: field required"),
    ],
)
def test_a_broken_manifest_says_why(tmp_path, text, reason):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(IntegrityError, match=reason):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_is_no_module(tmp_path):
    with pytest.raises(IntegrityError, match="no module"):
        read_manifest(tmp_path)


def test_a_manifest_of_five_megabytes_is_not_read(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b" " * 5 * 2**20)
    with pytest.raises(IntegrityError, match="more than 4194304"):
        read_manifest(tmp_path)


def test_unknown_keys_and_names_are_refused(module):
    edit(module, surprise=1)
    with pytest.raises(IntegrityError, match="surprise"):
        read_manifest(module)


@pytest.mark.parametrize("name", ["mnli", "tydiqa-fused", "a+b", "_x", "0", "a.b", "v1.2_3"])
def test_good_names(name, tmp_path):
    require_name(name)
    build(tmp_path, name=name)
    assert verify_folder(tmp_path).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "none",
        "Mnli",
        ".hidden",
        "-x",
        "+x",
        "a b",
        "a/b",
        "..",
        "mnlі",
        "a\n",
        "ｍnli",
        "x" * 97,
    ],
)
def test_bad_names(name):
    with pytest.raises(UsageError, match="cannot name a module"):
        require_name(name)


def test_the_shipped_schema_is_the_models(module):
    assert SHIPPED.read_text(encoding="utf-8") == schema_text()


def test_manifests_follow_the_shipped_schema(module):
    schema = json.loads(SHIPPED.read_text(encoding="utf-8"))
    values = json.loads((module / "manifest.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values | {"name": "Not A Name"}, schema)


def test_there_is_an_example_of_every_schema_version():
    assert sorted(path.name for path in GOLDEN.iterdir()) == [
        f"v{version}" for version in range(1, SCHEMA_VERSION + 1)
    ]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_every_past_version_loads(version):
    folder = GOLDEN / f"v{version}"
    manifest = verify_folder(folder)
    assert isinstance(manifest, Manifest)
    assert manifest.schema_version == SCHEMA_VERSION
    expected = json.loads((GOLDEN / f"v{version}" / "manifest.json").read_text())
    assert (manifest.name, manifest.digest) == (expected["name"], expected["digest"])
    header = read_header(folder / "adapter.safetensors")
    assert header["roberta.encoder.layer.0.output.adapters.mnli.adapter_up.weight"].shape == (4, 2)
    assert computes_something(manifest, folder)


def computes_something(manifest, folder):
    """Whether its weights act in an encoder of its backbone's sizes, and its head reads that."""
    sizes = {"hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size"}
    own = {"num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}
    stated = manifest.backbone.model_dump(include=sizes)
    where = tiny_backbone(**{own.get(name, name): size for name, size in stated.items()})
    adapter = METHODS.get(manifest.method).load(folder, where.shape)
    ids, mask = tokens(vocab=manifest.backbone.vocab_size)
    (head,) = load_heads(Entry(manifest, folder), where)
    without = head.module(where(ids, mask), None)
    with torch.no_grad(), where.attach(adapter.at):
        within = head.module(where(ids, mask), None)
    return within.shape == (len(ids), len(manifest.labels)) and not torch.equal(within, without)


# ------------------------------------------------------------------------------------- verify


def test_every_changed_byte_is_noticed(module):
    path = module / "adapter.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"'adapter.safetensors' is not the one"):
        verify_folder(module)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_truncated_file_is_noticed(module, cut):
    path = module / "head.safetensors"
    path.write_bytes(path.read_bytes()[: -cut or None] if cut else b"")
    with pytest.raises(IntegrityError, match=r"'head.safetensors' is not the one"):
        verify_folder(module)


def test_missing_and_extra_files(module):
    (module / "extra.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"'extra.json' is in no manifest"):
        verify_folder(module)
    (module / "extra.json").unlink()
    (module / "head.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"'head.safetensors' is missing"):
        verify_folder(module)


def test_links_and_folders_are_refused(module, tmp_path):
    (tmp_path / "elsewhere").write_bytes((module / "head.safetensors").read_bytes())
    (module / "head.safetensors").unlink()
    (module / "head.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match=r"'head.safetensors' is a link"):
        verify_folder(module)
    (module / "head.safetensors").unlink()
    os.mkfifo(module / "head.safetensors")
    with pytest.raises(IntegrityError, match=r"'head.safetensors' is no regular file"):
        verify_folder(module)


def test_a_linked_manifest_is_refused(module, tmp_path):
    (module / "manifest.json").rename(tmp_path / "m.json")
    (module / "manifest.json").symlink_to(tmp_path / "m.json")
    with pytest.raises(IntegrityError, match="no regular file"):
        verify_folder(module)


@pytest.mark.parametrize("name", ["weights.bin", "run.py", "x.pkl", "a.safetensors.exe"])
def test_file_types_that_can_carry_code_are_refused(module, name):
    (module / name).write_bytes(b"\x80\x04")
    edit(module, **record(module, name))
    with pytest.raises(IntegrityError, match=r"is of a type that is not allowed|broken"):
        verify_folder(module)


@pytest.mark.parametrize("name", ["../x.json", "/x.json", "a/b.json", ".x.json", "х.json"])
def test_names_that_leave_the_folder_are_refused(module, name):
    values = json.loads((module / "manifest.json").read_text())
    files = [
        {**f, "path": name} if f["path"].endswith("config.json") else f for f in values["files"]
    ]
    edit(module, files=files)
    with pytest.raises(IntegrityError, match="path"):
        verify_folder(module)


def safetensors(header: dict | bytes, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x04\x95" + b"x" * 40, "no safetensors file"),
        (struct.pack("<Q", 2**62) + b"{}", "no safetensors file"),
        (struct.pack("<Q", 20 * 2**20) + b" " * (21 * 2**20), "no safetensors file"),
        (safetensors(b"[]"), "invalid type: sequence"),
        (
            safetensors({"a": {**F32, "data_offsets": [4, 12]}}, b"x" * 12),
            "invalid offset",
        ),
        (safetensors({"a": F32, "b": {**F32}}, b"x" * 8), "invalid offset for tensor"),
        (safetensors({"a": F32}, b"x" * 9), "not fully covered"),
        (
            safetensors({"a": {**F32, "shape": [3]}}, b"x" * 8),
            "invalid shape, data type",
        ),
        (safetensors({"a": {**F32, "shape": [-2]}}, b"x" * 8), "invalid value: integer"),
        (safetensors({"a": {**F32, "shape": [True, 2]}}, b"x" * 8), "invalid type: boolean"),
        (safetensors({"a": {**F32, "dtype": "PICKLE"}}, b"x" * 8), "unknown variant `PICKLE`"),
        (safetensors({"a": {"dtype": "F32", "shape": [2]}}, b"x" * 8), "missing field"),
        (safetensors({"__metadata__": {"a": 1}}), "expected a string"),
        (safetensors({"a": 1}), "expected struct TensorInfo"),
        (safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000), "recursion limit"),
    ],
)
def test_unsound_safetensors_headers_are_refused(tmp_path, data, reason):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(IntegrityError, match=reason):
        read_header(tmp_path / "x.safetensors")


def test_a_sound_header_is_what_the_library_reads(module):
    from safetensors import safe_open

    found = read_header(module / "adapter.safetensors")
    with safe_open(module / "adapter.safetensors", "pt") as file:
        assert sorted(found) == sorted(file.keys())
        for name, tensor in found.items():
            assert list(tensor.shape) == file.get_slice(name).get_shape()


def test_tensors_of_another_backbone_are_refused(module):
    values = json.loads((module / "manifest.json").read_text())
    for change, reason in (
        ({"hidden_size": 32}, "hidden_size is 16"),
        ({"num_layers": 1}, "for a block past the 1th"),
        ({"model_type": "bert"}, "model_type is 'xlm-roberta'"),
        ({"repo": "other/base"}, "model_name is 'test/pico-xlm-roberta'"),
    ):
        edit(module, backbone=values["backbone"] | change)
        with pytest.raises(IntegrityError, match=reason):
            verify_folder(module)


def test_a_head_with_other_labels_is_refused(module):
    edit(module, labels=["yes", "no"])
    with pytest.raises(IntegrityError, match="3 scores for 2 labels"):
        verify_folder(module)


@pytest.mark.parametrize("preset", ["double_seq_bn", "par_bn", "lora", "full", "head"])
def test_every_method_makes_a_folder_that_verifies(tmp_path, preset):
    build(tmp_path, preset)
    assert verify_folder(tmp_path).preset == preset


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"auto_mapping": {"parent_library": "os"}}, "'auto_mapping' could run code"),
        ({"trust_remote_code": True}, "'trust_remote_code' could run code"),
        ({"megatron_core": "evil.module"}, "'megatron_core' could run code"),
        ({"target_modules": ".*"}, "'target_modules' is not a list of plain module names"),
        ({"target_modules": ["(a+)+$"]}, "'target_modules' is not a list of plain module names"),
        ({"rank_pattern": {"(a+)+$": 4}}, "'rank_pattern' has a key"),
        ({"base_model_name_or_path": "/etc/passwd"}, "holds a path"),
        ({"base_model_name_or_path": "other/base"}, "base_model_name_or_path is 'other/base'"),
        ({"tokenizer_name_or_path": "x"}, "not known"),
        ({"init_lora_weights": "../../x"}, "holds a path"),
        ({"runtime_config": {"x": "https://example.org"}}, "holds a path or an address"),
    ],
)
def test_config_keys_that_act_are_refused(tmp_path, change, reason):
    build(tmp_path, "lora")
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    edit(tmp_path, **record(tmp_path, "adapter_config.json"))
    with pytest.raises(IntegrityError, match=reason):
        verify_folder(tmp_path)


@pytest.mark.parametrize("key", ["auto_map", "_attn_implementation_internal", "quantization"])
def test_code_in_a_transformers_config_is_refused(tmp_path, key):
    build(tmp_path, "full")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: {"AutoModel": "x.Y"}}))
    edit(tmp_path, **record(tmp_path, "config.json"))
    with pytest.raises(IntegrityError, match=r"could run code|not known"):
        verify_folder(tmp_path)


def test_json_text_may_hold_any_script():
    assert parse_json('{"a": "été 中文 हिन्दी العربية"}'.encode()) == {"a": "été 中文 हिन्दी العربية"}
