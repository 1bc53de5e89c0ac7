"""Language adapters: the invertible part, against hand arithmetic and the adapters library."""

from __future__ import annotations

import json

import pytest
import torch
from support.models import randomise, tiny_backbone, tokens

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import ComposedModules, compose
from xstilts.composition.parser import parse
from xstilts.composition.task_model import Head, TaskModel, inverse_at_embeddings
from xstilts.config.load import load_method, load_task
from xstilts.data.features import Batch
from xstilts.errors import IntegrityError
from xstilts.modules.methods import METHODS, language
from xstilts.modules.methods.language import Coupling, Options

OPTIONS = {"reduction_factor": 4}


def make(backbone: Backbone, seed: int = 0, preset: str = "lang"):
    spec = load_method(preset)
    values = Options.model_validate(spec.options | OPTIONS)
    adapter = language.create(backbone.shape, values, torch.Generator().manual_seed(seed))
    randomise(adapter, seed=seed)
    return adapter


@pytest.fixture
def backbone():
    return tiny_backbone()


def last_state(model, ids, mask):
    return model(input_ids=ids, attention_mask=mask).last_hidden_state


def batch(ids, mask):
    labels = torch.full_like(ids, -100)
    labels[0, 2], labels[0, 5], labels[1, 3] = 7, 8, 9
    example = torch.arange(len(ids))
    return Batch(ids, mask, example, example.numpy(), len(ids), {"labels": labels}, {})


def test_coupling_by_hand():
    """D = 2, F(x) = 2 relu(x), G(x) = 3 relu(x): (1, 4) -> (1 + 8, 4 + 27) = (9, 31)."""
    coupling = Coupling(2, Options(reduction_factor=1, invertible_reduction_factor=1))
    with torch.no_grad():
        for network, factor in ((coupling.F, 2.0), (coupling.G, 3.0)):
            network[0].weight.fill_(1.0)
            network[2].weight.fill_(factor)
            network[0].bias.zero_()
            network[2].bias.zero_()
    x = torch.tensor([[[1.0, 4.0]]])
    assert (x + coupling(x, x, None)).tolist() == [[[9.0, 31.0]]]
    assert coupling.inverse(torch.tensor([9.0, 31.0])).tolist() == [1.0, 4.0]


def test_inverse_undoes_a_stack(backbone):
    modules = {"a": make(backbone, 1), "b": make(backbone, 2)}
    stacked = compose(parse("stack(a, b)"), modules, backbone.shape, torch.Generator())
    back = inverse_at_embeddings(dict(stacked.nodes.items()))
    hidden = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(3))
    there = hidden + stacked.nodes["-1_embeddings"](hidden, hidden, None)
    assert (there - hidden).abs().max() > 0.1
    assert torch.allclose(back(there), hidden, atol=1e-5)


def test_it_acts_at_the_embedding_output(backbone):
    ids, mask = tokens()
    adapter = make(backbone)
    plain = backbone.hidden_states(ids, mask, up_to=0)[0]
    coupling = adapter.at["-1_embeddings"]
    with backbone.attach({"-1_embeddings": coupling}):
        changed = backbone.hidden_states(ids, mask, up_to=0)[0]
    assert torch.equal(changed, plain + coupling(plain, plain, None))


def test_swapping_the_language_keeps_the_task_module(backbone):
    ids, mask = tokens()
    task = METHODS.get("bottleneck").create(
        backbone.shape, METHODS.get("bottleneck").Options(reduction_factor=4), torch.Generator()
    )
    randomise(task, 9)
    outputs = []
    for seed in (1, 2):
        parts = {"lang-de": make(backbone, seed), "mnli": task}
        composed = compose(parse("stack(lang-de, mnli)"), parts, backbone.shape, torch.Generator())
        with backbone.attach(composed.nodes):
            outputs.append(backbone(ids, mask))
        # stacking at a sub-layer: the task module reads what the language module made
        assert len(composed.nodes["1_ffn"].parts) == 2
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def test_masked_language_model_uses_the_inverse_and_leaves_no_trace(backbone):
    ids, mask = tokens()
    adapter = make(backbone)
    head = Head.new(load_task("mlm"), backbone, torch.Generator().manual_seed(0))
    composed = ComposedModules(dict(adapter.at.items()), {})
    model = TaskModel(backbone, composed, {"mlm": head}).eval()
    with model.attached():
        logits = model.logits(batch(ids, mask), "mlm")
        hidden = backbone(ids, mask)
    assert head.module.inverse is None
    masked = torch.stack([hidden[0, 2], hidden[0, 5], hidden[1, 3]])
    state = head.module.layer_norm(torch.nn.functional.gelu(head.module.dense(masked)))
    state = adapter.at["-1_embeddings"].inverse(state)
    words = backbone.encoder.embeddings.word_embeddings.weight
    assert torch.allclose(logits, state @ words.T + head.module.bias, atol=1e-6)


