"""Exports, loaded by the libraries that they are for."""

from __future__ import annotations

import json
import re

import pytest
import torch
import transformers
from support.trained import add_composition, add_module, backbone_folder

from xstilts.backbone.architectures import ARCHITECTURES
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import Site
from xstilts.cli import main
from xstilts.composition.compose import compose
from xstilts.composition.export import EXPORTS, export, probe, reference, source
from xstilts.composition.export._fold import folded
from xstilts.composition.parser import parse
from xstilts.errors import IntegrityError, NotFoundError, UsageError
from xstilts.modules.methods import METHODS, _adapters_lora, lora
from xstilts.zoo import Zoo

FORMATS = {"mnli": "SequenceClassification", "udpos": "TokenClassification"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    backbone = Backbone.load(str(backbone_folder(folder / "pico")))
    zoo = Zoo(folder / "zoo")
    for task in ("mnli", "squad2", "hellaswag", "udpos"):
        for preset in ("seq_bn", "lora", "full"):
            add_module(zoo, backbone, task, preset, seed=len(task))
    add_module(zoo, backbone, "mlm", "lora")
    add_module(zoo, backbone, "mlm", "lang")
    return folder, backbone, zoo


def ours(place, text):
    """Our logits on fixed ids."""
    _, backbone, zoo = place
    ids, mask = probe(backbone)
    return ids, mask, reference(source(text, zoo, backbone), ids, mask)


class Dense(torch.nn.Module):
    """A node of somebody else's method: any change of a weight matrix."""

    def __init__(self, *sizes):
        super().__init__()
        self.change = torch.nn.Parameter(torch.randn(sizes) * 0.1)

    def forward(self, x):
        return x @ self.change.T

    def weight_update(self):
        return self.change


def test_what_says_its_change_of_a_weight_matrix_folds(place):
    _, backbone, zoo = place
    chosen = source("stack(mnli/lora, udpos/lora)", zoo, backbone)
    nodes = chosen.loaded.composed.nodes
    key = next(iter(nodes))
    site, own = Site.of(key), nodes[key].parts[0].weight_update()
    before = folded(chosen)
    dense = nodes[key].parts[1] = Dense(*own.shape)
    after = folded(chosen)
    name = f"{backbone.layout.path(site)}.weight"
    plain = backbone.encoder.state_dict()[name]
    assert torch.allclose(after.pop(name), plain + own + dense.change, atol=1e-6)
    assert all(torch.equal(before[other], tensor) for other, tensor in after.items())
    nodes[key].parts[1] = torch.nn.Identity()
    with pytest.raises(UsageError, match="no change of a weight matrix"):
        folded(chosen)


@pytest.mark.parametrize("preset", ["lora", "full"])
@pytest.mark.parametrize("task", ["mnli", "udpos"])
def test_transformers_loads_the_model_and_agrees(place, task, preset, tmp_path):
    _, backbone, zoo = place
    result = export("hf", f"{task}/{preset}", zoo, backbone, tmp_path / "out")
    assert result.difference < 1e-6
    kind = getattr(transformers, f"AutoModelFor{FORMATS[task]}")
    model = kind.from_pretrained(tmp_path / "out", attn_implementation="sdpa").eval()
    ids, mask, wanted = ours(place, f"{task}/{preset}")
    found = model(input_ids=ids, attention_mask=mask).logits
    if task == "udpos":
        found, wanted = found[mask.bool()], wanted[mask.bool()]
    assert torch.allclose(found, wanted, atol=1e-6)
    labels = source(f"{task}/{preset}", zoo, backbone).head.task.labels
    assert [model.config.id2label[n] for n in range(len(labels))] == labels
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("a man runs")["input_ids"] == backbone.tokenizer("a man runs")["input_ids"]


def test_answers_and_choices_agree(place, tmp_path):
    _, backbone, zoo = place
    export("hf", "squad2/lora", zoo, backbone, tmp_path / "qa")
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path / "qa").eval()
    ids, mask, wanted = ours(place, "squad2/lora")
    output = model(input_ids=ids, attention_mask=mask)
    assert torch.allclose(output.start_logits[0], wanted[0, :, 0], atol=1e-6)
    assert torch.allclose(output.end_logits[0], wanted[0, :, 1], atol=1e-6)
    export("hf", "hellaswag/lora", zoo, backbone, tmp_path / "mc")
    model = transformers.AutoModelForMultipleChoice.from_pretrained(tmp_path / "mc").eval()
    ids, mask, wanted = ours(place, "hellaswag/lora")
    found = model(input_ids=ids[None], attention_mask=mask[None]).logits
    assert torch.allclose(found[0], wanted, atol=1e-6)


