"""Causal language models as backbones: equal to transformers, to peft and to hand arithmetic."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.models import encoder, fresh, randomise, same_gradients, tiny_backbone, tokens
from support.tokenizers import byte_tokenizer, tiny_tokenizer
from torch.nn import functional as F

from xstilts.backbone import pretrained
from xstilts.backbone.architectures import architecture_of
from xstilts.backbone.architectures.decoder import MODEL_TYPES
from xstilts.backbone.backbone import Backbone
from xstilts.composition.heads import load_heads, save_heads
from xstilts.composition.predict import logits
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.features import Batch, collate
from xstilts.errors import UsageError
from xstilts.tasks.encoding import encode_rows
from xstilts.tasks.formats import extractive_qa

every_type = pytest.mark.parametrize("model_type", MODEL_TYPES)


@every_type
def test_hidden_states_are_those_of_transformers(model_type):
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    ids, mask = ids[:1], mask[:1]  # no padding: what the library does without being told anything
    theirs = backbone.encoder(input_ids=ids, output_hidden_states=True)
    ours = backbone.hidden_states(ids, mask)
    for mine, other in zip(ours, theirs.hidden_states, strict=True):
        assert torch.allclose(mine, other, atol=1e-6)
    assert torch.allclose(backbone(ids, mask), theirs.last_hidden_state, atol=1e-6)
    assert torch.equal(ours[-1], backbone(ids, mask))


@every_type
def test_padded_rows_give_what_single_rows_do_and_no_token_sees_a_later_one(model_type):
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    whole = backbone(ids, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = backbone(ids[row : row + 1, :length], mask[row : row + 1, :length])
        assert (whole[row, :length] - alone[0]).abs().max() < 1e-5
    later = ids.clone()
    later[0, 6:] = (later[0, 6:] + 1) % 90 + 4
    changed = backbone(later, mask)[0]
    assert (changed[:6] - whole[0, :6]).abs().max() < 1e-6
    assert (changed[6:] - whole[0, 6:]).abs().max() > 1e-3


@every_type
@pytest.mark.parametrize("preset", ["lora", "double_seq_bn", "par_bn"])
def test_a_fresh_module_changes_no_bit_and_a_trained_one_acts_in_every_block(model_type, preset):
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    before = backbone(ids, mask)
    _, module = (
        fresh(preset, backbone.shape, reduction_factor=4)
        if "bn" in preset
        else fresh(preset, backbone.shape)
    )
    with backbone.attach(module.at):
        assert torch.equal(backbone(ids, mask), before)
    randomise(module)
    with backbone.attach(module.at):
        states = backbone.hidden_states(ids, mask)
        assert (backbone(ids, mask) - before).abs().max() > 1e-3
        for first, hidden in enumerate(states):
            assert torch.equal(backbone.from_block(first, hidden, ids, mask), states[-1])
    assert torch.equal(backbone(ids, mask), before)
    assert {site.block for site in module.sites()} == {0, 1, 2}


@every_type
def test_lora_is_that_of_peft(model_type, tmp_path):
    peft = pytest.importorskip("peft")
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    linears = backbone.layout.linears
    method, module = fresh("lora", backbone.shape, targets=list(linears), rank=2, alpha=6.0)
    randomise(module)
    method.save(module, tmp_path, "mine", backbone)
    with torch.no_grad(), backbone.attach(module.at):
        ours = backbone(ids, mask)
    again = method.load(tmp_path, backbone.shape)
    with torch.no_grad(), backbone.attach(again.at):
        assert torch.equal(backbone(ids, mask), ours)
    theirs = peft.PeftModel.from_pretrained(encoder(model_type), tmp_path).eval()
    same_gradients(backbone, module, theirs, ids, mask)


def by_hand(block, x, module, key, run):
    """x plus a sub-layer, plus relu(down(sum)) up: a bottleneck before the residual sum."""
    update = run(block, x)
    adapter = module.at[key]
    inner = F.relu((x + update) @ adapter.down.weight.T + adapter.down.bias)
    return x + update + inner @ adapter.up.weight.T + adapter.up.bias


def llama_ffn(block, x):
    return block.mlp(block.post_attention_layernorm(x))


def gemma_ffn(block, x):
    inner = block.mlp(block.pre_feedforward_layernorm(x))
    return block.post_feedforward_layernorm(inner)


def bloom_ffn(block, x):
    inner = block.mlp.dense_h_to_4h(block.post_attention_layernorm(x))
    return block.mlp.dense_4h_to_h(block.mlp.gelu_impl(inner))


def xglm_ffn(block, x):
    return block.fc2(block.activation_fn(block.fc1(block.final_layer_norm(x))))


@pytest.mark.parametrize(
    ("model_type", "run"),
    [("llama", llama_ffn), ("gemma2", gemma_ffn), ("bloom", bloom_ffn), ("xglm", xglm_ffn)],
)
def test_a_bottleneck_acts_before_the_residual_sum(model_type, run):
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    _, module = fresh("seq_bn", backbone.shape, reduction_factor=4)
    randomise(module)
    block = backbone.blocks[0]
    name = backbone.layout.sublayers["ffn"].residual[0]
    seen = []
    handle = block.get_submodule(name).register_forward_pre_hook(
        lambda _, given: seen.append(given)
    )
    with backbone.attach(module.at):
        output = backbone.hidden_states(ids, mask, up_to=1)[1]
    handle.remove()
    expected = by_hand(block, seen[0][0], module, "0_ffn", run)
    assert (output - expected)[mask.bool()].abs().max() < 1e-5


@pytest.mark.parametrize("model_type", ["llama", "gemma3_text", "bloom", "xglm"])
def test_gradient_checkpointing_gives_the_same_gradients(model_type):
    still = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0)
    backbone, (ids, mask) = tiny_backbone(model_type, **still), tokens()
    _, module = fresh("lora", backbone.shape, dropout=0.0)
    randomise(module)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            backbone.encoder.gradient_checkpointing_enable({"use_reentrant": False})
        backbone.encoder.train()
        for parameter in module.parameters():
            parameter.grad = None
        with backbone.attach(module.at):
            backbone(ids, mask)[mask.bool()].pow(2).sum().backward()
        gradients.append([p.grad.clone() for p in module.parameters()])
    for plain, kept in zip(*gradients, strict=True):
        assert torch.allclose(plain, kept, rtol=1e-5, atol=1e-7)


@every_type
def test_bf16_is_near_float32(model_type):
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    exact = backbone(ids, mask)
    with torch.autocast("cpu", torch.bfloat16):
        near = backbone(ids, mask)
    assert near.isfinite().all()
    assert F.cosine_similarity(exact[mask.bool()], near[mask.bool()].float(), dim=-1).min() > 0.98


@pytest.mark.parametrize(("asked", "read"), [("", "last"), ("mean", "mean"), ("cls", "cls")])
def test_a_head_reads_after_loading_what_it_read_in_training(asked, read, tmp_path):
    backbone, (ids, mask) = tiny_backbone("llama"), tokens()
    options = {"head_pooling": asked} if asked else {}
    task = TaskSpec(
        name="of-a-yaml-elsewhere", format="classification", languages=["en"], metric="accuracy",
        sources=[], labels=["a", "b"], options=options,
    )  # fmt: skip
    head = Head.new(task, backbone, torch.Generator().manual_seed(0))
    records = save_heads({task.name: head}, tmp_path)
    entry = SimpleNamespace(folder=tmp_path, manifest=SimpleNamespace(heads=records, format=""))
    (again,) = load_heads(entry, backbone)
    batch = Batch(ids, mask, torch.arange(4), np.arange(4), 4)
    hidden = backbone(ids, mask)
    dense, out = head.module.dense, head.module.out_proj
    vector = {
        "last": torch.stack([row[n - 1] for row, n in zip(hidden, mask.sum(1), strict=True)]),
        "mean": torch.stack([row[:n].mean(0) for row, n in zip(hidden, mask.sum(1), strict=True)]),
        "cls": hidden[:, 0],
    }[read]
    expected = out(torch.tanh(dense(vector)))
    for module in (head.module.eval(), again.module.eval()):
        assert torch.allclose(module(hidden, batch), expected, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("model_type", "place"), [("llama", -1), ("xlm-roberta", 0), ("t5", 0)])
def test_no_answer_is_scored_where_a_token_sees_the_whole_window(model_type, place):
    texts = ["who runs home ?", "a man runs home , and nobody sees him run"]
    tokenizer = byte_tokenizer(texts * 20, 300)
    tokenizer.pad_token = tokenizer.eos_token
    task = load_task("squad2")
    backbone = tiny_backbone(model_type, tokenizer=tokenizer, vocab_size=len(tokenizer))
    rows = [
        Example(str(n), "en", {"question": texts[0], "context": text}, (Answer(text, 0),))
        for n, text in enumerate((texts[1], texts[1] + " at all"))
    ]
    features = encode_rows(rows, task, backbone, 64)
    head = Head.new(task, backbone, torch.Generator().manual_seed(0))
    model = TaskModel(backbone, None, {task.name: head})
    found = extractive_qa.rank(logits(model, features, task.name), features, rows, task)
    batch = collate(features, np.arange(len(features)), tokenizer.pad_token_id)
    assert len(features) == len(rows)
    assert int(features.scalars["begin"][0] + features.scalars["length"][0]) < features.lengths[0]
    hidden = backbone(batch.input_ids, batch.attention_mask)
    for row, ranking in enumerate(found):
        scores = head.module.classifier(hidden[row, : features.lengths[row]])
        assert ranking.null_score == pytest.approx(float(scores[place].sum()), abs=1e-6)
        inside = scores[features.scalars["begin"][row] :][: features.scalars["length"][row]]
        best = max(
            float(inside[a, 0] + inside[b, 1])
            for a in range(len(inside))
            for b in range(a, min(len(inside), a + 30))
        )
        assert ranking.spans[0].score == pytest.approx(best, abs=1e-6)
    assert found[0].null_score != found[1].null_score


def test_what_cannot_be_described_is_refused():
    with pytest.raises(UsageError, match="looks ahead"):
        encoder_layout("gemma3_text", use_bidirectional_attention=True)
    with pytest.raises(UsageError, match="slow_but_exact"):
        encoder_layout("bloom", slow_but_exact=True, pretraining_tp=2)


def test_what_the_library_says_of_a_config_is_kept_to_itself(tmp_path, capfd):
    encoder("llama").save_pretrained(tmp_path)
    tiny_tokenizer(["a b c d e"] * 9, characters=True).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    scaling = {"rope_type": "linear", "factor": 2.0, "of_another_library": 1}
    (tmp_path / "config.json").write_text(json.dumps(values | {"rope_scaling": scaling}))
    backbone = Backbone.load(str(tmp_path))
    assert backbone.encoder.rotary_emb.rope_type == "linear"
    assert capfd.readouterr() == ("", "")


def test_a_backbone_that_does_not_fit_is_refused_before_a_weight_is_read(tmp_path, monkeypatch):
    encoder("llama").save_pretrained(tmp_path / "lm")
    (tmp_path / "lm" / "model.safetensors").unlink()
    config = encoder("llama").config
    needed = 4 * sum(p.numel() for p in encoder("llama").parameters())
    assert pretrained.weight_bytes(config) == needed
    monkeypatch.setattr(pretrained, "free_bytes", lambda: needed - 1)
    with pytest.raises(UsageError, match=r"weights of backbone .* take 0.0 GiB"):
        Backbone.load(str(tmp_path / "lm"))


def test_full_fine_tuning_that_cannot_fit_is_refused_from_the_config(tmp_path, monkeypatch):
    encoder("llama").save_pretrained(tmp_path / "lm")
    (tmp_path / "lm" / "model.safetensors").unlink()
    model = encoder("llama")
    weights = 4 * sum(p.numel() for p in model.parameters())
    words = 4 * model.get_input_embeddings().weight.numel()
    whole = 4 * weights - 3 * words
    need = partial(pretrained.memory_need, str(tmp_path / "lm"), device="cpu")
    for free, full, fits in (
        (whole, True, True),
        (whole - 1, True, False),
        (2 * weights, False, True),
    ):
        monkeypatch.setattr(pretrained, "free_bytes", lambda _, free=free: free)
        monkeypatch.setattr(pretrained, "GIB", 1 << 10)
        if fits:
            found = need(full=full)
            assert (found.weights, found.free) == (weights, free)
            assert found.training == (whole if full else weights)
            assert f"weights take {weights / 1024:.1f} GiB" in str(found)
        else:
            with pytest.raises(UsageError, match="full fine-tuning of backbone") as refused:
                need(full=full)
            assert "--method lora" in refused.value.hint
    monkeypatch.setattr(pretrained, "GIB", 1 << 30)
    monkeypatch.setattr(pretrained, "free_bytes", lambda _: None)
    assert need(full=False) is None  # a small one is not counted


def encoder_layout(model_type, **options):
    from transformers import AutoConfig

    config = AutoConfig.for_model(model_type, **options)
    return architecture_of(model_type).describe(config)
