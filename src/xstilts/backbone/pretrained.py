"""Where a backbone comes from, and which one it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xstilts.backbone.architectures import architecture_of, class_options, model_types
from xstilts.backbone.machine import GIB, free_bytes
from xstilts.backbone.reference import backbone_spec
from xstilts.backbone.settings import unusual_settings
from xstilts.config.hub_models import (
    arriving,
    build_errors,
    import_models,
    load_errors,
    load_tokenizer,
    no_network,
    quiet_libraries,
    require_all_weights,
)
from xstilts.config.specs import BackboneIdentity, BackboneSpec
from xstilts.errors import DataError, NetworkError, UsageError
from xstilts.files import digest

_ABOUT_CALLS = {
    "auto_map",
    "return_dict",
    "torchscript",
    "output_hidden_states",
    "output_attentions",
}
"""Keys of a config that are about code, or what a call returns, and nothing of the model."""


def clean_config(spec: BackboneSpec, closed: NetworkError | None) -> Any:
    """The model's config without private keys and without code hooks.

    Args:
        spec: Of the backbone.
        closed: Why nothing can be fetched from the hub; None where it can.

    Raises:
        DataError: One of its sizes is no number of them.
        UsageError: The model cannot be a backbone.
    """
    from huggingface_hub.errors import StrictDataclassError

    import_models()
    from transformers import AutoConfig, PretrainedConfig
    from transformers.utils.hub import extract_commit_hash

    found = _config_file(spec, closed)
    with _fetch_errors(spec, closed):
        values, _ = PretrainedConfig.get_config_dict(str(found.parent))
    kept = {k: v for k, v in values.items() if not k.startswith("_") and k not in _ABOUT_CALLS}
    model_type = kept.pop("model_type", "")
    _require_supported(spec.repo, model_type, values)
    try:
        with quiet_libraries():
            config = AutoConfig.for_model(model_type, **kept)
        sizes = {k: getattr(config, k) for k in ("vocab_size", "hidden_size", "num_hidden_layers")}
        wrong = [f"{k} is {v!r}" for k, v in sizes.items() if type(v) is not int or v < 1]
        epsilons = ((k, v) for k, v in config.to_dict().items() if k.endswith(("_eps", "_epsilon")))
        wrong += [f"{k} is {v!r}" for k, v in epsilons if type(v) is not float or not 0 < v < 1]
        if not wrong:
            architecture_of(model_type).describe(config)
    except (TypeError, ValueError, ArithmeticError, StrictDataclassError) as error:
        wrong = [" ".join(str(error).split())]  # what the class makes of its values
    if wrong:
        raise DataError(
            f"config.json of backbone '{spec.repo}' is broken: {', '.join(wrong)}",
            hint="Take the one that the model was saved with.",
        )
    if spec.default_language:
        if not hasattr(config, "default_language"):
            raise UsageError(
                f"backbone '{spec.name}' has no parts by language, and its YAML a default_language",
                hint="Remove that key.",
            )
        config.default_language = spec.default_language
    config._commit_hash = extract_commit_hash(str(found), None)  # whatever the file says
    return config


def _require_supported(repo: str, model_type: str, values: Mapping[str, Any]) -> None:
    """Refuse a model that cannot be a backbone, from its config alone.

    Raises:
        UsageError: No architecture describes it, or its weights are no numbers to train on.
    """
    supported = "Supported: " + ", ".join(model_types()) + "."
    if values.get("quantization_config"):
        raise UsageError(
            f"backbone '{repo}' holds quantised weights",
            hint="Name the model that it was made from; --precision int8 computes in 8 bits.",
        )
    if model_type in model_types():
        return
    why = ""
    if values.get("auto_map"):
        why = ": its code comes with the repository, and no such code is ever run"
    elif any("vision" in key or key in ("image_size", "patch_size") for key in values):
        why = ", which reads images"
    elif values.get("is_encoder_decoder"):
        why = ", an encoder-decoder, and its encoder alone is no model of transformers"
    raise UsageError(f"backbone '{repo}' is of type '{model_type}'{why}", hint=supported)


def _config_file(spec: BackboneSpec, closed: NetworkError | None) -> Path:
    from transformers.utils.hub import cached_file

    with _fetch_errors(spec, closed), quiet_libraries():
        revision = spec.revision or None
        return Path(
            cached_file(
                spec.repo, "config.json", revision=revision, local_files_only=closed is not None
            )
        )


def fetch(spec: BackboneSpec, config: Any, closed: NetworkError | None) -> tuple[Any, Any]:
    """The float32 encoder without pooler, and its fast tokenizer, from a folder or the hub.

    From the hub they are of the commit that the config is of, also where the revision moves.
    Where the hub is `closed`, they are those in its cache. Where the weights are a pickle
    (`pytorch_model.bin`) and there is no `model.safetensors`, nothing but tensors is read from it.

    Raises:
        DataError: The weights are not those of the config, or not all numbers, or the tokenizer
            is another model's.
        UsageError: The tokenizer is not fast.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar for the weights of a local file would stand among our messages
    tokenizer = fetch_tokenizer(spec, config, closed)
    place, where = _place(spec, config, closed)
    if Path(place, _ADAPTER).is_file():
        raise _is_adapter(spec)
    with _fetch_errors(spec, closed), quiet_libraries(), arriving(spec.repo):
        model_class = architecture_of(config.model_type).model_class(config)
        with build_errors("backbone", spec.repo):
            encoder, report = model_class.from_pretrained(
                place,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                weights_only=True,
                **class_options(model_class),
                **where,
            )
    if getattr(encoder, "_hf_peft_config_loaded", False):
        raise _is_adapter(spec)
    require_all_weights(f"backbone '{spec.repo}'", encoder, report)
    _require_its_blocks(spec, config, report["unexpected_keys"])
    fetched = spec.model_copy(update={"revision": where["revision"] or ""})  # asks no hub again
    _require_fractions(spec, _config_file(fetched, closed).parent)
    _check_tokenizer(spec, tokenizer, encoder)
    return encoder, tokenizer


