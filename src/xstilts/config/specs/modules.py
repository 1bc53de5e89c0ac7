"""Methods and backbones: what a module is, and which encoder it belongs to."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from xstilts.config.specs.base import Spec
from xstilts.files import digest


class MethodSpec(Spec):
    """A preset of a training method. One YAML in `configs/methods`; the stem is the name.

    Attributes:
        method: A file in `methods`.
        options: Its options, such as `reduction_factor` or `rank`.
        train: Defaults for `TrainSpec` that belong to the method.
        sandbox: What the sandbox world's tiny backbone wants instead.
    """

    name: str
    method: str
    title: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    sandbox: dict[str, Any] = Field(default_factory=dict)
    citation: str = ""


class BackboneSpec(Spec):
    """A pretrained encoder. One YAML in `configs/backbones`.

    Attributes:
        repo: Hub id or a local folder.
        revision: Commit to pin; a branch such as `main` pins nothing. Empty for a local folder.
        retrieval_layer: Block whose output is pooled for retrieval (1-based, 0 is the embeddings).
        max_length: Longest input in sub-words that it was made for; 0 where only its config says,
            above whose longest input no row goes.
        pretraining: Corpus that says which languages it saw (`xstilts.data.languages`); empty where
            that is unknown.
        default_language: Language as the model names it, such as `en_XX`, whose parts serve rows of
            languages that have none, where a model has parts by language; empty refuses such rows.
    """

    name: str
    repo: str
    revision: str = ""
    title: str = ""
    retrieval_layer: int = Field(ge=0)
    max_length: int = Field(default=0, ge=0)
    pretraining: str = ""
    default_language: str = ""
    license: str = ""
    note: str = ""

    @property
    def pinned(self) -> str:
        """The commit that `revision` names; empty where it is a branch, which moves."""
        return self.revision if re.fullmatch("[0-9a-f]{40}", self.revision) else ""


class BackboneIdentity(Spec):
    """Which encoder a module belongs to.

    Attributes:
        name: Short name for references, such as `xlm-roberta-base`.
        repo: Hub id, or the folder's name for a local backbone (never its path).
        tokenizer_sha256: Over the tokenizer's vocabulary and special tokens; 64 hex digits.
        fingerprint: sha256 over names, shapes, types and bytes of the embedding and block tensors
            (no pooler, no head); 64 hex digits.
        settings: Values of its config that change outputs, show in no tensor, and are not the
            usual ones of its kind; None where nobody looked, as before these were recorded.
    """

    name: str
    repo: str
    revision: str = ""
    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    tokenizer_sha256: str
    fingerprint: str
    settings: dict[str, Any] | None = None

    @model_serializer(mode="wrap")
    def _as_written(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `settings` where they are unknown: an old manifest keeps its digest."""
        values: dict[str, Any] = usual(self)
        return {k: v for k, v in values.items() if k != "settings" or v is not None}

    @property
    def key(self) -> str:
        """What stands for all that it computes, 64 hex digits: the fingerprint, if all is usual."""
        return digest([self.fingerprint, self.settings]) if self.settings else self.fingerprint

    @property
    def on_hub(self) -> bool:
        """Whether `repo` is a hub id, not the name of a folder."""
        return bool(self.revision or _REPOSITORY.fullmatch(self.repo))

    def differences(self, other: BackboneIdentity) -> list[str]:
        """Why a module of this backbone cannot act in `other`; none when it can.

        Names and revisions may differ: they say where weights came from, not what they are.
        """
        mine, theirs = self.model_dump(), other.model_dump()
        if self.settings is not None and other.settings is not None:
            mine, theirs = mine | self.settings, theirs | other.settings
        names = (mine.keys() | theirs.keys()) - _ORIGIN
        return sorted(name for name in names if mine.get(name) != theirs.get(name))


_ORIGIN = {"name", "repo", "revision", "settings"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