def test_training_reaches_both_directions(backbone):
    ids, mask = tokens()
    adapter = language.create(backbone.shape, Options(**OPTIONS), torch.Generator().manual_seed(0))
    head = Head.new(load_task("mlm"), backbone, torch.Generator().manual_seed(0))
    model = TaskModel(backbone, ComposedModules(dict(adapter.at.items()), {}), {"mlm": head})
    with model.attached():
        model(batch(ids, mask), "mlm").sum().backward()
    coupling = adapter.at["-1_embeddings"]
    assert coupling.G[2].weight.grad.abs().sum() > 0
    assert coupling.F[2].weight.grad.abs().sum() > 0


@pytest.fixture
def library(backbone, tmp_path):
    adapters = pytest.importorskip("adapters", reason="the adapters library is not installed")
    backbone.encoder.save_pretrained(tmp_path / "base")
    return adapters.AutoAdapterModel.from_pretrained(
        tmp_path / "base", attn_implementation="sdpa"
    ).eval()


@pytest.mark.parametrize("preset", ["lang", "seq_bn_inv"])
def test_library_loads_our_folder_and_agrees(preset, backbone, library, tmp_path):
    from adapters.composition import Stack

    ids, mask = tokens()
    adapter = make(backbone, preset=preset)
    (tmp_path / "module").mkdir()
    language.save(adapter, tmp_path / "module", "sw", backbone)
    library.load_adapter(str(tmp_path / "module"), use_safetensors=True, set_active=True)
    with backbone.attach(adapter.at):
        assert torch.allclose(last_state(library, ids, mask), backbone(ids, mask), atol=1e-6)

    task = METHODS.get("bottleneck").create(
        backbone.shape, METHODS.get("bottleneck").Options(reduction_factor=4), torch.Generator()
    )
    randomise(task, 9)
    (tmp_path / "task").mkdir()
    METHODS.get("bottleneck").save(task, tmp_path / "task", "mnli", backbone)
    library.load_adapter(str(tmp_path / "task"), use_safetensors=True)
    library.set_active_adapters(Stack("sw", "mnli"))
    parts = {"sw": adapter, "mnli": task}
    composed = compose(parse("stack(sw, mnli)"), parts, backbone.shape, torch.Generator())
    with backbone.attach(composed.nodes):
        assert torch.allclose(last_state(library, ids, mask), backbone(ids, mask), atol=1e-6)


def test_we_load_the_librarys_folder_and_agree(backbone, library, tmp_path):
    ids, mask = tokens()
    library.add_adapter("theirs", config="seq_bn_inv")
    library.set_active_adapters("theirs")
    for name, parameter in library.named_parameters():
        if "theirs" in name:
            parameter.data.normal_(0, 0.2, generator=torch.Generator().manual_seed(len(name)))
    (tmp_path / "out").mkdir()
    library.save_adapter(str(tmp_path / "out"), "theirs", use_safetensors=True)
    adapter = language.load(tmp_path / "out", backbone.shape)
    with backbone.attach(adapter.at):
        assert torch.allclose(last_state(library, ids, mask), backbone(ids, mask), atol=1e-6)


def test_masked_language_model_agrees_with_the_library(backbone, library, tmp_path):
    ids, mask = tokens()
    adapter = make(backbone)
    (tmp_path / "module").mkdir()
    language.save(adapter, tmp_path / "module", "sw", backbone)
    library.load_adapter(str(tmp_path / "module"), use_safetensors=True, set_active=True)
    head = Head.new(load_task("mlm"), backbone, torch.Generator().manual_seed(0))
    randomise(head.module, 4)
    library.add_masked_lm_head("mlm")
    library.set_active_adapters("sw")
    theirs = library.heads["mlm"]
    own = head.module
    dense, norm, out = theirs[0], theirs[2], theirs[3]
    with torch.no_grad():
        for target, source in ((dense, own.dense), (norm, own.layer_norm)):
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)
        out.weight.copy_(backbone.encoder.embeddings.word_embeddings.weight)
        out.bias.copy_(own.bias)
    library.eval()
    logits = library(input_ids=ids, attention_mask=mask, head="mlm").logits
    model = TaskModel(backbone, ComposedModules(dict(adapter.at.items()), {}), {"mlm": head}).eval()
    with model.attached():
        ours = model.logits(batch(ids, mask), "mlm")
    picked = torch.stack([logits[0, 2], logits[0, 5], logits[1, 3]])
    assert torch.allclose(picked, ours, atol=1e-5)
    assert (picked - ours).abs().max() < 1e-5


def test_other_couplings_are_refused(backbone, tmp_path):
    adapter = make(backbone)
    language.save(adapter, tmp_path, "sw", backbone)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    for value in ("glow", None):
        config["config"]["inv_adapter"] = value
        path.write_text(json.dumps(config))
        with pytest.raises(IntegrityError, match="inv_adapter"):
            language.load(tmp_path, backbone.shape)
