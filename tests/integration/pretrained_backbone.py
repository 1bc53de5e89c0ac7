"""Pretrain a small XLM-R by masked language modelling on the training-safe real files below DATA.

    python tests/integration/pretrained_backbone.py DATA FOLDER [--steps N]

FOLDER/model is the backbone (`--backbone FOLDER/model`), FOLDER/corpus/SOURCES.tsv lists every text
that was read, FOLDER/loss.json holds the masked-language-modelling loss of each language on lines
held out of training. Killed, the same command goes on. Text that any reported score is evaluated on
stays out: no Tatoeba, TICO-19, UDHR, udpos or UD test, XQuAD, TyDiQA dev, XCOPA or PAWS-X. NTREX is
in, so retrieval on NTREX says nothing about this backbone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import torch

LAYERS, HIDDEN, HEADS, VOCABULARY, LENGTH = 6, 256, 4, 12_000, 128
HELD_OUT = 50
CHUNK = 50
"""Lines of one language that stay together, so that rows have one language and steps have many."""
# Task, split and languages.
TEXTS = {
    (
        "ntrex",
        "test.source",
    ): "ar de el es et eu fa fi fr he hi hu id it ja ko nl pt ru sw th tr vi zh",
    ("ntrex", "test.target"): "de",  # its English side
    ("mlqa", "validation"): "en de es zh",
    ("xnli", "validation"): "en de es fr ru sw tr zh",
    ("tydiqa", "train"): "en",
    ("cad_nli", "train"): "en",
    ("socialiqa", "validation"): "en",
    ("cosmosqa", "validation"): "en",
    ("codah", "train"): "en",
    ("copa", "train"): "en",
    ("wikigold", "train"): "en",
    ("indonli", "validation"): "id",
    ("jcommonsenseqa", "validation"): "ja",
    ("ud", "train"): "en mr te",
    ("masakhaner", "train"): "sw",
    ("nusax_senti", "train"): "en id jv min su",
}


def main() -> None:
    """Write the corpus, a model of random weights, then train and export it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    wanted = parser.parse_args()
    corpus, start = wanted.folder / "corpus", wanted.folder / "start"
    if not (corpus / "SOURCES.tsv").is_file():
        write_corpus(wanted.data, corpus)
    if not (start / "config.json").is_file():
        draw(corpus, start)
    always = ["--data", corpus, "--zoo", wanted.folder / "zoo", "--offline", "--json"]
    os.environ["XSTILTS_HOME"] = str(wanted.folder / "home")
    settings = {
        "train.max_steps": wanted.steps,
        "train.batch_size": 16,
        "train.max_length": LENGTH,
        "train.lr": 5e-4,
        "train.warmup": 0.06,
        "train.select": "last",
        "train.checkpoint_every": 200,
    }
    text = f"mul={corpus / 'mul.txt'}"
    train = ["train", "mlm", "--backbone", start, "--name", "small", "--text", text]
    train += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    print(xstilts(always, train))
    if not (wanted.folder / "model").is_dir():
        xstilts(always, ["export", "merged", "small", "--to", wanted.folder / "model",
                         "--backbone", start])  # fmt: skip
    losses = masked_losses(wanted.folder)
    (wanted.folder / "loss.json").write_text(json.dumps(losses, indent=1) + "\n")
    print(json.dumps(losses))


def xstilts(always: list[object], command: list[object]) -> str:
    """Run a command of the toolkit; its standard output."""
    words = [sys.executable, "-m", "xstilts", *map(str, always), *map(str, command)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def write_corpus(data: Path, corpus: Path) -> None:
    """`mlm/train-<language>.txt`, `mlm/dev-<language>.txt` and the list of what was read."""
    from xstilts.config.load import load_task
    from xstilts.data.sources import load

    lines: dict[str, dict[str, None]] = {}
    sources = []
    for (name, split), codes in TEXTS.items():
        task = load_task(name)
        for code in codes.split():
            for row in load(task, split, code, data, offline=True):
                texts = lines.setdefault(row.language, {})
                texts |= dict.fromkeys(" ".join(text.split()) for text in texts_of(row.fields))
            sources.append(f"{name}\t{split}\t{code}\n")
    (corpus / "mlm").mkdir(parents=True, exist_ok=True)
    chunks = []
    for code, unique in lines.items():
        texts = list(unique)
        step = max(1, len(texts) // HELD_OUT)
        held = set(range(0, len(texts), step))
        for part, wanted in (("train", False), ("dev", True)):
            chosen = [text for n, text in enumerate(texts) if (n in held) == wanted and text]
            (corpus / "mlm" / f"{part}-{code}.txt").write_text("\n".join(chosen) + "\n")
            if not wanted:
                chunks += ["\n".join(chosen[n : n + CHUNK]) for n in range(0, len(chosen), CHUNK)]
    random.Random(0).shuffle(chunks)
    (corpus / "mul.txt").write_text("\n".join(chunks) + "\n")
    (corpus / "SOURCES.tsv").write_text("".join(sources))


def texts_of(fields: dict) -> list[str]:
    """The texts of a row; words are joined."""
    if "words" in fields:
        return [" ".join(fields["words"])]
    texts = [value for value in fields.values() if isinstance(value, str)]
    return texts + [text for value in fields.values() if isinstance(value, tuple) for text in value]


def draw(corpus: Path, folder: Path) -> None:
    """A tokenizer of the corpus and an XLMRobertaModel of random weights."""
    from support.random_xlmr import write_random
    from support.tokenizers import tiny_tokenizer

    files = sorted((corpus / "mlm").glob("train-*.txt"))
    texts = (line for path in files for line in path.read_text("utf-8").splitlines())
    tokenizer = tiny_tokenizer(texts, VOCABULARY)
    write_random(folder, tokenizer, layers=LAYERS, hidden=HIDDEN, heads=HEADS)


@torch.inference_mode()
def masked_losses(folder: Path) -> dict[str, float]:
    """Mean loss over masked sub-words of each language's held-out lines, in nats."""
    from xstilts.api import load
    from xstilts.config.load import load_task
    from xstilts.data.features import collate
    from xstilts.data.sources import load as rows_of
    from xstilts.tasks.formats import FORMATS

    loaded = load("small", backbone=str(folder / "start"), zoo=folder / "zoo")
    task, made = load_task("mlm"), FORMATS.get("masked_lm")
    losses = {}
    for path in sorted((folder / "corpus" / "mlm").glob("dev-*.txt")):
        code = path.stem.removeprefix("dev-")
        rows = rows_of(task, "validation", code, folder / "corpus", offline=True)
        features = made.encode(rows, loaded.tokenizer, task, LENGTH)
        batch = collate(features, range(len(features)), loaded.tokenizer.pad_token_id)
        batch = made.corrupt(batch, loaded.tokenizer, task, torch.Generator().manual_seed(0))
        with loaded.model.attached():
            hidden = loaded.model.backbone(batch.input_ids, batch.attention_mask)
            head = loaded.model.heads["mlm"]
            losses[code] = round(float(made.loss(head(hidden, batch), batch).mean()), 3)
    return losses


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
