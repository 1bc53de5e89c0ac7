"""Every architecture takes every method and operator, exactly as the first one does."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from importlib.metadata import version

import pytest
import torch
from support.models import fresh, randomise, same_gradients, tiny_backbone, tokens
from support.trained import add_module, backbone_folder

from xstilts.backbone.architectures import ARCHITECTURES, model_types
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.packed import LEAST_ROWS, unpack
from xstilts.backbone.sites import LINEARS, SUBLAYERS, Site
from xstilts.composition.compose import compose
from xstilts.composition.conformance import method_problems, operator_problems
from xstilts.composition.explain import explain
from xstilts.composition.export import export
from xstilts.composition.parser import parse
from xstilts.config.load import spec_names
from xstilts.errors import UsageError
from xstilts.modules.methods import METHODS
from xstilts.modules.operators import OPERATORS
from xstilts.zoo import Zoo
from xstilts.zoo.policy import problems
from xstilts.zoo.snippets import WITHOUT_SDPA

NEXT = version("transformers").startswith("5")

FIRSTS = sorted({ARCHITECTURES.get(name).MODEL_TYPES[0] for name in ARCHITECTURES})
OTHERS = ("distilbert", "electra", "deberta-v2", "modernbert", "t5", "mt5", "xmod")
"""Model types whose parts have other names, or are others, than XLM-R's."""
DECODERS = ("llama", "gemma2", "bloom")
"""Of the causal ones; tests/unit/backbone/test_decoder.py holds every type against peft."""
METHODS_HERE = [name for name in METHODS if not METHODS.get(name).EXTERNAL]
PRESETS = spec_names("methods")


@cache
def backbone(model_type: str) -> Backbone:
    return tiny_backbone(model_type)


