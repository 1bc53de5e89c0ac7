"""Grids whose engine works in this process, and studies made small."""

from __future__ import annotations

import contextlib

import pytest

from xstilts.cli import grid_commands, main


def work_here(patch: pytest.MonkeyPatch) -> None:
    """Let the local engine compute in this process instead of starting others."""
    from xstilts.grid.engines import local

    def run(pool, _options, _stop):
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
            main([word for word in pool.command if word not in ("-m", "xstilts")])

    patch.setattr(local, "run", run)


def make_small(patch: pytest.MonkeyPatch, *, steps: int, targets: int) -> None:
    """Leave a study one seed, its first targets, one depth, some steps a training, few draws."""
    from xstilts.grid import spec
    from xstilts.train import recipe_graph

    plain_flags, plain_load = recipe_graph._merged, spec.load_study

    def merged(values, over):
        flags = plain_flags(values, over)
        train = flags.get("train", {})
        if "max_steps" in train:
            train["max_steps"] = steps
        if "save_every" in train:
            train["save_every"] = steps
        for source in (flags.get("source", {}), flags if "rows" in flags else {}):
            if source.get("rows"):
                source["rows"] = 8
        return flags

    def load(name, *, sandbox):
        study = plain_load(name, sandbox=sandbox)
        depths = study.depths and [study.answer.depth]
        kept = [t for n, t in enumerate(study.targets) if n < targets or t == "tatoeba"]
        return study.model_copy(update={"seeds": [1], "depths": depths, "targets": kept})

    patch.setattr(grid_commands, "DRAWS", 100)
    patch.setattr(recipe_graph, "_merged", merged)
    patch.setattr(spec, "load_study", load)