_ADAPTER = "adapter_config.json"


def _is_adapter(spec: BackboneSpec) -> DataError:
    """An error, to raise: transformers would load the model that the adapter names in its place."""
    return DataError(
        f"backbone '{spec.repo}' holds an adapter ({_ADAPTER}), which acts on another model",
        hint="Import it with `xstilts zoo import`, or remove that file if the adapter is merged.",
    )


_BUFFER = re.compile(r"(inv_freq|position_ids|masked_bias)$")
"""Numbers that older versions of transformers stored and newer ones compute."""


def _require_its_blocks(spec: BackboneSpec, config: Any, left_over: Iterable[str]) -> None:
    """Refuse a weight file that has more in its blocks, or more of them, than the model.

    Raises:
        DataError: Some of the tensors that found no place are those of blocks.
    """
    blocks = architecture_of(config.model_type).describe(config).blocks
    block_of = re.compile(rf"(?:^|\.){re.escape(blocks)}\.(\d+)\.")
    matches = ((name, block_of.search(name)) for name in sorted(left_over))
    found = {name: int(match[1]) for name, match in matches if match and not _BUFFER.search(name)}
    count = int(config.num_hidden_layers)
    further = [name for name, block in found.items() if block >= count]
    what = f"has more blocks in its weights than the {count} of its config"
    if not further:
        what = "has more in the blocks of its weights than the model that its config says"
    names = further or [*found]
    if names:
        raise DataError(
            f"backbone '{spec.repo}' {what}",
            where=", ".join(names[:3]) + (", …" if len(names) > 3 else ""),
            hint="Does config.json belong to the weights?"
            if further
            else "Was an adapter saved with it? Merge it first, or save the model without it.",
        )


def _require_fractions(spec: BackboneSpec, folder: Path) -> None:
    """Refuse weights stored as whole numbers, which transformers 5 takes as they are.

    Raises:
        DataError: Weights are; what scales them is no part of the model.
    """
    from safetensors import safe_open

    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                kind = file.get_slice(name).get_dtype()
                if name.endswith(("weight", "bias")) and "F" not in kind:
                    raise DataError(
                        f"backbone '{spec.repo}' holds whole numbers ({kind}) as weights",
                        where=f"{path}: {name}",
                        hint="Name the model that it was quantised from.",
                    )


def fetch_tokenizer(spec: BackboneSpec, config: Any, closed: NetworkError | None) -> Any:
    """The fast tokenizer of a backbone, which pads; see `fetch`."""
    place, where = _place(spec, config, closed)
    with _fetch_errors(spec, closed), quiet_libraries(), arriving(spec.repo):
        tokenizer = load_tokenizer("backbone", place, use_fast=True, **where)
        if not tokenizer.is_fast:
            raise UsageError(
                f"backbone '{spec.repo}' has no fast tokenizer",
                hint="Answers and tags need each sub-word's place in the text, which only those "
                "of the tokenizers library know: save a tokenizer.json beside the model.",
            )
    _require_padding(spec, tokenizer, config)
    return tokenizer


