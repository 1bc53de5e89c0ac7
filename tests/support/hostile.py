"""Module folders that somebody made to do harm, from a seed.

Each starts as a sound module. What is then done to it is covered by a fresh digest and fresh
checksums wherever its author could have done so, so that it is refused for what it is.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from support.zoo_modules import build

from xstilts.files import json_text, sha256_file
from xstilts.zoo.manifest import UNLISTED, content_digest, role_of

HOOK = "hostile_hook"
"""A Python module on the path that writes the sentinel when it is imported."""


class Payload:
    """Writes the sentinel when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.sentinel, "executed")


@dataclass
class Attack:
    """One folder in the making.

    Attributes:
        folder: The module.
        outside: A folder beside it that must stay as it is.
        sentinel: Written by whatever is executed.
    """

    folder: Path
    outside: Path
    sentinel: Path
    draws: random.Random
    preset: str

    def values(self) -> dict[str, Any]:
        return json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))

    def write(self, values: dict[str, Any]) -> None:
        values["digest"] = content_digest(values)
        (self.folder / "manifest.json").write_text(json_text(values), encoding="utf-8")

    def record(self, name: str, stated: str = "") -> dict[str, Any]:
        path = self.folder / name
        size, sha = path.stat().st_size, sha256_file(path)
        return {"path": stated or name, "size": size, "sha256": sha, "role": role_of(name)}

    def seal(self, **change: Any) -> None:
        """Make manifest, checksums and digest agree with the files that are there."""
        names = sorted(p.name for p in self.folder.iterdir() if p.name not in UNLISTED)
        self.write({**self.values(), "files": [self.record(n) for n in names], **change})

    def relist(self, name: str, stated: str) -> None:
        """List a file under another name."""
        values = self.values()
        values["files"] = [
            {**f, "path": stated} if f["path"] == name else f for f in values["files"]
        ]
        self.write(values)

    @property
    def weights(self) -> str:
        return "adapter.safetensors" if self.preset == "seq_bn" else "adapter_model.safetensors"


# ---------------------------------------------------------------------------------------- names


def traversal(a: Attack) -> None:
    """A name that climbs out of the folder, to a file that is there."""
    name = a.draws.choice(["head.safetensors", "adapter_config.json", a.weights])
    up = "../" * a.draws.randint(1, 3)
    stated = a.draws.choice(
        [
            f"{up}outside/{name}",
            f"x/{up}{name}",
            f"..\\{name}",
            f"./{name}",
            f"{up}{name}",
            f"%2e%2e/{name}",
            f"sub/{name}",
            f".hidden-{name}",
        ]
    )
    (a.outside / name).write_bytes((a.folder / name).read_bytes())
    a.relist(name, stated)


def absolute(a: Attack) -> None:
    name = a.draws.choice(["head.safetensors", "adapter_config.json"])
    (a.outside / name).write_bytes((a.folder / name).read_bytes())
    place = a.outside / name
    stated = a.draws.choice(
        [str(place), f"/{place}", f"file://{place}", "C:\\Windows\\x.json", "~/.ssh/config.json"]
    )
    a.relist(name, stated)


def link(a: Attack) -> None:
    """A link to what is outside, to the folder itself, or to nothing."""
    name = a.draws.choice(["head.safetensors", "adapter_config.json", a.weights, "manifest.json"])
    target = a.outside / name
    target.write_bytes((a.folder / name).read_bytes())
    (a.folder / name).unlink()
    kind = a.draws.choice(["file", "file", "relative", "nowhere", "folder"])
    if kind == "relative":
        (a.folder / name).symlink_to(os.path.relpath(target, a.folder))
    elif kind == "nowhere":
        (a.folder / name).symlink_to(a.outside / "nothing")
    elif kind == "folder":
        (a.folder / name).symlink_to(a.outside, target_is_directory=True)
    else:
        (a.folder / name).symlink_to(target)


_LOOKALIKES = {"a": "а", "e": "е", "o": "о", "p": "р", "c": "с", "d": "ԁ", "h": "һ", "s": "ѕ"}


