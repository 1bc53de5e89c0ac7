"""Folders that the plain libraries write, as modules with the same output."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace

import pytest
import torch
import transformers
from integration.hub_server import HubServer, use
from safetensors.torch import load_file, save_file
from support.trained import add_module, backbone_folder
from support.zoo_modules import contents

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.composition.export import export, probe, reference, source
from xstilts.composition.importing import add_to, read_folder, require_base
from xstilts.composition.load import load_expression
from xstilts.errors import BackboneMismatchError, IntegrityError, NotFoundError, UsageError
from xstilts.modules.methods.lora import WEIGHTS
from xstilts.zoo import Zoo, hubs

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def pico(tmp_path_factory):
    return backbone_folder(tmp_path_factory.mktemp("import") / "pico")


@pytest.fixture
def backbone(pico):
    return Backbone.load(str(pico))


def fill(model, *marks):
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(mark in name for mark in marks):
            draws = torch.Generator().manual_seed(number)
            parameter.data.copy_(torch.randn(parameter.shape, generator=draws) * 0.3)


def imported(path, backbone, tmp_path, task="", **more):
    found = read_folder(path, backbone, task, **more)
    zoo = Zoo(tmp_path / "zoo")
    add_to(zoo, found, "thing", backbone, path)
    ids, mask = probe(backbone)
    return found, ids, mask, reference(source("thing", zoo, backbone), ids, mask)


@pytest.mark.parametrize("rslora", [False, True])
def test_peft_with_a_head(pico, backbone, tmp_path, rslora):
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(pico, num_labels=3)
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["query", "value"], task_type="SEQ_CLS", use_rslora=rslora
    )
    model = peft.get_peft_model(plain, config).eval()
    fill(model, "lora_", "classifier.modules_to_save")
    model.save_pretrained(tmp_path / "theirs")
    found, ids, mask, logits = imported(tmp_path / "theirs", backbone, tmp_path, "mnli")
    wanted = model(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(logits, wanted, atol=1e-6)
    assert (found.library, found.notes) == ("peft", ())
    assert found.head.task.labels == ["entailment", "neutral", "contradiction"]
    headless = read_folder(tmp_path / "theirs", backbone)
    assert headless.head is None
    assert "--task" in headless.notes[0]
    other = read_folder(tmp_path / "theirs", backbone, "udpos")
    assert other.head is None
    assert "does not fit" in other.notes[0]


@pytest.mark.long
def test_what_we_export_comes_back(pico, backbone, tmp_path):
    zoo = Zoo(tmp_path / "ours")
    for task in ("mnli", "udpos", "squad2", "hellaswag"):
        add_module(zoo, backbone, task, "lora")
        add_module(zoo, backbone, task, "seq_bn")
        for kind, preset in (("peft", "lora"), ("adapters", "lora"), ("adapters", "seq_bn")):
            ids, mask = probe(backbone)
            wanted = reference(source(f"{task}/{preset}", zoo, backbone), ids, mask)
            out = tmp_path / f"{task}-{kind}-{preset}"
            export(kind, f"{task}/{preset}", zoo, backbone, out)
            _, _, _, logits = imported(out, backbone, tmp_path / out.name / "x", task)
            assert torch.allclose(logits, wanted, atol=1e-6), out.name


@pytest.fixture
def plain(pico):
    adapters = pytest.importorskip("adapters", reason="the adapters library is not installed")
    return adapters.AutoAdapterModel.from_pretrained(pico, attn_implementation="sdpa").eval()


SAFE = [(config, False) for config in ("seq_bn", "double_seq_bn", "seq_bn_inv", "lora", "par_bn")]


@pytest.mark.parametrize(
    ("config", "pickles"), [*SAFE, pytest.param("seq_bn_inv", True, marks=pytest.mark.slow)]
)
def test_the_adapters_library(plain, backbone, tmp_path, config, pickles):
    plain.add_adapter("nli", config=config)
    plain.add_classification_head("nli", num_labels=3)
    fill(plain, ".nli.")
    plain.set_active_adapters("nli")
    plain.eval()
    (tmp_path / "theirs").mkdir()
    plain.save_adapter(str(tmp_path / "theirs"), "nli", use_safetensors=not pickles)
    if pickles:
        with pytest.raises(UsageError, match="--from-pickle"):
            read_folder(tmp_path / "theirs", backbone)
    found, ids, mask, logits = imported(
        tmp_path / "theirs", backbone, tmp_path, "mnli", pickles=pickles
    )
    wanted = plain(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(logits, wanted, atol=1e-6)
    assert found.adapter.method == {"lora": "lora", "seq_bn_inv": "language"}.get(
        config, "bottleneck"
    )


def test_old_names_of_the_adapter_hub(plain, backbone, tmp_path):
    """Keys and config as the hub's MAD-X language adapters have them."""
    plain.add_adapter("sw", config="seq_bn_inv")
    fill(plain, ".sw.")
    plain.set_active_adapters("sw")
    plain.eval()
    folder = tmp_path / "theirs"
    folder.mkdir()
    plain.save_adapter(str(folder), "sw", use_safetensors=True)
    state = load_file(folder / "adapter.safetensors")
    old = {
        key.replace("output.adapters.", "output.layer_text_lang_adapters.").replace(
            "invertible_adapters", "invertible_lang_adapters"
        ): value
        for key, value in state.items()
    }
    assert old.keys().isdisjoint(state)
    save_file(old, folder / "adapter.safetensors")
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    inner = {
        key: config["config"][key]
        for key in (
            "adapter_residual_before_ln",
            "ln_after",
            "ln_before",
            "mh_adapter",
            "non_linearity",
            "original_ln_after",
            "original_ln_before",
            "output_adapter",
            "reduction_factor",
            "residual_before_ln",
        )
    }
    inner["invertible_adapter"] = {"block_type": "nice", "reduction_factor": 2}
    inner |= {"attention_type": "sent-lvl-dynamic", "new_attention_norm": False}
    path.write_text(json.dumps({"config": inner, "name": "sw", "model_name": "xlm-roberta-base"}))
    found, ids, mask, states = imported(folder, backbone, tmp_path)
    wanted = plain(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(states[mask.bool()], wanted[mask.bool()], atol=1e-6)
    assert found.adapter.method == "language"
    # a task adapter of that time names an invertible part that it never had
    save_file(
        {key: value for key, value in old.items() if "invertible" not in key},
        folder / "adapter.safetensors",
    )
    assert read_folder(folder, backbone).adapter.method == "bottleneck"


LABELS = ["contradiction", "neutral", "entailment"]


def adapters_folder(plain, folder, **head):
    """A module with a classification head, saved by the library."""
    plain.add_adapter("nli", config="seq_bn")
    plain.add_classification_head("nli", num_labels=3, **head)
    fill(plain, ".nli.")
    plain.set_active_adapters("nli")
    plain.eval()
    folder.mkdir()
    plain.save_adapter(str(folder), "nli", use_safetensors=True)
    return folder


def test_the_scores_of_a_head_come_in_the_order_of_the_tasks_labels(plain, backbone, tmp_path):
    folder = adapters_folder(plain, tmp_path / "theirs", id2label=dict(enumerate(LABELS)))
    found, ids, mask, logits = imported(folder, backbone, tmp_path, "mnli")
    assert found.head.task.labels == ["entailment", "neutral", "contradiction"]
    wanted = plain(input_ids=ids, attention_mask=mask).logits[:, [2, 1, 0]]
    assert torch.allclose(logits, wanted, atol=1e-6)
    assert found.notes == ()


def test_a_head_of_other_labels_is_refused_by_their_names(plain, backbone, tmp_path):
    labels = dict(enumerate(["yes", "no", "maybe"]))
    folder = adapters_folder(plain, tmp_path / "theirs", id2label=labels)
    with pytest.raises(IntegrityError, match=r"maybe, no, yes; task 'mnli' has entailment"):
        read_folder(folder, backbone, "mnli")


def test_a_head_without_label_names_says_in_which_order_they_are_taken(plain, backbone, tmp_path):
    folder = adapters_folder(plain, tmp_path / "theirs")
    found = read_folder(folder, backbone, "mnli")
    assert found.head is not None
    assert "in the order of 'mnli', entailment, neutral, contradiction" in found.notes[0]


@pytest.mark.parametrize(
    ("task", "change", "words"),
    [
        ("mnli", {"activation_function": "relu"}, "activation function is relu"),
        ("mnli", {"use_pooler": True}, "pooler"),
        ("mnli", {"head_type": "multilabel_classification"}, "multilabel_classification"),
        ("udpos", {}, "type classification does not fit task 'udpos'"),
    ],
)
def test_a_head_that_computes_something_else_is_left_out(
    plain, backbone, tmp_path, task, change, words
):
    folder = adapters_folder(plain, tmp_path / "theirs", id2label=dict(enumerate(LABELS)))
    path = folder / "head_config.json"
    config = json.loads(path.read_text())
    config["config"] |= change
    path.write_text(json.dumps(config))
    found = read_folder(folder, backbone, task)
    assert found.head is None
    assert words in found.notes[0]


def test_every_option_of_an_adapters_config_is_computed_or_refused(plain, backbone, tmp_path):
    """Each key that the library reads, at another value than the one it was saved with."""
    other = {
        "non_linearity": "gelu",
        "scaling": 2.0,
        "original_ln_before": False,
        "is_parallel": True,
        "dropout": 0.1,
        "use_gating": True,
        "residual_before_ln": False,
        "ln_before": True,
        "stochastic_depth": 0.5,
        "phm_layer": True,
        "something_new": 3,
    }
    same = {"non_linearity", "scaling", "original_ln_before", "is_parallel", "dropout"}
    folder = adapters_folder(plain, tmp_path / "theirs")
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    ids, mask = probe(backbone)
    for key, value in other.items():
        changed = config | {"config": config["config"] | {key: value}}
        path.write_text(json.dumps(changed))
        if key not in same:
            with pytest.raises(IntegrityError, match=f"option {key}="):
                read_folder(folder, backbone)
            continue
        found = read_folder(folder, backbone)
        with backbone.attach(found.adapter.eval().at), torch.inference_mode():
            ours = backbone(ids, mask)
        theirs = type(plain).from_pretrained(backbone.encoder.name_or_path).eval()
        theirs.load_adapter(str(folder), use_safetensors=True, with_head=False, set_active=True)
        wanted = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        assert torch.allclose(ours[mask.bool()], wanted[mask.bool()], atol=1e-6), key


def peft_folder(pico, folder, **options):
    """A LoRA module that peft trained, so to say; returns its output on `probe`."""
    torch.manual_seed(0)
    plain = transformers.AutoModel.from_pretrained(pico, add_pooling_layer=False)
    made = {"r": 4, "lora_alpha": 6, "target_modules": ["query", "value"]} | options
    model = peft.get_peft_model(plain, peft.LoraConfig(**made)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name or "delta" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({}, ""),
        ({"init_lora_weights": "gaussian"}, ""),
        ({"init_lora_weights": "orthogonal"}, ""),
        ({"layers_to_transform": [1]}, ""),
        ({"rank_pattern": {"query": 2}}, ""),
        ({"exclude_modules": ["encoder.layer.0.attention.self.query"]}, ""),
        ({"use_rslora": True}, ""),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
        ({"use_dora": True}, "use_dora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "lora_only"}, "bias='lora_only'"),
        ({"alpha_pattern": {"query": 3}}, "alpha_pattern"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens"),
        ({"trainable_token_indices": [5, 6]}, "trainable_token_indices"),
        ({"modules_to_save": ["LayerNorm"]}, "layers of the encoder .'LayerNorm'"),
        ({"modules_to_save": ["position_embeddings"]}, "position_embeddings"),
        ({"target_modules": ["query", "word_embeddings"]}, "unexpected tensor"),
        ({"target_modules": ".*self.query"}, ""),
    ],
)
def test_every_option_of_peft_is_computed_or_refused(pico, backbone, tmp_path, options, refused):
    model = peft_folder(pico, tmp_path / "theirs", **options)
    if refused:
        with pytest.raises(IntegrityError, match=refused):
            read_folder(tmp_path / "theirs", backbone)
        return
    _, ids, mask, ours = imported(tmp_path / "theirs", backbone, tmp_path)
    with torch.inference_mode():
        wanted = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(ours, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "key", ["loftq_config", "arrow_config", "use_qalora", "velora_config", "kasa_config", "new_key"]
)
def test_a_key_of_peft_that_is_set_and_not_understood_is_refused_by_name(
    pico, backbone, tmp_path, key
):
    peft_folder(pico, tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_config.json"
    config = json.loads(path.read_text())
    for value in (None, False, {}):
        path.write_text(json.dumps(config | {key: value}))
        read_folder(tmp_path / "theirs", backbone)
    path.write_text(json.dumps(config | {key: {"loftq_bits": 4}}))
    with pytest.raises(IntegrityError, match=f"option {key}="):
        read_folder(tmp_path / "theirs", backbone)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"r": 16}, "rank 4 where the config says 16"),
        ({"rank_pattern": {"query": 3}}, "rank 4 where the config says 3"),
        ({"r": 0}, "'r' is 0"),
        ({"r": "4"}, "'r' is '4'"),
        ({"lora_alpha": None}, "'lora_alpha' is None"),
        ({"layers_to_transform": [0]}, "layer.1.attention.self.query.*leave"),
        ({"layers_to_transform": 0}, "layer.1.attention.self.query.*leave"),
        ({"target_modules": ["value"]}, "self.query.*leave"),
        ({"target_modules": ".*value"}, "self.query.*leave"),
        ({"exclude_modules": ["query"]}, "self.query.*leave"),
    ],
)
def test_a_config_of_peft_that_does_not_fit_the_tensors(pico, backbone, tmp_path, change, refused):
    folder = tmp_path / "theirs"
    peft_folder(pico, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(IntegrityError, match=refused) as caught:
        read_folder(folder, backbone)
    assert caught.value.where == str(folder)


def test_half_of_an_update_is_refused_and_its_tensor_named(pico, backbone, tmp_path):
    folder = tmp_path / "theirs"
    peft_folder(pico, folder)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    lost = next(key for key in tensors if "layer.1.attention.self.query.lora_A" in key)
    del tensors[lost]
    save_file(tensors, path)
    with pytest.raises(IntegrityError, match=r"missing: 1_query\.A") as caught:
        read_folder(folder, backbone)
    assert caught.value.where == str(folder)


def test_whole_numbers_are_no_weights(pico, backbone, tmp_path):
    folder = tmp_path / "theirs"
    peft_folder(pico, folder)
    path = folder / "adapter_model.safetensors"
    save_file({key: tensor.to(torch.int8) for key, tensor in load_file(path).items()}, path)
    with pytest.raises(IntegrityError, match="int8"):
        read_folder(folder, backbone)


@pytest.mark.parametrize("start", ["corda", "loftq", "lora_ga", "mica", "PISSA", ["x"]])
def test_a_start_that_may_change_the_base_is_refused(pico, backbone, tmp_path, start):
    peft_folder(pico, tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"init_lora_weights": start}))
    with pytest.raises(IntegrityError, match="init_lora_weights"):
        read_folder(tmp_path / "theirs", backbone)


