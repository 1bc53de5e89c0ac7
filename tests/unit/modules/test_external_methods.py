"""Modules that peft and the adapters library run: kept, reloaded, loaded by the plain library."""

from __future__ import annotations

import importlib.util
import json
import warnings

import pytest
import torch
from support.external import FEW
from support.models import tiny_backbone, tokens

from xstilts.backbone.pretrained import fingerprint
from xstilts.composition.compose import compose
from xstilts.composition.load import load_module
from xstilts.composition.parser import parse
from xstilts.composition.resolve import resolve_expression
from xstilts.composition.task_model import TaskModel
from xstilts.config.load import load_method
from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.methods import METHODS, external_adapters, external_peft
from xstilts.zoo import Manifest, Zoo, write_manifest

pytestmark = pytest.mark.filterwarnings("ignore")
needs_adapters = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="the adapters library is not installed"
)

AS_TEXT = {"randlora": {"r": "4"}, "compacter++": {"phm_dim": "2", "reduction_factor": "4"}}
SETTINGS = FEW | AS_TEXT
EXACT_START = ("dora", "rslora", "lora", "lora_bias", "ia3", "vera", "loha", "lokr", "oft", "boft")


def marked(*names):
    """Names as parameters; those of the adapters library are skipped where it is not."""
    return [
        pytest.param(name, marks=needs_adapters) if name.startswith("adapters:") else name
        for name in names
    ]


PEFT = tuple(f"peft:{name}" for name in external_peft.TUNERS)
ADAPTERS = tuple(f"adapters:{name}" for name in external_adapters.CONFIGS)


def make(name: str, backbone, seed: int = 0, **settings):
    spec = load_method(name)
    method = METHODS.get(spec.method)
    kind = name.partition(":")[2]
    values = {**spec.options, "settings": settings or SETTINGS.get(kind, {})}
    options = method.Options.model_validate(values)
    return method, method.create(backbone.shape, options, torch.Generator().manual_seed(seed))


