"""Which backbone it is, known before its weights are loaded.

A backbone's identity holds a digest of every weight. It is kept in the cache folder with the size,
the time and the number of each of the backbone's files, and taken from there while all are the
same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from xstilts.backbone.architectures import model_types
from xstilts.backbone.reference import backbone_spec
from xstilts.config import hub_models
from xstilts.config.file_facts import FileFacts
from xstilts.config.specs import BackboneIdentity, BackboneSpec

if TYPE_CHECKING:  # a backbone is known without torch
    from xstilts.backbone.backbone import Backbone


class KnownBackbone(Protocol):
    """What is known of a backbone without its weights, whether they are loaded or not."""

    @property
    def identity(self) -> BackboneIdentity:
        """Name, revision, sizes and fingerprint; modules refuse a backbone of another one."""
        ...

    @property
    def retrieval_layer(self) -> int:
        """Block pooled for retrieval by default."""
        ...

    @property
    def max_length(self) -> int:
        """Longest input in sub-words, special tokens included."""
        ...

    @property
    def tokenization(self) -> str:
        """Digest of what its tokenizer makes of some sentences, 64 hex digits.

        Two tokenizers of one vocabulary may split a text otherwise.
        """
        ...

    @property
    def asks_language(self) -> bool:
        """Whether rows have to begin with their language, see `Architecture.language_token`."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its fast tokenizer."""
        ...

    @property
    def loaded(self) -> Backbone:
        """The backbone with its weights; they are loaded when this is first asked for."""
        ...


class LazyBackbone:
    """A backbone whose weights are loaded when they are first needed; see `KnownBackbone`.

    It is none that asks for the language of a row.
    """

    asks_language = False

    def __init__(
        self,
        identity: BackboneIdentity,
        retrieval_layer: int,
        max_length: int,
        tokenization: str,
        load: Callable[[], Backbone],
    ) -> None:
        self.identity, self.retrieval_layer, self.max_length = identity, retrieval_layer, max_length
        self.tokenization = tokenization
        self._load = load

    @property
    def tokenizer(self) -> Any:
        """Its fast tokenizer; the weights come with it."""
        return self.loaded.tokenizer

    @cached_property
    def loaded(self) -> Backbone:
        """With its weights."""
        return self._load()


_KEPT = ("retrieval_layer", "max_length", "tokenization")


class BackboneFacts:
    """What is kept of a backbone by the identity of its files.

    Args:
        reference: Of the backbone.
        cache: The cache folder.

    Raises:
        NotFoundError: As `backbone_spec`.
    """

    def __init__(self, reference: str, cache: Path) -> None:
        spec = self._spec = backbone_spec(reference)
        versions = {name: version(name) for name in ("xstilts", "transformers")}
        fields = [*sorted(BackboneIdentity.model_fields), *_KEPT]
        key = {"spec": spec.model_dump(mode="json"), "versions": versions, "fields": fields}
        self._listed = _files(spec)
        self._facts = FileFacts(cache, "backbones", key, self._listed)

    def known(self, load: Callable[[], Backbone]) -> LazyBackbone | None:
        """The backbone, if its files are those that were loaded before."""
        kept = self._facts.get()
        if kept is None:
            return None
        identity = BackboneIdentity.model_validate(kept["identity"])
        layer, longest, tokenization = (kept[name] for name in _KEPT)
        return LazyBackbone(identity, layer, longest, tokenization, load)

    def keep(self, backbone: Backbone) -> None:
        """Keep what was found out of a backbone that was loaded after this value was made."""
        if _files(self._spec) != self._listed:
            return  # the hub had a newer commit
        if backbone.asks_language:
            return  # its config says in which way
        self._facts.put(
            {
                "identity": backbone.identity.model_dump(mode="json"),
                **{name: getattr(backbone, name) for name in _KEPT},
            }
        )


def require_at_hand(reference: str, *, offline: bool = False) -> None:
    """Refuse a backbone that is nowhere and cannot be fetched, before torch is imported.

    Args:
        reference: Of the backbone.
        offline: Ask no hub.

    Raises:
        NotFoundError: As `backbone_spec`.
        NetworkError: It is not in the hub's cache, and nothing can be fetched.
    """
    spec = backbone_spec(reference)
    hub_models.require_at_hand(
        "backbone", spec.repo, spec.revision, offline=offline, model_types=model_types
    )


def _files(spec: BackboneSpec) -> list[Path]:
    """The files of a folder, or of the commit that the hub's cache has; none without any.

    A revision that moves on the hub is the one in the cache, until something loads the backbone.
    """
    folder = Path(spec.repo).expanduser()
    if not folder.is_dir():
        repo = _hub_cache() / f"models--{spec.repo.replace('/', '--')}"
        revision = spec.revision or "main"
        moving = repo / "refs" / revision
        commit = moving.read_text(encoding="utf-8").strip() if moving.is_file() else revision
        folder = repo / "snapshots" / commit
    return sorted(path for path in folder.glob("*") if path.is_file())


def _hub_cache() -> Path:
    """Where huggingface_hub keeps files, by its environment variables; it is slow to import."""
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{base}/huggingface")
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(named or f"{home}/hub").expanduser()