def test_weights_that_are_no_numbers_are_refused(pico, backbone, tmp_path):
    peft_folder(pico, tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_model.safetensors"
    state = load_file(path)
    for value in (float("nan"), float("inf")):
        key = next(iter(state))
        save_file(state | {key: torch.full_like(state[key], value)}, path)
        with pytest.raises(IntegrityError, match=r"tensor 'base_model.*' holds NaN or infinity"):
            read_folder(tmp_path / "theirs", backbone)


def test_the_stated_base_may_be_the_very_folder(pico, backbone, tmp_path, monkeypatch):
    peft_folder(pico, tmp_path / "theirs")
    found = read_folder(tmp_path / "theirs", backbone)
    assert found.stated == str(pico)
    monkeypatch.chdir(pico.parent)
    require_base(found, backbone.identity, given=str(pico))
    require_base(found, backbone.identity, given=pico.name)
    with pytest.raises(BackboneMismatchError, match=r"was made for .*pico"):
        require_base(found, backbone.identity, given=str(tmp_path))
    (tmp_path / "e5small").symlink_to(pico)
    linked = replace(found, stated="e5small")
    require_base(linked, backbone.identity, given=str(tmp_path / "e5small"))
    with pytest.raises(BackboneMismatchError, match="e5small"):
        require_base(linked, backbone.identity, given=str(pico))
    elsewhere = replace(found, stated="/nowhere/of/this/machine/pico")
    require_base(elsewhere, backbone.identity, given=str(tmp_path))
    with pytest.raises(BackboneMismatchError, match="/nowhere/other"):
        require_base(replace(found, stated="/nowhere/other"), backbone.identity, given=str(pico))


def test_a_snapshot_of_the_hubs_cache_is_read_and_other_links_are_not(pico, backbone, tmp_path):
    peft_folder(pico, tmp_path / "plain")
    snapshot = tmp_path / "hub/models--me--lora/snapshots/abc"
    blobs = tmp_path / "hub/models--me--lora/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate((tmp_path / "plain").iterdir()):
        if path.is_file():
            shutil.copy(path, blobs / str(number))
            (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    cached, plainly = (read_folder(p, backbone).adapter for p in (snapshot, tmp_path / "plain"))
    assert cached.options == plainly.options
    for key, value in plainly.at.state_dict().items():
        assert torch.equal(cached.at.state_dict()[key], value)
    for outside in (tmp_path / "plain", tmp_path / "elsewhere" / "snapshots" / "abc"):
        linked = tmp_path / "linked" if outside.name == "plain" else outside
        linked.mkdir(parents=True)
        (linked / "adapter_config.json").symlink_to(tmp_path / "plain" / "adapter_config.json")
        with pytest.raises(IntegrityError, match="is a link") as caught:
            read_folder(linked, backbone)
        assert "cp -rL" in caught.value.hint


@pytest.mark.long
def test_a_hostile_pickle_runs_nothing(backbone, tmp_path):
    flag = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {flag}",)

    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "pytorch_adapter.bin").write_bytes(pickle.dumps({"a": Evil()}))
    (folder / "adapter_config.json").write_text(
        json.dumps({"config": {"mh_adapter": False}, "name": "x"})
    )
    with pytest.raises(IntegrityError, match="more than tensors"):
        read_folder(folder, backbone, pickles=True)
    assert not flag.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.update(use_dora=True), "use_dora"),
        (lambda config: config.update(peft_type="VERA"), "VERA"),
        (lambda config: config.pop("r"), "r"),
    ],
)
def test_what_is_not_supported_is_refused(backbone, tmp_path, change, words):
    zoo = Zoo(tmp_path / "ours")
    entry = add_module(zoo, backbone, "mnli", "lora")
    folder = tmp_path / "theirs"
    shutil.copytree(entry.folder, folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match=words):
        read_folder(folder, backbone)
    with pytest.raises(NotFoundError, match="nowhere"):
        read_folder(tmp_path / "nowhere", backbone)


