"""Machine translation by a seq2seq model of transformers; what was translated once is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from xstilts.config.hub_models import (
    arriving,
    build_errors,
    load_errors,
    load_tokenizer,
    no_network,
    quiet_libraries,
    require_all_weights,
)
from xstilts.config.progress import ProgressFn, silent
from xstilts.data.languages import language
from xstilts.errors import NotFoundError, UsageError
from xstilts.files import digest

LONGEST = 256
"""Sub-words of a translated sentence, at most."""


class Translator:
    """A seq2seq model of transformers with a memory on disk.

    Args:
        model_id: Hub id (`org/name@revision`) or folder: M2M100, NLLB, Opus-MT and the like.
        source, target: XTREME codes.
        memory: Folder for what was translated; None keeps nothing.
        code: The model's own code of the target language, where it cannot be found out.
        beams: Of the search; 1 is greedy.
        offline: Load from this machine only.
        device: Where it runs.
        progress: Called with what is done.
    """

    def __init__(
        self,
        model_id: str,
        source: str,
        target: str,
        memory: Path | None,
        *,
        code: str = "",
        beams: int = 4,
        offline: bool = False,
        device: str = "cpu",
        progress: ProgressFn = silent,
    ) -> None:
        from transformers import AutoModelForSeq2SeqLM

        name, _, revision = model_id.partition("@")
        more: dict[str, Any] = {"revision": revision} if revision else {}
        closed = None if Path(name).is_dir() else no_network(offline)
        more |= {"local_files_only": closed is not None, "trust_remote_code": False}
        with load_errors("translation model", name, closed), quiet_libraries(), arriving(name):
            self.tokenizer: Any = load_tokenizer("translation model", name, **more)
            self.model: Any
            with build_errors("translation model", name):
                self.model, report = AutoModelForSeq2SeqLM.from_pretrained(
                    name,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                    weights_only=True,
                    **more,
                )
        require_all_weights(f"translation model '{model_id}'", self.model, report)
        self.model.to(device).eval()
        self.beams, self.progress = beams, progress
        self.target_id = _language_id(self.tokenizer, code or target)
        self._say_source(source)
        key = digest({"model": model_id, "to": code or target, "beams": beams})
        self.path = memory / "translations" / f"{key[:16]}.jsonl" if memory else None
        self.known = _remembered(self.path)

    def _say_source(self, source: str) -> None:
        if hasattr(self.tokenizer, "src_lang") and self.target_id is not None:
            self.tokenizer.src_lang = _known_code(self.tokenizer, source) or source

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Translations in order; only sentences that are new are computed, the longest first."""
        new = sorted({text for text in texts if digest(text) not in self.known}, key=len)[::-1]
        done = 0
        for batch in _batches(new):
            translated = self._generate(batch)
            self._remember(batch, translated)
            done += len(batch)
            self.progress(f"{done}/{len(new)} sentences", done / len(new))
        return [self.known[digest(text)] for text in texts]

    @torch.inference_mode()
    def _generate(self, texts: Sequence[str]) -> list[str]:
        encoded = self.tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True)
        encoded = encoded.to(self.model.device)
        more = {"forced_bos_token_id": self.target_id} if self.target_id is not None else {}
        # The same bound for every batch: what a sentence becomes must not depend on its neighbours.
        positions = int(getattr(self.model.config, "max_position_embeddings", 0) or LONGEST)
        output = self.model.generate(
            **encoded,
            num_beams=self.beams,
            max_new_tokens=min(LONGEST, positions - 2),
            do_sample=False,
            **more,
        )
        decoded: list[str] = self.tokenizer.batch_decode(output, skip_special_tokens=True)
        return [text.strip() for text in decoded]

    def _remember(self, texts: Sequence[str], translated: Sequence[str]) -> None:
        lines = []
        for text, new in zip(texts, translated, strict=True):
            self.known[digest(text)] = new
            lines.append(json.dumps({"key": digest(text), "text": new}, ensure_ascii=False) + "\n")
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(lines)


def _remembered(path: Path | None) -> dict[str, str]:
    """What was translated before; a line that a crash cut short is left out."""
    known: dict[str, str] = {}
    if path is None or not path.is_file():
        return known
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            known[record["key"]] = record["text"]
        except (ValueError, KeyError, TypeError):
            continue
    return known


def _batches(texts: Sequence[str], characters: int = 4000) -> Iterable[list[str]]:
    """Texts, longest first, in batches of about as many characters, padding included."""
    batch: list[str] = []
    for text in texts:
        if batch and (len(batch) + 1) * len(batch[0]) > characters:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _language_id(tokenizer: Any, code: str) -> int | None:
    """The id that makes a many-to-many model write `code`; None for a model of one pair.

    Raises:
        UsageError: The model has languages, and none or several that could be meant.
    """
    name = _known_code(tokenizer, code)
    if name is not None:
        return int(tokenizer.convert_tokens_to_ids(name))
    if not _language_tokens(tokenizer):
        return None
    raise UsageError(
        f"the model has no language '{code}', or several",
        where=", ".join(_language_tokens(tokenizer)[:12]) + ", …",
        hint="Name it as the model does, with --code.",
    )


def _known_code(tokenizer: Any, code: str) -> str | None:
    """The model's token for a language code: `__de__` (M2M100), `deu_Latn` (NLLB), or itself."""
    tokens = _language_tokens(tokenizer)
    for wanted in (code, f"__{code}__"):
        if wanted in tokens:
            return wanted
    try:
        codes = language(code).codes
    except NotFoundError:
        codes = (code,)
    fitting = [token for token in tokens if token.split("_")[0] in codes]
    return fitting[0] if len(fitting) == 1 else None


def _language_tokens(tokenizer: Any) -> list[str]:
    pattern = re.compile(r"__[a-z]{2,3}__|[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}")
    return [token for token in tokenizer.all_special_tokens if pattern.fullmatch(token)]