def _place(
    spec: BackboneSpec, config: Any, closed: NetworkError | None
) -> tuple[str, dict[str, Any]]:
    """Where a model is loaded from, and what says so to `from_pretrained`."""
    # A folder of the cache, not the name: the library asks the hub for a name even when told not to
    place = str(_config_file(spec, closed).parent) if closed else spec.repo
    return place, {
        "revision": getattr(config, "_commit_hash", None) or spec.revision or None,
        "local_files_only": closed is not None,
        "trust_remote_code": False,
    }


def outline(config: Any) -> Any:
    """An encoder with the shapes of a config and without weights: its tensors are on `meta`."""
    model_class = architecture_of(config.model_type).model_class(config)
    options = class_options(model_class)
    config._attn_implementation = options.pop("attn_implementation")
    with torch.device("meta"):
        return model_class(config, **options)


def _require_padding(spec: BackboneSpec, tokenizer: Any, config: Any) -> None:
    """Let a language model's rows be padded with what ends a text, where it has no padding token.

    Padding stands behind the last real token, which sees none of it.

    Raises:
        DataError: It has neither, or is no language model: there the number of the padding matters.
    """
    if tokenizer.pad_token_id is not None:
        return
    end = tokenizer.eos_token or tokenizer.bos_token or tokenizer.unk_token
    if not (end and architecture_of(config.model_type).CAUSAL):
        raise DataError(
            f"the tokenizer of backbone '{spec.repo}' has no padding token",
            hint="Set `pad_token` in its tokenizer_config.json to the one it was trained with.",
        )
    tokenizer.pad_token = end


def weight_bytes(config: Any) -> int:
    """Bytes of an encoder's float32 weights, from its config alone."""
    return 4 * sum(parameter.numel() for parameter in outline(config).parameters())


def full_training_bytes(weights: int, words: int) -> int:
    """What full fine-tuning takes at least: the weights, their gradients and two moments.

    Of the word embeddings, `words` bytes, only those that occur may have a gradient and moments.
    """
    return 4 * weights - 3 * words


@dataclass(frozen=True)
class MemoryNeed:
    """What a backbone takes in memory at least, from its config alone; bytes.

    Attributes:
        name: Of the backbone.
        weights: Of the encoder, float32.
        training: To train on it, without activations: the weights, and where they change
            themselves, gradients and two moments of all but the word embeddings.
        free: What is free where it runs; None where nobody says.
    """

    name: str
    weights: int
    training: int
    free: int | None

    def __str__(self) -> str:
        """All of it in a line."""
        free = "" if self.free is None else f"; {self.free / GIB:.1f} GiB are free"
        return (
            f"{self.name}: the weights take {self.weights / GIB:.1f} GiB, training at least "
            f"{self.training / GIB:.1f} GiB{free}"
        )


def memory_need(
    reference: str, *, device: str, full: bool, offline: bool = False
) -> MemoryNeed | None:
    """What training on a backbone takes, before a weight is read; None where that is little.

    Args:
        reference: Of the backbone, as in `Backbone.load`.
        device: Where it will run.
        full: Whether its own weights train.
        offline: Ask no hub for its config.

    Raises:
        UsageError: It cannot fit into what is free. Or as `Backbone.load`.
    """
    spec = backbone_spec(reference)
    closed = None if Path(spec.repo).expanduser().is_dir() else no_network(offline)
    config, free = clean_config(spec, closed), free_bytes(device)
    if _at_most(config) < GIB and (free is None or (4 if full else 1) * _at_most(config) < free):
        return None
    weights = weight_bytes(config)
    words = 4 * getattr(config, "vocab_size", 0) * getattr(config, "hidden_size", 0)
    training = full_training_bytes(weights, words) if full else weights
    need = MemoryNeed(spec.name, weights, training, free)
    if full and free is not None and need.training > free:
        raise UsageError(
            f"full fine-tuning of backbone '{spec.repo}' takes {need.training / GIB:.1f} GiB: "
            "weights, gradients and two moments, without activations",
            where=f"{free / GIB:.1f} GiB of memory are free on {device}",
            hint="Train a module on the frozen backbone (--method lora), or take a smaller one "
            "(`xstilts ls backbones`).",
        )
    return need


