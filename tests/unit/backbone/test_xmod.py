"""X-MOD: each row passes the adapter of its language, from the rows' files to the scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from support.models import fresh, randomise, tiny_backbone, tokens
from support.tokenizers import tiny_tokenizer
from support.trained import TEXTS, backbone_folder
from torch.nn import functional as F

from xstilts.backbone.activation_cache import FrozenBlocks, MemoryStore
from xstilts.backbone.architectures import architecture_of
from xstilts.backbone.backbone import Backbone
from xstilts.composition.predict import embed
from xstilts.composition.task_model import TaskModel
from xstilts.config.load import load_task
from xstilts.data.examples import Example
from xstilts.errors import UsageError
from xstilts.modules.methods import METHODS
from xstilts.tasks.encoding import encode, encode_rows, language_tokens, remarks, rows_digest

LANGUAGES = ["en_XX", "zh_CN", "zh_TW", "sw_KE"]
NORMS = {
    "reuse": {"adapter_reuse_layer_norm": True},
    "own": {"adapter_layer_norm": True, "adapter_reuse_layer_norm": False},
    "after": {"adapter_reuse_layer_norm": True, "ln_before_adapter": False},
    "pre": {"adapter_reuse_layer_norm": True, "pre_norm": True},
    "none": {"adapter_reuse_layer_norm": False, "pre_norm": True},
}


def xmod(tokenizer=None, **config) -> Backbone:
    """A random X-MOD without a default language."""
    return tiny_backbone(
        "xmod", tokenizer=tokenizer, **{"languages": LANGUAGES, "default_language": None, **config}
    )


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(TEXTS * 20, 90)


def speaking(here: Backbone, ids, *codes):
    """Ids whose rows say these languages."""
    ids = ids.clone()
    for row, code in enumerate(codes):
        ids[row, 0] = here.architecture.language_token(here.encoder.config, code).number
    return ids


@pytest.mark.parametrize("norms", NORMS)
def test_rows_of_several_languages_are_as_in_transformers(norms):
    here, (ids, mask) = xmod(**NORMS[norms]), tokens()
    ids[:, 0] = 0
    said = speaking(here, ids, "sw", "en", "zh", "en")
    numbers = torch.tensor([3, 0, 1, 0])
    theirs = here.encoder(
        input_ids=ids, attention_mask=mask, lang_ids=numbers, output_hidden_states=True
    )
    ours = here.hidden_states(said, mask)
    assert len(ours) == len(here.blocks) + 1
    for mine, other in zip(ours, theirs.hidden_states, strict=True):
        assert torch.equal(mine, other)
    assert torch.equal(ours[-1], theirs.last_hidden_state)
    for first, hidden in enumerate(ours):
        assert torch.equal(here.from_block(first, hidden, said, mask), ours[-1])
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = here(said[row : row + 1, :length], mask[row : row + 1, :length])[0]
        assert torch.allclose(alone, ours[-1][row, :length], atol=1e-5)
    other = here(speaking(here, ids, "en", "en", "en", "en"), mask)
    assert torch.allclose(other[[1, 3]], ours[-1][[1, 3]], atol=1e-5)
    assert (other[[0, 2]] - ours[-1][[0, 2]]).abs().amax((1, 2)).min() > 1e-4
    assert torch.equal(said[:, 0], speaking(here, ids, "sw", "en", "zh", "en")[:, 0])


def test_the_first_of_several_scripts_serves_a_language():
    here = xmod()
    assert language_tokens([Example("a", "zh", {}), Example("b", "sw", {})], here) == {
        "zh": 99 + 1,
        "sw": 99 + 3,
    }


def test_a_language_without_adapter_is_refused_or_passes_the_default_one():
    task, here = load_task("xnli"), xmod()
    rows = [Example("a", "qu", {"text": "a man", "text_pair": "runs"}, "neutral")]
    with pytest.raises(UsageError, match="no adapter for language 'qu'") as refused:
        rows_digest(rows, here)
    assert "default_language" in refused.value.hint
    assert "zh_TW" in refused.value.where
    with pytest.raises(UsageError, match="'qu'"):
        remarks(task, here, ["qu"], 64)
    given = xmod(default_language="sw_KE")
    assert language_tokens(rows, given) == {"qu": 99 + 3}
    assert remarks(task, given, ["en", "qu"], 64) == [
        "pico-xmod: no adapter for language 'qu': rows pass that of sw_KE"
    ]
    with pytest.raises(UsageError, match="default language 'de_DE'"):
        xmod(default_language="de_DE")


@pytest.mark.parametrize("name", ["xnli", "udpos", "xcopa", "tatoeba"])
def test_features_of_mixed_languages_are_those_of_each_row(name, tokenizer):
    task, here, plain = load_task(name), xmod(tokenizer), tiny_backbone(tokenizer=tokenizer)
    fields = {
        "xnli": ({"text": "a man runs", "text_pair": "nobody runs home"}, task.labels),
        "udpos": ({"words": ("the", "man")}, [("DET", "NOUN"), ("DET", "VERB")]),
        "xcopa": ({"context": "a man", "question": "cause", "choices": ("runs", "is old")}, "01"),
        "tatoeba": ({"text": "where does the man run ?"}, [None]),
    }[name]
    codes = ["sw", "en", "sw", "zh", "en"]
    rows = [
        Example(str(n), code, fields[0], fields[1][n % len(fields[1])])
        for n, code in enumerate(codes)
    ]
    found, wanted = (encode_rows(rows, task, base, 30) for base in (here, plain))
    assert np.array_equal(found.example, wanted.example)
    assert np.array_equal(found.input_ids.offsets, wanted.input_ids.offsets)
    numbers = language_tokens(rows, here)
    firsts = found.input_ids.values[found.input_ids.offsets[:-1]]
    assert firsts.tolist() == [numbers[codes[n]] for n in found.example]
    rest = np.ones(len(found.input_ids.values), bool)
    rest[found.input_ids.offsets[:-1]] = False
    assert np.array_equal(found.input_ids.values[rest], wanted.input_ids.values[rest])
    assert (wanted.input_ids.values[~rest] == tokenizer.cls_token_id).all()
    for mine, other in ((found.scalars, wanted.scalars), (found.tokens, wanted.tokens)):
        assert mine.keys() == other.keys()
    for key, values in wanted.scalars.items():
        assert np.array_equal(found.scalars[key], values)
    for key, values in wanted.tokens.items():
        assert np.array_equal(found.tokens[key].values, values.values)


def test_running_text_keeps_its_languages_apart_and_no_language_is_masked(tokenizer):
    from xstilts.data.features import collate
    from xstilts.tasks.formats import masked_lm

    task, here = load_task("mlm"), xmod(tokenizer)
    rows = [Example(str(n), "sw" if n % 2 else "en", {"text": t}) for n, t in enumerate(TEXTS * 3)]
    found = encode_rows(rows, task, here, 40)
    firsts = found.input_ids.values[found.input_ids.offsets[:-1]].tolist()
    assert set(firsts) == {99, 99 + 3}
    assert found.num_examples == len(found) == len(set(found.example.tolist())) < len(rows)
    batch = collate(found, np.arange(len(found)), tokenizer.pad_token_id)
    corrupted = masked_lm.corrupt(batch, tokenizer, task, torch.Generator().manual_seed(0))
    assert corrupted.input_ids[:, 0].tolist() == firsts
    assert (corrupted.tokens["labels"][:, 0] == -100).all()


def test_caches_tell_languages_apart(tokenizer, tmp_path):
    task, here = load_task("tatoeba"), xmod(tokenizer)
    vectors = {}
    frozen = FrozenBlocks(here, 2, MemoryStore())
    for code in ("en", "sw", "en"):
        rows = [Example("1", code, {"text": "a man runs home"})]
        features = encode(rows, task, here, tmp_path)
        found = embed(TaskModel(here, None, {}), features, [2], "mean")[2]
        assert np.array_equal(vectors.setdefault(code, found), found)
        ids = torch.from_numpy(features.input_ids.values[None].astype(np.int64))
        mask = torch.ones_like(ids)
        assert torch.allclose(frozen.last_hidden_state(ids, mask), here(ids, mask), atol=1e-6)
    assert np.abs(vectors["en"] - vectors["sw"]).max() > 1e-4
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


@pytest.mark.parametrize("norms", NORMS)
def test_a_bottleneck_acts_before_the_adapter_of_the_language(norms):
    here, (ids, mask) = xmod(**NORMS[norms]), tokens()
    _, module = fresh("seq_bn", here.shape, reduction_factor=4)
    randomise(module)
    said = speaking(here, ids, "sw", "en", "zh", "en")
    with here.attach({"2_ffn": module.at["2_ffn"]}):
        found = here(said, mask)
    block, x = here.blocks[2], here.hidden_states(said, mask)[2]
    wide = torch.zeros(len(mask), 1, 1, mask.shape[1]).masked_fill(mask[:, None, None] == 0, -1e30)
    attended = block.attention(x, attention_mask=wide)[0]
    inner = block.output.LayerNorm(attended) if here.encoder.config.pre_norm else attended
    update = block.output.dense(block.intermediate(inner))
    part, read = module.at["2_ffn"], update + attended
    if norms == "own":
        read = block.output.adapter_layer_norm(read)
    elif norms != "none":
        read = block.output.LayerNorm(read)
    down = F.relu(F.linear(read, part.down.weight, part.down.bias))
    update = update + F.linear(down, part.up.weight, part.up.bias)
    wanted = block.output.lang_adapter(torch.tensor([3, 0, 1, 0]), update + attended)
    end = here.encoder.encoder.LayerNorm if here.encoder.config.pre_norm else block.output.LayerNorm
    real = mask.bool()
    assert torch.allclose(found[real], end(wanted)[real], atol=1e-5)
    assert (found - here(said, mask))[real].abs().max() > 1e-2


def test_the_adapters_library_takes_the_adapters_of_languages_away_and_is_refused():
    pytest.importorskip("adapters")
    here, (ids, mask) = xmod(default_language="sw_KE"), tokens()
    before = here(ids, mask)
    method = METHODS.get("external_adapters")
    options = method.Options.model_validate({"config": "seq_bn_inv"})
    with pytest.raises(UsageError, match=r"takes away .*adapter_modules"):
        method.create(here.shape, options, torch.Generator())
    assert torch.equal(here(ids, mask), before)


def test_a_yaml_names_the_default_language_and_the_folder_s_own_is_kept(tmp_path):
    folder = backbone_folder(tmp_path / "base", "xmod", languages=LANGUAGES, default_language=None)
    assert Backbone.load(str(folder), offline=True).encoder.config.default_language is None
    lines = [f"repo: {folder}", "retrieval_layer: 2", "default_language: zh_TW"]
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    here = Backbone.load(str(tmp_path / "mine.yaml"), offline=True)
    assert here.encoder.config.default_language == "zh_TW"
    token = architecture_of("xmod").language_token(here.encoder.config, "qu")
    assert token.number == here.identity.vocab_size + 2
    other = backbone_folder(tmp_path / "other")
    (tmp_path / "mine.yaml").write_text("\n".join([f"repo: {other}", *lines[1:]]))
    with pytest.raises(UsageError, match="default_language"):
        Backbone.load(str(tmp_path / "mine.yaml"), offline=True)
    assert json.loads((folder / "config.json").read_text())["languages"] == LANGUAGES