def lookalike(a: Attack) -> None:
    """Cyrillic letters, full-width letters, invisible marks: in file names or in the module's."""
    if a.draws.random() < 0.4:
        name = a.draws.choice(
            ["mnlі", "ｍnli", "mn\u200bli", "mnli\u202e", "mnlı", "mnli ", "Mnli"]
        )
        a.seal(name=name)
        return
    name = a.draws.choice(["head.safetensors", "adapter_config.json", a.weights])
    changed = a.draws.choice(
        [
            "".join(_LOOKALIKES.get(c, c) if i == 1 else c for i, c in enumerate(name)),
            name.replace(".", "．"),
            name.replace("a", "а", 1),
            f"\u202e{name}",
            f"{name[:3]}\u200b{name[3:]}",
        ]
    )
    if changed == name:
        changed = "һead.safetensors"
    (a.folder / name).rename(a.folder / changed)
    a.seal()


# -------------------------------------------------------------------------------------- weights


def pickled(a: Attack) -> None:
    """A pickle by the name of a tensor file, or openly a pickle."""
    data = pickle.dumps(Payload(a.sentinel), protocol=a.draws.randint(0, 4))
    name = a.draws.choice([a.weights, "head.safetensors", "weights.bin", "x.pkl", "model.pt"])
    if a.draws.random() < 0.4:
        torch.save({"weight": torch.zeros(2), "hook": Payload(a.sentinel)}, a.folder / name)
    else:
        (a.folder / name).write_bytes(data)
    a.seal()


def other_hash(a: Attack) -> None:
    """Bytes or checksums changed after the fact."""
    name = a.draws.choice(["head.safetensors", a.weights])
    kind = a.draws.choice(["flip", "cut", "grow", "checksum", "size", "digest", "remove"])
    path = a.folder / name
    data = bytearray(path.read_bytes())
    if kind == "flip":
        data[a.draws.randrange(len(data))] ^= 1 << a.draws.randrange(8)
        path.write_bytes(data)
    elif kind == "cut":
        path.write_bytes(data[: a.draws.randrange(len(data))])
    elif kind == "grow":
        path.write_bytes(data + b"\0" * a.draws.randint(1, 9))
    elif kind == "remove":
        path.unlink()
    else:
        values = a.values()
        record = next(f for f in values["files"] if f["path"] == name)
        if kind == "checksum":
            record["sha256"] = f"{a.draws.getrandbits(256):064x}"
        elif kind == "size":
            record["size"] += a.draws.choice([-1, 1, 2**40])
        if kind == "digest":
            values["digest"] = f"{a.draws.getrandbits(256):064x}"
            (a.folder / "manifest.json").write_text(json_text(values), encoding="utf-8")
        else:
            a.write(values)


def shapes(a: Attack) -> None:
    """Tensors of another width, depth or type of module."""
    name = a.draws.choice([a.weights, "head.safetensors"])
    tensors = load_file(a.folder / name)
    matrices = [key for key, tensor in tensors.items() if tensor.dim() == 2]
    key = a.draws.choice([k for k in matrices if "embedding" not in k])
    tensor = tensors.pop(key)
    kind = a.draws.choice(["wide", "flat", "deep"])
    if kind == "wide" or name == "head.safetensors":
        tensors[key] = torch.zeros(tensor.shape[0] + 3, tensor.shape[1] + 5)
    elif kind == "flat":
        tensors[key] = tensor.reshape(-1).clone()
    else:
        tensors[key.replace("layer.", "layer.9")] = tensor
        tensors[key] = tensor.clone()
    save_file(tensors, a.folder / name)
    a.seal()


def header(a: Attack) -> None:
    """A tensor file whose first bytes promise too much, or lie."""
    name = a.draws.choice([a.weights, "head.safetensors"])
    path = a.folder / name
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    kind = a.draws.randrange(8)
    body = b"x" * 8
    if kind == 0:
        data = struct.pack("<Q", a.draws.choice([2**63, 2**40, 2**32, 0, 1])) + b"{}"
    elif kind == 1:  # a header of 17 MB that is really there
        text = b"{" + b" " * (17 * 2**20) + b"}"
        data = struct.pack("<Q", len(text)) + text
    else:
        entry |= [
            {"shape": [2**40, 2**40]},
            {"shape": [-1]},
            {"data_offsets": [0, 2**60]},
            {"data_offsets": [8, 0]},
            {"dtype": "OBJECT"},
            {"shape": [[2]]},
        ][kind - 2]
        text = json.dumps({"a": entry}).encode()
        data = struct.pack("<Q", len(text)) + text + body
    path.write_bytes(data)
    a.seal()