def test_a_folder_without_factors_is_refused(backbone, tmp_path):
    entry = add_module(Zoo(tmp_path / "ours"), backbone, "mnli", "lora")
    folder = shutil.copytree(entry.folder, tmp_path / "theirs")
    save_file({"base_model.model.classifier.bias": torch.ones(3)}, folder / WEIGHTS)
    with pytest.raises(IntegrityError, match="holds no LoRA factors"):
        read_folder(folder, backbone)


def test_another_base_model_is_refused(backbone, tmp_path):
    zoo = Zoo(tmp_path / "ours")
    entry = add_module(zoo, backbone, "mnli", "lora")
    found = read_folder(entry.folder, backbone)
    require_base(found, backbone.identity)
    other = backbone.identity.model_copy(update={"repo": "other", "name": "other"})
    with pytest.raises(BackboneMismatchError, match="'pico'"):
        require_base(found, other)
    require_base(found, other, allow=True)


def test_command(pico, backbone, tmp_path, capsys):
    zoo = Zoo(tmp_path / "ours")
    add_module(zoo, backbone, "mnli", "lora")
    export("peft", "mnli/lora", zoo, backbone, tmp_path / "theirs")
    flags = ("--backbone", str(pico), "--zoo", str(tmp_path / "new"), "--json", "-q")
    for extra in (("--dry-run",), ()):
        with pytest.raises(SystemExit) as caught:
            asked = ("zoo", "import", str(tmp_path / "theirs"), "--name", "nli", "--task", "mnli")
            main([*asked, *flags, *extra])
        output = capsys.readouterr()
        assert not caught.value.code, output.err
        assert (tmp_path / "new").exists() == (not extra)
    record = json.loads(output.out)
    assert record["reference"].startswith("nli/imported/pico@")
    loaded = load_expression("nli", Zoo(tmp_path / "new"), backbone)
    assert loaded.head.task.name == "mnli"


