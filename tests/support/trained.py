"""A backbone folder with a tokenizer, and modules of every format on it, all random."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from support.models import encoder, randomise
from support.tokenizers import tiny_tokenizer

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import compose
from xstilts.composition.heads import save_heads
from xstilts.composition.load import load_modules, save_operator_parameters
from xstilts.composition.resolve import pinned, resolve_expression
from xstilts.composition.task_model import Head, TaskModel, head_tensors, probe
from xstilts.config.load import load_method, load_task
from xstilts.modules.methods import METHODS
from xstilts.zoo import Manifest, Zoo, write_manifest
from xstilts.zoo.manifest import Parent

TEXTS = [
    "a man runs home",
    "somebody moves quickly",
    "nobody is there",
    "where does the man run ?",
    "the old man runs to the house near the river",
]


def backbone_folder(folder: Path, model_type: str = "xlm-roberta", **sizes: int) -> Path:
    """A tiny XLM-R, or another model, as a model folder; `sizes` go into its config."""
    tokenizer = tiny_tokenizer(TEXTS * 20, 120)
    model = encoder(model_type, vocab_size=len(tokenizer), **sizes)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def add_module(zoo: Zoo, backbone: Backbone, task_name: str, preset: str = "seq_bn", seed: int = 7):
    """A random module with a random head for a task, or for a YAML of one's own."""
    spec, task = load_method(preset), load_task(task_name)
    task_name = task.name
    method = METHODS.get(spec.method)
    values = method.Options.model_validate(spec.options)

    def write(folder: Path) -> Manifest:
        adapter = method.create(backbone.shape, values, torch.Generator().manual_seed(seed))
        randomise(adapter, seed, 0.3)
        if spec.method == "full":
            randomised = {k: p.detach() * 1.1 for k, p in backbone.encoder.named_parameters()}
            adapter.encoder_weights = randomised
        method.save(adapter, folder, task_name, backbone)
        head = Head.new(task, backbone, torch.Generator().manual_seed(seed))
        randomise(head.module, seed, 0.5)
        save_file(head_tensors(head), folder / "head.safetensors")
        return write_manifest(
            folder,
            Manifest(
                name=task_name,
                kind=method.KIND,
                task=task_name,
                format=task.format,
                family=task.head_family,
                method=spec.method,
                preset=preset,
                options=adapter.options.model_dump(),
                backbone=backbone.identity,
                labels=task.labels,
                source_language=task.source_language,
                seed=seed,
            ),
        )

    return zoo.add(write)


def add_composition(
    zoo: Zoo, backbone: Backbone, text: str, task_name: str, name: str, seed: int = 7
):
    """A head over a frozen expression, its operators' own parameters random, as a module."""
    task = load_task(task_name)

    def write(folder: Path) -> Manifest:
        expression, entries = resolve_expression(text, zoo, backbone)
        modules = load_modules(entries, zoo, backbone)
        below = compose(expression, modules, backbone.shape, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(seed)
        for parameter in below.operator_parameters().values():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        save_operator_parameters(below, folder)
        head = Head.new(task, backbone, generator)
        randomise(head.module, seed, 0.5)
        save_heads({task_name: head}, folder)
        model = TaskModel(backbone, below, {})
        with model.attached():
            values = probe(model)
        pairs = ((key, entry.manifest.digest) for key, entry in entries.items())
        return write_manifest(
            folder,
            Manifest(
                name=name,
                kind="composition",
                task=task_name,
                format=task.format,
                family=task.head_family,
                method="head",
                preset="head",
                backbone=backbone.identity,
                composition=pinned(expression, entries),
                parents=[Parent(reference=key, digest=digest) for key, digest in pairs],
                labels=task.labels,
                source_language=task.source_language,
                probe=values,
            ),
        )

    return zoo.add(write)