# ----------------------------------------------------------------------------------------- JSON


def deep(a: Attack) -> None:
    """Nesting that exhausts a parser's stack."""
    depth = a.draws.choice([40, 1000, 100_000, 1_000_000])
    nested = a.draws.choice(["[", '{"a":']) * depth
    closed = ("]" if nested[0] == "[" else "1" + "}") * (depth if nested[0] == "[" else 1)
    text = nested + (closed if nested[0] == "[" else "1" + "}" * depth)
    name = a.draws.choice(["manifest.json", "adapter_config.json"])
    if name == "manifest.json":
        text = '{"schema_version": 1, "options": ' + text + "}"
        (a.folder / name).write_text(text)
    else:
        (a.folder / name).write_text('{"config": ' + text + "}")
        a.seal()


def duplicate(a: Attack) -> None:
    """A key twice: one for the checker, one for the reader."""
    name = a.draws.choice(["manifest.json", "adapter_config.json"])
    path = a.folder / name
    text = path.read_text(encoding="utf-8")
    key = a.draws.choice([k for k in json.loads(text) if f'"{k}"' in text])
    value = a.draws.choice(['"x"', "1", "null", "[]"])
    path.write_text(text.replace("{", f'{{"{key}": {value},', 1), encoding="utf-8")
    if name != "manifest.json":
        a.seal()


def hook(a: Attack) -> None:
    """Config keys that make a library import, load or match something of the author's."""
    names = ["adapter_config.json"]
    values: dict[str, Any] = a.draws.choice(
        [
            {"auto_map": {"AutoModel": f"{HOOK}.Model"}},
            {"auto_mapping": {"parent_library": HOOK, "base_model_class": "Model"}},
            {"trust_remote_code": True},
            {"megatron_core": HOOK},
            {"megatron_config": {"x": 1}},
            {"tokenizer_kwargs": {"trust_remote_code": True}},
            {"custom_pipelines": {"x": {"impl": f"{HOOK}.Pipeline"}}},
            {"target_modules": "(a+)+$"},
            {"target_modules": [".*"]},
            {"rank_pattern": {"(a+)+$": 8}},
            {"modules_to_save": "(.*)"},
            {"_target_": f"{HOOK}.Model"},
            {"__class__": HOOK},
            {"base_model_name_or_path": str(a.outside)},
            {"model_name": "../../outside"},
            {"model_name": "https://example.org/model"},
            {"unheard_of": 1},
        ]
    )
    config = json.loads((a.folder / names[0]).read_text(encoding="utf-8"))
    deeper = isinstance(config.get("config"), dict) and a.draws.random() < 0.5
    (config["config"] if deeper else config).update(values)
    (a.folder / names[0]).write_text(json_text(config), encoding="utf-8")
    a.seal()


def base(a: Attack) -> None:
    """Made for another backbone, openly or in hiding."""
    values = a.values()
    change = a.draws.choice(
        [
            {"fingerprint": f"{a.draws.getrandbits(256):064x}"},
            {"hidden_size": 32},
            {"num_layers": 1},
            {"model_type": "bert"},
            {"repo": "other/base"},
            {"vocab_size": 7, "fingerprint": "0" * 64},
        ]
    )
    a.seal(backbone=values["backbone"] | change)


ATTACKS: dict[str, Callable[[Attack], None]] = {
    "traversal names": traversal,
    "absolute paths": absolute,
    "symlinks": link,
    "look-alike names": lookalike,
    "pickles": pickled,
    "wrong hashes": other_hash,
    "wrong shapes": shapes,
    "headers": header,
    "deep JSON": deep,
    "duplicate keys": duplicate,
    "config hooks": hook,
    "wrong base": base,
}


def hostile(number: int, place: Path, sentinel: Path) -> tuple[str, Path]:
    """The kind and the folder of the `number`th hostile module; the same for the same number."""
    draws = random.Random(number)
    kind = list(ATTACKS)[number % len(ATTACKS)]
    folder, outside = place / "module", place / "outside"
    folder.mkdir(parents=True)
    outside.mkdir()
    preset = draws.choice(["seq_bn", "lora"])
    build(folder, preset)
    ATTACKS[kind](Attack(folder, outside, sentinel, draws, preset))
    return kind, folder