@pytest.mark.long
@pytest.mark.parametrize("revision", ["", "@main"])
def test_from_a_hub(pico, backbone, tmp_path, capsys, monkeypatch, revision):
    """A repository of plain peft, at one commit; offline from the cache; what is none is named."""
    zoo = Zoo(tmp_path / "ours")
    add_module(zoo, backbone, "mnli", "lora")
    export("peft", "mnli/lora", zoo, backbone, tmp_path / "theirs")
    own = ("--backbone", str(pico), "--json", "-q", "--name", "nli", "--task", "mnli")

    def command(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["zoo", "import", *arguments, *own])
        output = capsys.readouterr()
        return caught.value.code or 0, json.loads(output.out or output.err)

    with HubServer() as hub:
        use(monkeypatch, hub, tmp_path)
        made = hub.put_repo("org/Nli", contents(tmp_path / "theirs"))
        hub.put_repo("org/empty", {"README.md": b"x"})
        code, record = command(f"hf:org/Nli{revision}", "--zoo", str(tmp_path / "new"))
        assert (code, record.get("what")) == (0, None)
        assert record["origin"] == f"hf:org/Nli@{made.branches['main']}"
        assert Zoo(tmp_path / "new").find("nli").manifest.training["imported"]["origin"]
        code, again = command(f"hf:org/Nli{revision}", "--zoo", str(tmp_path / "off"), "--offline")
        assert (code, again["reference"]) == (0, record["reference"])
        code, error = command("hf:org/empty", "--zoo", str(tmp_path / "new"))
        assert (code, error["what"]) == (4, "hf:org/empty has no file 'adapter_config.json'")
        code, error = command("hf:org/none", "--zoo", str(tmp_path / "new"))
        assert code == 4
    with pytest.raises(UsageError, match="nothing can be imported from"):
        hubs.fetch_files(f"folder:{tmp_path}", ["adapter_config.json"], tmp_path)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"lora_alpha": 10**400}, "'lora_alpha' is 1000.*valid number"),
        ({"rank_pattern": "query"}, "'rank_pattern' is 'query'.*dictionary"),
        ({"rank_pattern": {"(": 4}}, "'rank_pattern'.*regular expression"),
        ({"target_modules": "("}, "'target_modules' is '\\('.*regular expression"),
        ({"target_modules": 5}, "'target_modules' is 5"),
        ({"exclude_modules": 5}, "'exclude_modules' is 5"),
        ({"layers_to_transform": "0"}, "'layers_to_transform' is '0'"),
        ({"modules_to_save": "classifier"}, "'modules_to_save' is 'classifier'"),
        ({"lora_dropout": None}, "'lora_dropout' is None"),
    ],
)
def test_a_value_that_peft_could_not_take_is_named(pico, backbone, tmp_path, change, refused):
    peft_folder(pico, tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(IntegrityError, match=refused) as caught:
        read_folder(tmp_path / "theirs", backbone)
    assert caught.value.where == str(path.parent)


@pytest.mark.parametrize("lost", ["encoder.layer.0.", "encoder.layer.1.attention.self.value"])
def test_factors_that_the_config_names_and_the_file_lacks(pico, backbone, tmp_path, lost):
    """Peft only warns, and acts without them."""
    peft_folder(pico, tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_model.safetensors"
    save_file({key: tensor for key, tensor in load_file(path).items() if lost not in key}, path)
    with pytest.raises(IntegrityError, match=f"no tensors of {lost}"):
        read_folder(tmp_path / "theirs", backbone)


def test_factors_of_two_encoders_do_not_replace_each_other(pico, backbone, tmp_path):
    peft_folder(pico, tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_model.safetensors"
    towers = {
        key.replace("base_model.model.", f"base_model.model.{tower}."): tensor * sign
        for key, tensor in load_file(path).items()
        for tower, sign in (("query", 1), ("passage", -1))
    }
    save_file(towers, path)
    with pytest.raises(IntegrityError, match=r"2 encoders: 'passage\.', 'query\.'"):
        read_folder(tmp_path / "theirs", backbone)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"label2id": LABELS}, "'label2id' is .*dictionary"),
        ({"label2id": dict(zip(LABELS, (1, 2, 3), strict=True))}, "not 0 to 2: contradiction 1"),
        ({"layers": "two"}, "'layers' is 'two'"),
    ],
)
def test_a_head_whose_config_is_broken_is_refused(plain, backbone, tmp_path, change, refused):
    folder = adapters_folder(plain, tmp_path / "theirs", id2label=dict(enumerate(LABELS)))
    path = folder / "head_config.json"
    config = json.loads(path.read_text())
    config["config"] |= change
    path.write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match=refused):
        read_folder(folder, backbone, "mnli")


def test_a_folder_without_the_head_that_was_asked_for_says_so(pico, backbone, tmp_path):
    peft_folder(pico, tmp_path / "theirs")
    found = read_folder(tmp_path / "theirs", backbone, "mnli")
    assert found.notes == ("it holds no head for task 'mnli'",)


def test_a_merged_model_is_no_module(pico, backbone):
    with pytest.raises(IntegrityError, match="a whole model and no adapter_config") as caught:
        read_folder(pico, backbone)
    assert "--backbone" in caught.value.hint
