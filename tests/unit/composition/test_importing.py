"""Folders that the plain libraries write, as modules with the same output."""

from __future__ import annotations

import json
import os
import pickle
import shutil

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
from xstilts.zoo import Zoo, hubs

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def pico(tmp_path_factory):
    return backbone_folder(tmp_path_factory.mktemp("import") / "pico")


@pytest.fixture
def base(pico):
    return Backbone.load(str(pico))


def fill(model, *marks):
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(mark in name for mark in marks):
            draws = torch.Generator().manual_seed(number)
            parameter.data.copy_(torch.randn(parameter.shape, generator=draws) * 0.3)


def imported(path, base, tmp_path, task="", **more):
    found = read_folder(path, base, task, **more)
    zoo = Zoo(tmp_path / "zoo")
    add_to(zoo, found, "thing", base, path)
    ids, mask = probe(base)
    return found, ids, mask, reference(source("thing", zoo, base), ids, mask)


@pytest.mark.parametrize("rslora", [False, True])
def test_peft_with_a_head(pico, base, tmp_path, rslora):
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(pico, num_labels=3)
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["query", "value"], task_type="SEQ_CLS", use_rslora=rslora
    )
    model = peft.get_peft_model(plain, config).eval()
    fill(model, "lora_", "classifier.modules_to_save")
    model.save_pretrained(tmp_path / "theirs")
    found, ids, mask, logits = imported(tmp_path / "theirs", base, tmp_path, "mnli")
    wanted = model(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(logits, wanted, atol=1e-6)
    assert (found.library, found.notes) == ("peft", ())
    assert found.head.task.labels == ["entailment", "neutral", "contradiction"]
    headless = read_folder(tmp_path / "theirs", base)
    assert headless.head is None
    assert "--task" in headless.notes[0]
    other = read_folder(tmp_path / "theirs", base, "udpos")
    assert other.head is None
    assert "does not fit" in other.notes[0]


def test_what_we_export_comes_back(pico, base, tmp_path):
    zoo = Zoo(tmp_path / "ours")
    for task in ("mnli", "udpos", "squad2", "hellaswag"):
        add_module(zoo, base, task, "lora")
        add_module(zoo, base, task, "seq_bn")
        for kind, preset in (("peft", "lora"), ("adapters", "lora"), ("adapters", "seq_bn")):
            ids, mask = probe(base)
            wanted = reference(source(f"{task}/{preset}", zoo, base), ids, mask)
            out = tmp_path / f"{task}-{kind}-{preset}"
            export(kind, f"{task}/{preset}", zoo, base, out)
            _, _, _, logits = imported(out, base, tmp_path / out.name / "x", task)
            assert torch.allclose(logits, wanted, atol=1e-6), out.name


@pytest.fixture
def plain(pico):
    adapters = pytest.importorskip("adapters", reason="the adapters library is not installed")
    return adapters.AutoAdapterModel.from_pretrained(pico, attn_implementation="sdpa").eval()


SAFE = [(config, False) for config in ("seq_bn", "double_seq_bn", "seq_bn_inv", "lora", "par_bn")]


@pytest.mark.parametrize(
    ("config", "pickles"), [*SAFE, pytest.param("seq_bn_inv", True, marks=pytest.mark.slow)]
)
def test_the_adapters_library(plain, base, tmp_path, config, pickles):
    plain.add_adapter("nli", config=config)
    plain.add_classification_head("nli", num_labels=3)
    fill(plain, ".nli.")
    plain.set_active_adapters("nli")
    plain.eval()
    (tmp_path / "theirs").mkdir()
    plain.save_adapter(str(tmp_path / "theirs"), "nli", use_safetensors=not pickles)
    if pickles:
        with pytest.raises(UsageError, match="--from-pickle"):
            read_folder(tmp_path / "theirs", base)
    found, ids, mask, logits = imported(
        tmp_path / "theirs", base, tmp_path, "mnli", pickles=pickles
    )
    wanted = plain(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(logits, wanted, atol=1e-6)
    assert found.adapter.method == {"lora": "lora", "seq_bn_inv": "language"}.get(
        config, "bottleneck"
    )


def test_old_names_of_the_adapter_hub(plain, base, tmp_path):
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
    found, ids, mask, states = imported(folder, base, tmp_path)
    wanted = plain(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(states[mask.bool()], wanted[mask.bool()], atol=1e-6)
    assert found.adapter.method == "language"
    # a task adapter of that time names an invertible part that it never had
    save_file(
        {key: value for key, value in old.items() if "invertible" not in key},
        folder / "adapter.safetensors",
    )
    assert read_folder(folder, base).adapter.method == "bottleneck"


def test_a_hostile_pickle_runs_nothing(base, tmp_path):
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
        read_folder(folder, base, pickles=True)
    assert not flag.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.update(use_dora=True), "use_dora"),
        (lambda config: config.update(peft_type="VERA"), "VERA"),
        (lambda config: config.pop("r"), "r"),
    ],
)
def test_what_is_not_supported_is_refused(base, tmp_path, change, words):
    zoo = Zoo(tmp_path / "ours")
    entry = add_module(zoo, base, "mnli", "lora")
    folder = tmp_path / "theirs"
    shutil.copytree(entry.folder, folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match=words):
        read_folder(folder, base)
    with pytest.raises(NotFoundError, match="nowhere"):
        read_folder(tmp_path / "nowhere", base)


def test_another_base_model_is_refused(base, tmp_path):
    zoo = Zoo(tmp_path / "ours")
    entry = add_module(zoo, base, "mnli", "lora")
    found = read_folder(entry.folder, base)
    require_base(found, base.identity)
    other = base.identity.model_copy(update={"repo": "other", "name": "other"})
    with pytest.raises(BackboneMismatchError, match="'pico'"):
        require_base(found, other)
    require_base(found, other, allow=True)


def test_command(pico, base, tmp_path, capsys):
    zoo = Zoo(tmp_path / "ours")
    add_module(zoo, base, "mnli", "lora")
    export("peft", "mnli/lora", zoo, base, tmp_path / "theirs")
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
    loaded = load_expression("nli", Zoo(tmp_path / "new"), base)
    assert loaded.head.task.name == "mnli"


@pytest.mark.parametrize("revision", ["", "@main"])
def test_from_a_hub(pico, base, tmp_path, capsys, monkeypatch, revision):
    """A repository of plain peft, at one commit; offline from the cache; what is none is named."""
    zoo = Zoo(tmp_path / "ours")
    add_module(zoo, base, "mnli", "lora")
    export("peft", "mnli/lora", zoo, base, tmp_path / "theirs")
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
