"""Backbones as many repositories hold them: a SentencePiece model and weights of torch's format."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest
import sentencepiece
import torch
from integration.hub_server import HubServer
from safetensors.torch import load_file
from support.models import encoder
from support.trained import TEXTS

BERT = {"bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]", "pad_piece": "[PAD]"}
NUMBERS = {"bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_id": 0}
REPOSITORIES = {
    "xlm-roberta": ("sentencepiece.bpe.model", "XLMRobertaTokenizer", {}),
    "deberta-v2": ("spm.model", "", {**BERT, **NUMBERS, "user_defined_symbols": ["[MASK]"]}),
    "mt5": ("spiece.model", "T5Tokenizer", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}),
}
"""Model type to the tokenizer's file, its class where the repository says it, and its pieces."""


def pieces(**options):
    target = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=target,
        vocab_size=100,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return target.getvalue()


def files(model_type, folder):
    """The files of such a repository, and the weights in them."""
    name, tokenizer_class, options = REPOSITORIES[model_type]
    encoder(model_type, vocab_size=420).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    config = {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
    return {
        "config.json": (folder / "config.json").read_bytes(),
        "pytorch_model.bin": (folder / "pytorch_model.bin").read_bytes(),
        "tokenizer_config.json": json.dumps(config).encode(),
        name: pieces(**options),
    }


LOAD = """
from xstilts.backbone.backbone import Backbone
backbone = Backbone.load("org/encoder")
encoded = backbone.tokenizer("a man runs home", return_offsets_mapping=True)
print(backbone.identity.fingerprint, encoded["offset_mapping"][-2:])
"""


@pytest.mark.long
@pytest.mark.parametrize("model_type", REPOSITORIES)
def test_a_repository_without_newer_files_is_loaded_and_nobody_is_asked_to_change_it(
    model_type, tmp_path
):
    with HubServer() as hub:
        hub.put_repo("org/encoder", files(model_type, tmp_path))
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub")}
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("HF_", "TRANSFORMERS_", "DISABLE_SAFE"))
        }
        done = subprocess.run(
            [sys.executable, "-c", LOAD],
            env={**kept, **settings, "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        asked = [path for _, path, _ in hub.requests]
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    fingerprint, offsets = done.stdout.split(maxsplit=1)
    assert len(fingerprint) == 64
    assert "15)" in offsets
    assert any(path.endswith("pytorch_model.bin") for path in asked)
    assert [
        path for path in asked if re.fullmatch("/api/models/org/encoder(/commits.*)?", path)
    ] == []