def change(adapter, seed: int = 7):
    """Random values, but not for the parameters of an orthogonal matrix."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in adapter.named_parameters():
        if "parametrizations" not in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def state(backbone, adapter, ids, mask):
    with backbone.attach(adapter.at), torch.no_grad():
        return backbone(ids, mask)


@pytest.mark.long
def test_every_tuner_starts_as_the_identity():
    ids, mask = tokens()
    for name in PEFT:
        backbone = tiny_backbone()
        before = backbone(ids, mask)
        _, adapter = make(name, backbone)
        after = state(backbone, adapter, ids, mask)
        if name.partition(":")[2] in EXACT_START:
            assert torch.equal(after, before), name
        assert torch.allclose(after, before, atol=2e-6), name


@pytest.mark.parametrize("name", marked(*PEFT, *ADAPTERS))
def test_it_acts_is_kept_and_leaves_no_trace(name, tmp_path):
    backbone = tiny_backbone()
    ids, mask = tokens()
    before, weights = backbone(ids, mask), fingerprint(backbone.encoder)
    method, adapter = make(name, backbone)
    change(adapter)
    acted = state(backbone, adapter, ids, mask)
    assert (acted - before).abs().max() > 1e-4
    assert torch.equal(backbone(ids, mask), before)
    assert fingerprint(backbone.encoder) == weights
    assert not any(p.requires_grad for p in backbone.encoder.parameters())

    method.save(adapter, tmp_path, "thing", backbone)
    other = tiny_backbone()
    again = method.load(tmp_path, other.shape)
    assert torch.allclose(state(other, again, ids, mask), acted, atol=1e-6)
    assert again.options == adapter.options


@pytest.mark.parametrize(
    "name", marked("peft:dora", "peft:ia3", "adapters:prefix_tuning", "adapters:mam")
)
def test_only_its_own_parameters_train(name):
    backbone = tiny_backbone()
    ids, mask = tokens()
    _, adapter = make(name, backbone)
    change(adapter)
    model = TaskModel(
        backbone, compose(parse("a"), {"a": adapter}, backbone.shape, torch.Generator()), {}
    )
    model.requires_grad_(False)
    adapter.requires_grad_(True)
    model.train()
    with model.attached():
        assert backbone.encoder.training
        backbone(ids, mask).pow(2).sum().backward()
    model.eval()
    assert all(p.grad is not None for p in adapter.parameters())
    assert sum(float(p.grad.abs().sum()) for p in adapter.parameters()) > 0
    assert all(p.grad is None for p in backbone.encoder.parameters())
    assert model.trainable_parameters == sum(p.numel() for p in adapter.parameters()) > 0


@needs_adapters
def test_hidden_states_are_those_of_the_wrapped_encoder():
    backbone = tiny_backbone()
    ids, mask = tokens()
    _, adapter = make("adapters:prefix_tuning", backbone)
    with backbone.attach(adapter.at), torch.no_grad():
        states = backbone.hidden_states(ids, mask, up_to=2)
        whole = backbone.hidden_states(ids, mask)
        assert torch.equal(whole[2], states[2])
        assert torch.equal(whole[3], backbone(ids, mask))
    with torch.no_grad():
        plain = backbone.hidden_states(ids, mask, up_to=2)
    assert (plain[2] - states[2]).abs().max() > 1e-4


def saved(name, folder):
    """Write a changed module; the backbone that it is on, and what both make of `tokens`."""
    backbone = tiny_backbone()
    method, adapter = make(name, backbone)
    change(adapter)
    wanted = state(backbone, adapter, *tokens())
    method.save(adapter, folder, "thing", backbone)
    return backbone, wanted


@pytest.mark.parametrize("tuner", ["dora", "ia3", "vera", "pissa", "oft"])
def test_plain_peft_loads_the_folder(tuner, tmp_path):
    import peft

    ids, mask = tokens()
    _, wanted = saved(f"peft:{tuner}", tmp_path)
    plain = peft.PeftModel.from_pretrained(tiny_backbone().encoder, tmp_path).eval()
    found = plain(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-6)


@needs_adapters
@pytest.mark.parametrize(
    "config", ["prefix_tuning", "ia3", "compacter", "mam", "unipelt", "loreft"]
)
def test_the_plain_adapters_library_loads_the_folder(config, tmp_path):
    ids, mask = tokens()
    (tmp_path / "module").mkdir()
    backbone, wanted = saved(f"adapters:{config}", tmp_path / "module")
    backbone.encoder.save_pretrained(tmp_path / "base")
    import adapters

    plain = adapters.AutoAdapterModel.from_pretrained(tmp_path / "base", attn_implementation="sdpa")
    plain.load_adapter(str(tmp_path / "module"), use_safetensors=True, set_active=True)
    found = plain.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("name", marked("peft:dora", "adapters:compacter", "adapters:loreft"))
def test_the_library_of_modules_takes_and_verifies_it(name, tmp_path):
    backbone = tiny_backbone()
    ids, mask = tokens()
    method, adapter = make(name, backbone)
    change(adapter)
    zoo = Zoo(tmp_path / "zoo")

    def write(folder):
        method.save(adapter, folder, "mnli", backbone)
        manifest = Manifest(
            name="mnli",
            kind=method.KIND,
            method=load_method(name).method,
            preset=name,
            options=adapter.options.model_dump(),
            backbone=backbone.identity,
        )
        return write_manifest(folder, manifest)

    entry = zoo.add(write)
    assert entry.reference.startswith("mnli/" + name.replace(":", "-"))
    again = load_module(zoo.find(entry.reference), zoo, backbone)
    wanted = state(backbone, adapter, ids, mask)
    assert torch.allclose(state(backbone, again, ids, mask), wanted, atol=1e-6)
    for text in ("average(mnli, mnli)", "stack(mnli, mnli)", "fuse(mnli)", "mnli + mnli"):
        with pytest.raises(UsageError, match="acts alone"):
            resolve_expression(text, zoo, backbone)


def test_a_changed_folder_is_refused(tmp_path):
    backbone = tiny_backbone()
    method, adapter = make("peft:dora", backbone)
    method.save(adapter, tmp_path, "thing", backbone)
    path = tmp_path / "xstilts_options.json"
    path.write_text(json.dumps({"tuner": "dora", "targets": ["query"], "settings": {}}))
    with pytest.raises(IntegrityError, match="unexpected"):
        method.load(tmp_path, backbone.shape)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("peft:adalora", {}, "ranks"),
        ("peft:doora", {}, "Did you mean 'dora'"),
        ("peft:dora", {"rank": 3}, "refuses the settings"),
        ("adapters:dora", {}, "use peft:dora"),
        pytest.param(
            "adapters:lora", {"use_dora": "true"}, "with DoRA is refused", marks=needs_adapters
        ),
        ("adapters:prefix", {}, "prefix_tuning"),
        ("adapters:prompt_tuning", {}, "longer"),
        pytest.param("adapters:ia3", {"nothing": 1}, "no setting 'nothing'", marks=needs_adapters),
    ],
)
def test_what_is_wrong_is_refused(name, settings, words):
    with pytest.raises(UsageError, match=words):
        make(name, tiny_backbone(), **settings)


def test_it_acts_alone():
    backbone = tiny_backbone()
    _, one = make("peft:dora", backbone)
    lora = METHODS.get("lora")
    two = lora.create(backbone.shape, lora.Options(), torch.Generator())
    with pytest.raises(UsageError, match="alone"), backbone.attach({**one.at, **two.at}):
        pass
    with pytest.raises(UsageError, match="another encoder"), tiny_backbone().attach(one.at):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backbone(*tokens()).shape == (4, 11, 16)