@pytest.mark.parametrize("model_type", model_types())
def test_hidden_states_are_those_of_transformers(model_type):
    here, (ids, mask) = backbone(model_type), tokens()
    inputs = here.architecture.inputs(here.encoder, ids, mask)
    theirs = here.encoder(**inputs, output_hidden_states=True)
    ours = here.hidden_states(ids, mask)
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(here.blocks)
    ]
    assert len(ours) == len(theirs.hidden_states) == len(here.blocks) + 1
    for mine, other in zip(ours[:-1], theirs.hidden_states, strict=False):
        assert torch.equal(mine, other)
    # transformers 4.57 gives ModernBERT's last one before the norm; ours is as in transformers 5
    assert torch.equal(ours[-1], theirs.last_hidden_state)
    for count, last in enumerate(ours):
        ran.clear()
        assert torch.equal(here.hidden_states(ids, mask, up_to=count)[-1], last)
        assert ran == list(range(count))
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("model_type", model_types())
def test_padding_changes_no_row(model_type):
    here, (ids, mask) = backbone(model_type), tokens()
    together = here(ids, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = here(ids[row : row + 1, :length], mask[row : row + 1, :length])[0]
        assert torch.allclose(alone, together[row, :length], atol=1e-5)


@pytest.mark.parametrize("model_type", [*OTHERS, *DECODERS])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_fresh_module_changes_no_bit(preset, model_type):
    here, (ids, mask) = backbone(model_type), tokens()
    before = here(ids, mask)
    _, module = fresh(preset, here.shape)
    with here.attach(module.at, module.encoder_weights):
        assert torch.equal(here(ids, mask), before)


@pytest.mark.parametrize("model_type", [*OTHERS, *DECODERS])
@pytest.mark.parametrize("method", METHODS_HERE)
def test_methods_keep_their_contract(method, model_type):
    assert method_problems(method, backbone(model_type)) == []


@pytest.mark.parametrize("model_type", ["deberta-v2", "modernbert", "mt5", "gemma2"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_keep_their_contract(operator, model_type):
    assert operator_problems(operator, backbone(model_type)) == []


def test_targets_are_what_the_backbone_has_of_them():
    for model_type, targets in (
        ("xlm-roberta", ["query", "value"]),
        ("modernbert", ["qkv"]),
        ("mt5", ["query", "value"]),
    ):
        _, module = fresh("lora", backbone(model_type).shape)
        assert module.options.targets == targets
    _, module = fresh("lora", backbone("mt5").shape, targets=["intermediate", "output"])
    assert module.options.targets == ["gate", "up", "output"]


def test_an_explanation_and_the_manifest_say_what_targets_are(tmp_path):
    here = Backbone.load(str(backbone_folder(tmp_path / "base", "modernbert")), offline=True)
    zoo = Zoo(tmp_path / "zoo")
    entries = [add_module(zoo, here, "mnli", preset) for preset in ("lora", "double_seq_bn")]
    found = explain("stack(mnli/double_seq_bn, mnli/lora)", zoo, here)
    assert [line.sites for line in found.lines] == [(), ("attention", "ffn"), ("qkv",)]
    assert entries[0].manifest.options["targets"] == ["qkv"]


@pytest.mark.parametrize("model_type", [*OTHERS, *DECODERS])
def test_modules_act_at_every_site_and_below_it_nothing_changes(model_type):
    here, (ids, mask) = backbone(model_type), tokens()
    plain = here.hidden_states(ids, mask)
    names = [*here.layout.linears, *here.layout.sublayers]
    assert set(names) <= {*LINEARS, *SUBLAYERS}
    for name in names:
        site = Site(1, name)
        if site.is_linear:
            node: torch.nn.Module = torch.nn.Linear(*here.shape.linear_sizes(name))
        else:
            _, module = fresh("double_seq_bn", here.shape)
            randomise(module)
            node = module.at[site.key]
        with here.attach({site.key: node}):
            states = here.hidden_states(ids, mask)
            again = here.from_block(1, states[1], ids, mask)
        assert torch.equal(states[1], plain[1]), name
        assert (states[2] - plain[2])[mask.bool()].abs().max() > 1e-4, name
        assert torch.equal(again, states[-1]), name
    assert torch.equal(here(ids, mask), plain[-1])


@pytest.mark.parametrize("model_type", [*OTHERS, *DECODERS])
def test_a_lora_and_a_bottleneck_share_a_sublayer(model_type):
    here, (ids, mask) = backbone(model_type), tokens()
    modules = {}
    for name, preset, options in (
        ("a", "double_seq_bn", {}),
        ("b", "lora", {"targets": list(here.layout.linears)}),
    ):
        _, modules[name] = fresh(preset, here.shape, **options)
        randomise(modules[name], scale=0.1)
    outputs = []
    for text in ("stack(a, b)", "stack(b, a)"):
        nodes = compose(parse(text), modules, here.shape, torch.Generator()).nodes
        assert len(nodes) == len(modules["a"].at) + len(modules["b"].at)
        with here.attach(nodes):
            outputs.append(here(ids, mask))
    assert torch.equal(*outputs)


# ---------------------------------------------------------------------------------- other libraries


@pytest.mark.parametrize("model_type", OTHERS)
def test_lora_is_that_of_peft(model_type, tmp_path):
    peft = pytest.importorskip("peft")
    here, (ids, mask) = tiny_backbone(model_type), tokens()
    method, module = fresh("lora", here.shape, targets=list(here.layout.linears), rank=4)
    randomise(module)
    method.save(module, tmp_path, "mine", here)
    unpack(here.blocks)
    model = peft.PeftModel.from_pretrained(tiny_backbone(model_type).encoder, tmp_path).eval()
    same_gradients(here, module, model, ids, mask)
    (tmp_path / "theirs").mkdir()
    model.float().save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    for encoder in (here.encoder, module):
        encoder.float()
    again = method.load(tmp_path / "theirs", here.shape)
    outputs = []
    for one in (module, again):
        with torch.no_grad(), here.attach(one.at):
            outputs.append(here(ids, mask))
    assert torch.equal(*outputs)


def in_adapters(here, folder):
    """The same encoder in the adapters library."""
    adapters = pytest.importorskip("adapters")
    if here.identity.model_type == "modernbert":
        unpack(here.blocks)
        adapters.init(here.encoder)
        for block in here.blocks:  # the library gives Wqkv a random bias where the model has none
            block.attn.Wqkv.bias.data.zero_()
        return here.encoder, here.encoder
    here.encoder.save_pretrained(folder)
    how = here.encoder.config._attn_implementation
    model = adapters.AutoAdapterModel.from_pretrained(folder, attn_implementation=how).eval()
    inner = model.transformer.encoder if here.architecture.SENTENCE == "mean" else model
    return model, inner


# the adapters library takes X-MOD's own adapters away: test_xmod has the arithmetic by hand
@pytest.mark.parametrize("model_type", [name for name in OTHERS if name != "xmod"])
@pytest.mark.parametrize("preset", ["seq_bn", "double_seq_bn", "par_bn"])
def test_bottlenecks_are_those_of_the_adapters_library(preset, model_type, tmp_path):
    here, (ids, mask) = tiny_backbone(model_type), tokens()
    method, module = fresh(preset, here.shape, reduction_factor=4)
    randomise(module)
    (tmp_path / "module").mkdir()
    method.save(module, tmp_path / "module", "mine", here)
    with torch.no_grad(), here.attach(module.at):
        ours = here(ids, mask)
    model, inner = in_adapters(tiny_backbone(model_type), tmp_path / "base")
    model.load_adapter(str(tmp_path / "module"), use_safetensors=True, set_active=True)
    with torch.no_grad():
        theirs = inner.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    real = mask.bool()
    assert torch.allclose(theirs[real], ours[real], atol=1e-5)
    assert (ours - here(ids, mask))[real].abs().max() > 0.1


# -------------------------------------------------------------------------------- layouts and types


@pytest.mark.parametrize("model_type", [*OTHERS, *DECODERS])
def test_the_packed_layout_gives_the_same(model_type):
    here = tiny_backbone(model_type)
    ids, mask = tokens(LEAST_ROWS // 8, 20)
    mask = torch.ones_like(mask)
    packed = here(ids, mask)
    unpack(here.blocks)
    assert torch.allclose(here(ids, mask), packed, atol=1e-5)


@pytest.mark.parametrize("model_type", [*OTHERS, *DECODERS])
def test_eight_and_sixteen_bits_are_near(model_type):
    here, (ids, mask) = backbone(model_type), tokens()
    _, module = fresh("lora", here.shape)
    randomise(module, scale=0.1)
    eighth = here.in_int8()
    with torch.inference_mode(), here.attach(module.at), eighth.attach(module.at):
        wanted = here(ids, mask)[mask.bool()]
        spread = float(wanted.std())
        assert 0 < float((eighth(ids, mask)[mask.bool()] - wanted).abs().mean()) < 0.1 * spread
        with torch.autocast("cpu", torch.bfloat16):
            half = here(ids, mask)[mask.bool()]
    assert 0 < float((half.float() - wanted).abs().mean()) < 0.05 * spread


def test_cards_ask_for_an_attention_that_the_class_has():
    eager = {t for t in model_types() if backbone(t).encoder.config._attn_implementation == "eager"}
    assert eager <= WITHOUT_SDPA <= set(model_types())


@pytest.mark.parametrize("model_type", [*OTHERS, *DECODERS])
def test_exports_give_the_same_or_say_why_not(model_type, tmp_path):
    here = Backbone.load(str(backbone_folder(tmp_path / "base", model_type)), offline=True)
    zoo = Zoo(tmp_path / "zoo")
    for task in ("mnli", "udpos"):
        add_module(zoo, here, task, "lora")
    made = export("merged", "mnli/lora", zoo, here, tmp_path / "merged")
    # T5 does not scale its attention, so that rounding grows, most with what transformers 5 draws
    wide = {"t5": 2e-5, "mt5": 1e-4 if NEXT else 1e-5}
    assert made.difference < wide.get(model_type, 1e-5)
    again = Backbone.load(str(tmp_path / "merged"), offline=True)
    assert again.identity.fingerprint != here.identity.fingerprint
    for task in ("mnli", "udpos"):
        try:
            made = export("hf", f"{task}/lora", zoo, here, tmp_path / task)
        except UsageError as refused:
            assert here.identity.model_type in refused.what
            assert not (tmp_path / task).exists()
        else:
            assert made.difference < 1e-5


@pytest.mark.parametrize("model_type", model_types())
def test_a_zoo_takes_the_config_of_a_whole_encoder(model_type, tmp_path):
    backbone(model_type).encoder.config.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert list(problems("config.json", values)) == []


@pytest.mark.long
def test_modules_of_every_architecture_load_bit_equal_in_another_process(tmp_path):
    wanted = {}
    types = (*OTHERS, *DECODERS)
    for model_type in types:
        here, (ids, mask) = backbone(model_type), tokens()
        method, module = fresh("lora", here.shape)
        randomise(module)
        (tmp_path / model_type).mkdir()
        method.save(module, tmp_path / model_type, "mine", here)
        with torch.no_grad(), here.attach(module.at):
            wanted[model_type] = here(ids, mask).flatten()[:50].tolist()
    code = f"""
import json, pathlib, torch
from support.models import tiny_backbone, tokens
from xstilts.modules.methods import METHODS
found = {{}}
for name in {types!r}:
    here, (ids, mask) = tiny_backbone(name), tokens()
    module = METHODS.get("lora").load(pathlib.Path({str(tmp_path)!r}) / name, here.shape)
    with torch.no_grad(), here.attach(module.at):
        found[name] = here(ids, mask).flatten()[:50].tolist()
print(json.dumps(found))
"""
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    import os

    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **paths},
    )
    assert json.loads(run.stdout.splitlines()[-1]) == wanted