def test_a_masked_language_model_is_whole(place, tmp_path):
    _, backbone, zoo = place
    assert export("hf", "mlm/lora", zoo, backbone, tmp_path / "out").difference < 1e-5
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    ids, mask, wanted = ours(place, "mlm/lora")
    found = model(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)
    keep = mask.flatten().bool()
    assert torch.allclose(found[keep], wanted[keep], atol=1e-5)


def test_a_merged_encoder_is_a_backbone(place, tmp_path):
    _, backbone, zoo = place
    export("merged", "mnli/lora + udpos/lora", zoo, backbone, tmp_path / "out")
    again = Backbone.load(str(tmp_path / "out"))
    ids, mask, wanted = ours(place, "mnli/lora + udpos/lora")
    assert torch.allclose(again(ids, mask), wanted, atol=1e-6)
    assert again.identity.fingerprint != backbone.identity.fingerprint
    assert again.identity.tokenizer_sha256 == backbone.identity.tokenizer_sha256


def test_peft_loads_module_and_head(place, tmp_path):
    peft = pytest.importorskip("peft")
    folder, backbone, zoo = place
    for task, kind in (("mnli", "SequenceClassification"), ("udpos", "TokenClassification")):
        out = tmp_path / task
        export("peft", f"{task}/lora", zoo, backbone, out)
        labels = len(source(f"{task}/lora", zoo, backbone).head.task.labels)
        plain = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
            folder / "pico", num_labels=labels, attn_implementation="sdpa"
        )
        model = peft.PeftModel.from_pretrained(plain, out).eval()
        ids, mask, wanted = ours(place, f"{task}/lora")
        found = model(input_ids=ids, attention_mask=mask).logits
        if task == "udpos":
            found, wanted = found[mask.bool()], wanted[mask.bool()]
        assert torch.allclose(found, wanted, atol=1e-6)


def test_peft_gets_one_module_from_a_sum(place, tmp_path):
    peft = pytest.importorskip("peft")
    folder, backbone, zoo = place
    text = "average(mnli/lora*0.25, udpos/lora*0.75)"
    export("peft", text, zoo, backbone, tmp_path / "out")
    plain = transformers.AutoModel.from_pretrained(folder / "pico", add_pooling_layer=False)
    model = peft.PeftModel.from_pretrained(plain, tmp_path / "out").eval()
    ids, mask, wanted = ours(place, text)
    found = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-6)


def test_peft_finds_the_base_by_itself(place, tmp_path):
    peft = pytest.importorskip("peft")
    _, backbone, zoo = place
    text = "average(mnli/lora*0.25, udpos/lora*0.75)"
    export("peft", text, zoo, backbone, tmp_path / "out")
    model = peft.AutoPeftModelForFeatureExtraction.from_pretrained(tmp_path / "out").eval()
    ids, mask, wanted = ours(place, text)
    found = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-6)
    headed = tmp_path / "headed"
    export("peft", "mnli/lora", zoo, backbone, headed)
    kind = peft.AutoPeftModelForSequenceClassification
    assert kind.__name__ in (headed / "README.md").read_text("utf-8")
    (said,) = re.findall(r"`num_labels=(\d)`: (.*)", (headed / "README.md").read_text("utf-8"))
    assert said == ("3", "entailment, neutral, contradiction")
    model = kind.from_pretrained(headed, num_labels=int(said[0])).eval()
    ids, mask, wanted = ours(place, "mnli/lora")
    assert torch.allclose(model(input_ids=ids, attention_mask=mask).logits, wanted, atol=1e-6)


# ---------------------------------------------------------------------------- the adapters library


