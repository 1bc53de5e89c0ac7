"""Models of the real classes, small and random."""

from __future__ import annotations

import torch
from transformers import AutoConfig

from xstilts.backbone.architectures import architecture_of, class_options
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.pretrained import fingerprint
from xstilts.backbone.sites import Site
from xstilts.config.load import load_method
from xstilts.config.specs import BackboneIdentity
from xstilts.errors import UsageError
from xstilts.modules.methods import METHODS
from xstilts.modules.operators import OPERATORS, PartInfo

SIZES = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

_DECODERS = {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
OF_TYPE = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _DECODERS),
    **dict.fromkeys(("gemma2", "gemma3_text"), _DECODERS | {"sliding_window": 4}),
    "xglm": {"ffn_dim": 32, "max_position_embeddings": 64},
    "bloom": {"seq_length": 64},
    "xmod": {
        "languages": ["en_XX", "de_DE", "sw_KE"],
        "default_language": "sw_KE",
        "adapter_reuse_layer_norm": True,
    },
}
"""What SIZES leaves open in some model types: grouped queries, windows shorter than the rows."""


def encoder(model_type: str = "xlm-roberta", seed: int = 0, **sizes):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **{**SIZES, **OF_TYPE.get(model_type, {}), **sizes})
    model_class = architecture_of(model_type).model_class(config)
    options = class_options(model_class)
    config._attn_implementation = options.pop("attn_implementation")
    model = model_class(config, **options)
    with torch.no_grad():  # freshly made norms are the identity, which hides mistakes
        for name, parameter in model.named_parameters():
            if "norm" in name.lower():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval().requires_grad_(False)


def tiny_backbone(
    model_type: str = "xlm-roberta", seed: int = 0, tokenizer=None, **sizes
) -> Backbone:
    model = encoder(model_type, seed, **sizes)
    config = model.config
    identity = BackboneIdentity(
        name=f"pico-{model_type}",
        repo=f"test/pico-{model_type}",
        model_type=config.model_type,
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        intermediate_size=architecture_of(model_type).describe(config).intermediate_size,
        vocab_size=config.vocab_size,
        tokenizer_sha256="0" * 64,
        fingerprint=fingerprint(model),
    )
    return Backbone(model, tokenizer, identity, retrieval_layer=2)


def tokens(batch: int = 4, width: int = 11, seed: int = 3, vocab: int = 99):
    """Random ids [batch, width] and a mask with rows of different length."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, vocab, (batch, width), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, batch):
        mask[row, width - 2 * row :] = 0
    ids[mask == 0] = 1
    return ids, mask


def takes(operator: str, *methods: str) -> bool:
    """Whether an operator can combine a module of each method, or two of a single one."""
    kinds = methods if len(methods) > 1 else methods * 2
    try:
        OPERATORS.get(operator).check(
            [PartInfo(f"part{n}", m, {}, True) for n, m in enumerate(kinds)]
        )
    except UsageError:
        return False
    return True


def fresh(preset: str, shape, seed: int = 0, **options):
    """The method of a preset, and a new module of it; `options` go over the preset's."""
    spec = load_method(preset)
    method = METHODS.get(spec.method)
    values = method.Options.model_validate(spec.options | options)
    return method, method.create(shape, values, torch.Generator().manual_seed(seed))


def changed(encoder, preset: str, seed: int, **options):
    """A module of a preset that does change what the encoder gives."""
    _, module = fresh(preset, encoder.shape, seed, **options)
    randomise(module, seed, 0.1)
    return module


def randomise(module: torch.nn.Module, seed: int = 7, scale: float = 0.2) -> None:
    """Give every parameter random values, so that nothing is the identity any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


FLOAT32_ONLY = ("gemma2", "xglm")
"""Model types whose mask overflows in float64, in transformers itself."""


def same_gradients(here: Backbone, module, model, ids, mask) -> None:
    """Hold the outputs and gradients of LoRA factors against those of peft's model.

    Outputs are equal. Of gradients, an input of several projections sums them in another order in
    peft: in float32 that shows in the seventh digit (1.1e-6 of scale, in Qwen3, which has
    norms behind its projections, somewhat above 2e-6), in float64 it is gone.
    """
    given = here.architecture.inputs(here.encoder, ids, mask)
    real = mask.bool()
    exact = here.identity.model_type not in FLOAT32_ONLY
    bounds = {torch.float32: 5e-6} | ({torch.float64: 1e-9} if exact else {})
    for dtype, bound in bounds.items():
        for one in (here.encoder, module, model):
            one.to(dtype).requires_grad_(one is module)
            one.zero_grad()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".lora_" in name)
        with here.attach(module.at):
            ours = here(ids, mask)[real]
        theirs = model(**given).last_hidden_state[real]
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)
        ours.pow(2).sum().backward()
        theirs.pow(2).sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if ".lora_" in n}
        assert len(gradients) == 2 * len(module.at)
        for key, part in module.at.items():
            for factor in "AB":
                end = f"{here.layout.path(Site.of(key))}.lora_{factor}.default.weight"
                (other,) = [g for n, g in gradients.items() if n.endswith(end)]
                mine = part.get_parameter(factor).grad
                scale = float(mine.abs().max().clamp(min=1))
                assert float((other - mine).abs().max()) <= bound * scale, (key, factor, dtype)
