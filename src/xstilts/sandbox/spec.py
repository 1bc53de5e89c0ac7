"""What decides a sandbox world."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from xstilts.config.specs import Seed, Spec

POST_NORM = "post_norm"
"""The usual architecture: of a small XLM-R."""


Share = Annotated[float, Field(ge=0, le=1)]


class SandboxSpec(Spec):
    """Sizes, seed and planted effects of a sandbox world.

    MNLI and QQP have `train_rows` training rows, every other task a quarter; dev and test files of
    the other tasks have two thirds of `dev_rows` and half of `test_rows`.

    Planted null: tasks `snli` and `cad_nli` come from one generator, equally many rows, different
    draws; whatever a study finds between them is chance. Planted effect: `noise={"cad_nli": 1.0}`
    makes one of the two useless, and nothing else in the world changes, not even the backbone.

    Attributes:
        seed: Of words, facts, rows and the backbone; another seed is another world.
        architecture: Of the backbone: a file of `xstilts.backbone.architectures`.
        noise: Task name to the share (0 to 1) of its source-language training rows whose labels are
            dealt out anew among themselves: choices, classes and tags are shuffled, answers become
            another part of the context. Dev and test rows stay right.
        bitext_rows: Sentence pairs of Tatoeba and of each domain's bitext.
        text_rows: Lines of unlabelled text for each language.
    """

    seed: Seed = 7
    architecture: str = POST_NORM
    train_rows: int = 6000
    dev_rows: int = 300
    test_rows: int = 300
    bitext_rows: int = 300
    text_rows: int = 3000
    pretraining_steps: int = 250
    noise: dict[str, Share] = Field(default_factory=dict)

    def key(self) -> dict[str, Any]:
        """What tells this world from others; the usual architecture is not named in it."""
        usual = {"architecture"} if self.architecture == POST_NORM else set()
        return self.model_dump(exclude=usual)

    @property
    def few(self) -> dict[str, int]:
        """Rows of a split for every task but MNLI and QQP."""
        return {
            "train": max(self.train_rows // 4, 8),
            "validation": max(self.dev_rows * 2 // 3, 8),
            "test": max(self.test_rows // 2, 8),
        }