@pytest.fixture
def library(place):
    adapters = pytest.importorskip("adapters", reason="the adapters library is not installed")
    return adapters.AutoAdapterModel.from_pretrained(
        place[0] / "pico", attn_implementation="sdpa"
    ).eval()


@pytest.mark.parametrize("preset", ["seq_bn", "lora"])
@pytest.mark.parametrize("task", ["mnli", "udpos", "squad2"])
def test_the_adapters_library_loads_module_and_head(place, library, task, preset, tmp_path):
    _, backbone, zoo = place
    export("adapters", f"{task}/{preset}", zoo, backbone, tmp_path / "out")
    library.load_adapter(str(tmp_path / "out"), use_safetensors=True, set_active=True)
    library.eval()
    ids, mask, wanted = ours(place, f"{task}/{preset}")
    output = library(input_ids=ids, attention_mask=mask)
    keep = mask.bool()
    if task == "squad2":
        found = torch.stack([output.start_logits, output.end_logits], dim=-1)
        found, wanted = found[keep], wanted[keep]
    elif task == "udpos":
        found, wanted = output.logits[keep], wanted[keep]
    else:
        found = output.logits
    assert torch.allclose(found, wanted, atol=1e-6)
    load = METHODS.get("bottleneck").load if preset == "seq_bn" else lora.load_from_adapters
    module = load(tmp_path / "out", backbone.shape)
    composed = compose(parse("a"), {"a": module}, backbone.shape, torch.Generator())
    plain = source(f"{task}/{preset}", zoo, backbone).loaded.composed
    states = []
    for nodes in (composed.nodes, plain.nodes):
        with backbone.attach(nodes):
            states.append(backbone(ids, mask))
    assert torch.allclose(*states, atol=1e-6)


def test_the_adapters_library_loads_a_stack(place, library, tmp_path):
    _, backbone, zoo = place
    text = "stack(mlm/lang, mnli/seq_bn)"
    export("adapters", text, zoo, backbone, tmp_path / "out")
    library.load_adapter_setup(str(tmp_path / "out"), set_active=True, use_safetensors=True)
    library.eval()
    ids, mask, wanted = ours(place, text)
    assert torch.allclose(library(input_ids=ids, attention_mask=mask).logits, wanted, atol=1e-6)


def test_the_adapters_library_loads_a_trained_fusion(place, library, tmp_path):
    _, backbone, zoo = place
    add_composition(zoo, backbone, "fuse(mnli/seq_bn, udpos/seq_bn)", "mnli", "fused")
    export("adapters", "fused", zoo, backbone, tmp_path / "out")
    library.load_adapter_setup(str(tmp_path / "out"), set_active=True, use_safetensors=True)
    library.eval()
    ids, mask, wanted = ours(place, "fused")
    assert torch.allclose(library(input_ids=ids, attention_mask=mask).logits, wanted, atol=1e-6)