def require_memory(spec: BackboneSpec, config: Any) -> None:
    """Refuse a backbone whose weights do not fit into the free memory, before one is read.

    Raises:
        UsageError: They do not.
    """
    free = free_bytes()
    if free is None or _at_most(config) < free:
        return
    needed = weight_bytes(config)
    if needed > free:
        raise UsageError(
            f"the weights of backbone '{spec.repo}' take {needed / GIB:.1f} GiB in float32",
            where=f"{free / GIB:.1f} GiB of memory are free here",
            hint="Take a smaller backbone (`xstilts ls backbones`), or a larger machine.",
        )


def _at_most(config: Any) -> int:
    """More bytes than the weights take: counting each takes a moment, which small ones do not."""
    width, blocks = config.hidden_size, config.num_hidden_layers
    return int(8 * width * (config.vocab_size + 16 * blocks * width))


def _check_tokenizer(spec: BackboneSpec, tokenizer: Any, encoder: Any) -> None:
    """Refuse a tokenizer that cannot be this encoder's.

    Raises:
        DataError: It has tokens without an embedding, or pads with another number.
    """
    tokens = max(tokenizer.get_vocab().values()) + 1
    rows = encoder.get_input_embeddings().num_embeddings
    if tokens > rows:
        raise DataError(
            f"the tokenizer has {tokens} tokens, the embeddings {rows} rows",
            where=f"backbone {spec.repo}",
            hint="Save the model after resize_token_embeddings, or take the tokenizer it was "
            "trained with.",
        )


def _fetch_errors(spec: BackboneSpec, closed: NetworkError | None) -> AbstractContextManager[None]:
    return load_errors("backbone", spec.repo, closed, model_types())


def identify(spec: BackboneSpec, encoder: Any, tokenizer: Any) -> BackboneIdentity:
    """Which backbone this is, from its config, its tokenizer and every weight."""
    config = encoder.config
    local = Path(spec.repo).expanduser().is_dir()
    return BackboneIdentity(
        name=spec.name,
        repo=Path(spec.repo).expanduser().resolve().name if local else spec.repo,
        revision=str(getattr(config, "_commit_hash", None) or spec.revision),
        model_type=config.model_type,
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        intermediate_size=architecture_of(config.model_type).describe(config).intermediate_size,
        vocab_size=config.vocab_size,
        tokenizer_sha256=tokenizer_digest(tokenizer),
        fingerprint=fingerprint(encoder),
        settings=unusual_settings(config),
    )


def tokenizer_digest(tokenizer: Any) -> str:
    """sha256 over the vocabulary with its ids, and the special tokens; 64 hex digits."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    return digest({"vocabulary": vocabulary, "special": sorted(tokenizer.all_special_tokens)})


PROBES = (
    "Hello, World! It's 3.5 km; don't re-enter.",
    "Ça coûte 1 000 € à l’été, straße, İstanbul, ÅNGSTRÖM.",
    "Привет, мир! مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก 안녕하세요",
    "你好,世界。 こんにちは世界、カタカナ ﾊﾝｶｸ ＡＢＣ",
    "a\u00a0b\u200bc\u3000d\u00ad  two  blanks\ttab\nline ",
    "e\u0301 or \u00e9, ﬁ ½ Ⅷ, 12345678901234567890",
    "<s> </s> <mask> [MASK] [UNK] <pad>",
    "\U0001f642\U0001f44d\U0001f3fd \ufffd \u0378",
)
"""Sentences that tell tokenizers of one vocabulary apart, by what they do before they look a piece
up: case, accents, blanks, compatibility forms, digits, scripts, added tokens."""


def tokenization(tokenizer: Any) -> str:
    """sha256 over the sub-words of some sentences, one by one and in a pair; 64 hex digits."""
    alone = tokenizer(list(PROBES))["input_ids"]
    return digest([alone, tokenizer(PROBES[0], PROBES[1])["input_ids"]])


def fingerprint(encoder: nn.Module) -> str:
    """sha256 over name, type, shape and bytes of every tensor but a pooler's."""
    total = hashlib.sha256()
    for name, tensor in sorted(encoder.named_parameters()):
        if name.startswith("pooler."):
            continue
        array = tensor.detach().cpu().contiguous()
        total.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        total.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
