"""The guide to backbones: its table is the code's, its file is a plug-in, its commands run."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from support.external import FEW
from support.format_files import write_files
from support.models import encoder, fresh, randomise, tiny_backbone, tokens
from support.plugins import install
from support.tokenizers import byte_tokenizer
from support.trained import TEXTS
from transformers import AutoConfig

from xstilts.backbone.architectures import ARCHITECTURES, model_types
from xstilts.cli import main
from xstilts.config.load import load_method, spec_names
from xstilts.errors import UsageError
from xstilts.modules.methods import METHODS, external_adapters, external_peft

pytestmark = pytest.mark.long

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "backbones.md"
TEXT = GUIDE.read_text(encoding="utf-8")
FILE = dict(re.findall(r"^`([\w./-]+)`:\n\n```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with data, two language models, and the guide's architecture as a package."""
    write_files(tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    (site / "gpt_neox.py").write_text(FILE["gpt_neox.py"], encoding="utf-8")
    install(site, "acme-neox", {"xstilts.architectures": {"gpt_neox": "gpt_neox"}})
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    vars(ARCHITECTURES).pop("_origins", None)
    tokenizer = byte_tokenizer(TEXTS * 20, 300)
    for name, model_type in (("lm", "llama"), ("neox", "gpt_neox")):
        sizes = {"vocab_size": len(tokenizer), "pad_token_id": None}
        encoder(model_type, max_position_embeddings=512, **sizes).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    yield tmp_path
    vars(ARCHITECTURES).pop("_origins", None)
    ARCHITECTURES._loaded.pop("gpt_neox", None)
    sys.modules.pop("gpt_neox", None)


@pytest.mark.parametrize("parallel", [True, False])
def test_the_guides_architecture_is_that_of_transformers(place, parallel):
    backbone, (ids, mask) = tiny_backbone("gpt_neox", use_parallel_residual=parallel), tokens()
    given = backbone.architecture.inputs(backbone.encoder, ids, mask)
    theirs = backbone.encoder(**given, output_hidden_states=True).hidden_states
    ours = backbone.hidden_states(ids, mask)
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
    for preset in ("lora", "double_seq_bn"):
        _, module = fresh(preset, backbone.shape)
        with backbone.attach(module.at):
            assert torch.equal(backbone(ids, mask), ours[-1])
        randomise(module)
        with backbone.attach(module.at):
            states = backbone.hidden_states(ids, mask)
            assert (states[-1] - ours[-1]).abs().max() > 1e-3
            for first, hidden in enumerate(states):
                assert torch.equal(backbone.from_block(first, hidden, ids, mask), states[-1])


def test_the_guides_commands_run(place, capsys, monkeypatch):
    for variable in ("HOME", "CACHE", "ZOO"):
        monkeypatch.setenv(f"XSTILTS_{variable}", str(place / variable.lower()))
    monkeypatch.setenv("XSTILTS_DATA", str(place / "data"))
    assert len(COMMANDS) == 7
    said = []
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        fast = ["--set", "train.max_steps=2", "--set", "train.batch_size=2"]
        more = fast if words[0] == "train-adapter" else []
        with pytest.raises(SystemExit) as caught:
            main([*words, *more, "--json", "--offline"])
        output = capsys.readouterr()
        assert caught.value.code in (0, None), (command, output.err)
        said.append(json.loads(output.out))
    listed = {row["backbone"] for row in said[0]}
    assert listed == set(spec_names("backbones"))
    assert "yo" in said[1]["seen"] and "ug" not in said[1]["seen"]
    counts = [rows["scores"][0]["n"] for rows in said if "scores" in rows]
    assert counts == [3, 5, 3]


def test_the_table_says_what_each_architecture_has():
    table = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| (first|last|mean)", TEXT, re.MULTILINE
    )
    shown = set()
    for name, types, sites, reads in table:
        architecture = ARCHITECTURES.get(name)
        for model_type in types.strip().split(", "):
            shown.add(model_type)
            assert model_type in architecture.MODEL_TYPES
            layout = architecture.describe(AutoConfig.for_model(model_type))
            assert sites.strip().split(", ") == list(layout.linears)
            assert {"first": "cls"}.get(reads, reads) == architecture.SENTENCE
    assert shown == set(model_types())


ROWS = re.findall(r"^\| ([\w, -]+) \| ([\w, -]+) \| ([\w, -]+) \|$", TEXT, re.MULTILINE)
EXTERNAL = {
    model_type: dict(zip(("adapters", "peft"), said, strict=True))
    for types, *said in ROWS
    if said[1] == "all"
    for model_type in types.split(", ")
}
NAMES = {"adapters": external_adapters.CONFIGS, "peft": tuple(external_peft.TUNERS)}
ADAPTERS = importlib.util.find_spec("adapters") is not None


def made(name, backbone):
    """A new module, or None where it is refused."""
    spec = load_method(name)
    method, settings = METHODS.get(spec.method), FEW.get(name.partition(":")[2], {})
    options = method.Options.model_validate({**spec.options, "settings": settings})
    try:
        return method, method.create(backbone.shape, options, torch.Generator().manual_seed(0))
    except UsageError:
        return method, None


def runs(model_type, library, name):
    """What the guide says."""
    all_of, _, but = EXTERNAL[model_type][library].partition(" but ")
    return all_of == "all" and name not in but.split(", ")


def external(*names):
    """Each type with each method, those of the adapters library only where it is installed."""
    there = [name for name in names if name.startswith("peft") or ADAPTERS]
    return [(model_type, name) for model_type in model_types() for name in there]


@pytest.mark.filterwarnings("ignore")
def test_the_table_of_external_methods_is_what_is_made_and_refused():
    assert set(EXTERNAL) == set(model_types())
    for model_type, name in external("adapters:double_seq_bn", "adapters:mam", "peft:ia3"):
        _, module = made(name, tiny_backbone(model_type))
        assert (module is not None) == runs(model_type, *name.split(":")), (model_type, name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model_type", "name"), external(*(f"{lib}:{name}" for lib in NAMES for name in NAMES[lib]))
)
def test_an_external_method_acts_minds_no_padding_and_is_kept(model_type, name, tmp_path):
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    before, real = backbone(ids, mask), mask.bool()
    method, module = made(name, backbone)
    assert (module is not None) == runs(model_type, *name.split(":"))
    if module is None:
        return
    generator = torch.Generator().manual_seed(7)
    for key, parameter in module.named_parameters():
        if "parametrizations" not in key:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    with torch.no_grad(), backbone.attach(module.at):
        acted = backbone(ids, mask)
        alone = [backbone(ids[row : row + 1, :n], mask[row : row + 1, :n])[0] for row, n in LENGTHS]
    least = (
        1e-5 if name == "peft:delora" else 1e-4
    )  # whose strength is a number of its own, drawn too
    assert (acted - before)[real].abs().max() > least
    if name != "adapters:unipelt":
        for (row, n), one in zip(LENGTHS, alone, strict=True):
            assert torch.allclose(one, acted[row, :n], atol=1e-3)
    method.save(module, tmp_path, "thing", backbone)
    other = tiny_backbone(model_type)
    again = method.load(tmp_path, other.shape)
    with torch.no_grad(), other.attach(again.at):
        assert torch.allclose(other(ids, mask)[real], acted[real], atol=1e-6)


LENGTHS = list(enumerate(tokens()[1].sum(1).tolist()))
"""Of the rows of `tokens`."""