def test_peft_loads_a_head_over_merged_modules(place, tmp_path):
    peft = pytest.importorskip("peft")
    folder, backbone, zoo = place
    text = "average(mnli/lora, udpos/lora)"
    add_composition(zoo, backbone, text, "mnli", "averaged")
    export("peft", "averaged", zoo, backbone, tmp_path / "out")
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder / "pico", num_labels=3, attn_implementation="sdpa"
    )
    model = peft.PeftModel.from_pretrained(plain, tmp_path / "out").eval()
    ids, mask, wanted = ours(place, "averaged")
    found = model(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_lora_of_several_ranks_and_sites_survives_the_adapters_format(place, library, tmp_path):
    _, backbone, _ = place
    from support.models import randomise

    method = METHODS.get("lora")
    values = method.Options(
        targets=["query", "key", "intermediate", "output"],
        rank=4,
        alpha=6,
        leave_out=[1],
        rank_pattern={"0_query": 2},
        only=["0_query", "0_output", "2_key", "2_intermediate"],
    )
    adapter = method.create(backbone.shape, values, torch.Generator().manual_seed(0))
    randomise(adapter)
    _adapters_lora.save(adapter, tmp_path, "thing", backbone)
    library.load_adapter(str(tmp_path), use_safetensors=True, set_active=True)
    library.eval()
    ids, mask = probe(backbone)
    with backbone.attach(adapter.at):
        wanted = backbone(ids, mask)
    found = library(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found[mask.bool()], wanted[mask.bool()], atol=1e-6)
    again = lora.load_from_adapters(tmp_path, backbone.shape)
    for key, module in adapter.at.items():
        assert torch.allclose(again.at[key].weight_update(), module.weight_update(), atol=1e-6)


# ------------------------------------------------------------------------------------ the rest


@pytest.mark.slow
@pytest.mark.parametrize("text", ["mnli/seq_bn", "udpos/lora", "stack(mlm/lang, hellaswag/seq_bn)"])
def test_onnx_agrees(place, text, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    _, backbone, zoo = place
    result = export("onnx", text, zoo, backbone, tmp_path / "out")
    assert result.difference < 1e-5
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    ids, mask = probe(backbone, 3, 9)
    (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    wanted = reference(source(text, zoo, backbone), ids, mask)
    assert torch.allclose(torch.from_numpy(found)[0], wanted[0], atol=1e-5)


def test_every_class_that_is_named_loads_its_models():
    adapters = pytest.importorskip("adapters", reason="the adapters library is not installed")
    named = {}
    for name in ARCHITECTURES:
        named |= ARCHITECTURES.get(name).ADAPTERS_CLASSES
    assert {"xlm-roberta", "roberta", "bert", "deberta-v2"} <= named.keys()
    for model_type, wanted in named.items():
        config = transformers.AutoConfig.for_model(model_type)
        found = adapters.AutoAdapterModel._model_mapping[type(config)]
        assert found.__name__ == wanted, model_type


@pytest.mark.parametrize("model_type", ["camembert", "xlm-roberta-xl", "modernbert", "llama"])
def test_a_backbone_that_the_adapters_library_lacks_is_refused_by_name(model_type, tmp_path):
    backbone = Backbone.load(str(backbone_folder(tmp_path / "pico", model_type)))
    zoo = Zoo(tmp_path / "zoo")
    add_module(zoo, backbone, "mnli", "seq_bn")
    with pytest.raises(UsageError, match=f"cannot load a module of a {model_type} backbone"):
        export("adapters", "mnli/seq_bn", zoo, backbone, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("hf", "mnli/seq_bn", "cannot be folded"),
        ("hf", "none", "no head"),
        ("merged", "fuse(mnli/seq_bn, udpos/seq_bn)", "cannot be folded"),
        ("peft", "mnli/seq_bn", "no LoRA module"),
        ("peft", "stack(mnli/lora, udpos/lora)", "no LoRA module"),
        ("adapters", "mnli/full", "cannot hold"),
        ("adapters", "stack(mnli/lora, udpos/lora)", "wrongly"),
        ("adapters", "mlm/lora", "cannot load heads"),
        ("onnx", "mlm/lora", "cannot be exported"),
    ],
)
def test_what_cannot_be_expressed_is_refused(place, kind, text, words, tmp_path):
    _, backbone, zoo = place
    with pytest.raises(UsageError, match=words):
        export(kind, text, zoo, backbone, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_differs_is_not_kept(place, tmp_path, monkeypatch):
    _, backbone, zoo = place
    monkeypatch.setattr(EXPORTS.get("hf"), "folded", lambda source: backbone.encoder.state_dict())
    with pytest.raises(IntegrityError, match="differs by"):
        export("hf", "mnli/lora", zoo, backbone, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists"):
        export("hf", "mnli/lora", zoo, backbone, tmp_path / "there")
    with pytest.raises(NotFoundError, match="onnx"):
        export("onyx", "mnli/lora", zoo, backbone, tmp_path / "out")


def test_command(place, capsys, tmp_path):
    folder, _, _ = place
    flags = ("--backbone", str(folder / "pico"), "--zoo", str(folder / "zoo"), "--json")
    to = ("--to", str(tmp_path / "out"))
    for extra in (("--dry-run",), ()):
        with pytest.raises(SystemExit) as caught:
            main(["export", "hf", "mnli/lora", *to, *flags, *extra])
        assert not caught.value.code
        record = json.loads(capsys.readouterr().out)
        assert (tmp_path / "out").is_dir() == (not extra)
    assert record["difference"] < 1e-6
    assert "model.safetensors" in record["files"]
