"""What every format keeps to. A new file in `formats/` is tested here without an edit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.tokenizers import tiny_tokenizer

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.features import Features, collate
from xstilts.errors import ConfigError, DataError, UsageError
from xstilts.tasks.conformance import format_problems
from xstilts.tasks.formats import FORMATS

NAMES = FORMATS.names()
HIDDEN = 16
LENGTH = 80
SENTENCES = [
    "The river runs through the old town and past the mill.",
    "Der Fluss fließt durch die alte Stadt.",
    "नदी पुराने शहर से होकर बहती है।",
    "河流穿过老城。",
    "El río cruza la ciudad vieja, y después el molino grande que nadie usa desde hace años.",
]
LABELS = ["no", "perhaps", "yes"]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(SENTENCES * 4, 200)


def task(name: str, **options) -> TaskSpec:
    return TaskSpec(
        name=f"a-{name}",
        format=name,
        languages=["en"],
        labels=LABELS,
        metric="accuracy",
        options=options,
        sources=[],
    )


def field(name: str, number: int):
    sentence = SENTENCES[number % len(SENTENCES)]
    if name == "words":
        return tuple(sentence.split() * (1 + 3 * (number % 2)))
    if name == "choices":
        return tuple(sentence[: 9 + i] for i in range(2 + number % 2))
    if name == "context":
        return " ".join([sentence] * (1 + 4 * (number % 2)))
    return sentence


def target(fields: dict):
    if "words" in fields:
        return tuple(LABELS[i % 3] for i in range(len(fields["words"])))
    if "choices" in fields:
        return "1"
    if "context" in fields:
        return (Answer(fields["context"][:5], 0),)
    return LABELS[len(fields["text"]) % 3]


def examples(name: str, count: int = 5) -> list[Example]:
    form = FORMATS.get(name)
    made = []
    for number in range(count):
        fields = {key: field(key, number) for key in form.FIELDS}
        gold = target(fields) if form.LABELLED else None
        made.append(Example(str(number), "en", fields, gold, f"file.tsv:{number + 1}"))
    return made


def batch_of(name: str, features: Features, tokenizer, numbers=None):
    rows = features.rows_of(np.arange(features.num_examples) if numbers is None else numbers)
    batch = collate(features, rows, tokenizer.pad_token_id)
    form = FORMATS.get(name)
    if hasattr(form, "corrupt"):
        batch = form.corrupt(batch, tokenizer, task(name), torch.Generator().manual_seed(3))
    return batch


def head_and_logits(name: str, features: Features, tokenizer, seed: int = 0):
    form = FORMATS.get(name)
    embeddings = torch.nn.Embedding(len(tokenizer), HIDDEN)
    generator = torch.Generator().manual_seed(seed)
    head = form.make_head(HIDDEN, task(name), generator, embeddings=embeddings).eval()
    batch = batch_of(name, features, tokenizer)
    hidden = torch.randn(*batch.input_ids.shape, HIDDEN, generator=generator)
    return head, batch, head(hidden, batch)


WITH_HEAD = [name for name in NAMES if FORMATS.get(name).NEEDS_HEAD]
PREDICTING = [name for name in NAMES if FORMATS.get(name).PREDICTS]


@pytest.mark.parametrize("name", NAMES)
def test_it_does_what_its_contract_says(name):
    assert format_problems(name) == []


def test_the_shipped_formats_are_found():
    shipped = "classification extractive_qa masked_lm multiple_choice retrieval tagging"
    assert set(shipped.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_lose_sub_words_are_counted_and_the_count_is_kept(name, tokenizer, tmp_path):
    form, rows = FORMATS.get(name), examples(name)
    short = form.encode(rows, tokenizer, task(name), LENGTH)
    assert form.encode(rows, tokenizer, task(name), 400).cut <= short.cut
    alone = [form.encode([row], tokenizer, task(name), LENGTH).cut for row in rows]
    assert set(alone) <= {0, 1}
    assert short.cut == sum(alone)
    short.save(tmp_path / "rows.safetensors")
    assert Features.load(tmp_path / "rows.safetensors").cut == short.cut


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_names_of_the_contract(name):
    form = FORMATS.get(name)
    assert isinstance(form.FIELDS, tuple) and form.FIELDS
    for flag in ("NEEDS_HEAD", "LABELLED", "PER_TOKEN", "PREDICTS"):
        assert isinstance(getattr(form, flag), bool)
    assert callable(form.encode)
    assert hasattr(form, "make_head") == hasattr(form, "loss") == form.NEEDS_HEAD
    assert hasattr(form, "decode") == form.PREDICTS
    assert form.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_rows_follow_the_examples_within_the_length(name, tokenizer):
    features = FORMATS.get(name).encode(examples(name), tokenizer, task(name), LENGTH)
    assert features.example.dtype == np.int64
    assert np.all(np.diff(features.example) >= 0)
    assert sorted(set(features.example.tolist())) == list(range(features.num_examples))
    if FORMATS.get(name).PREDICTS:
        assert features.num_examples == 5
    assert features.lengths.max() <= LENGTH
    assert features.input_ids.values.dtype == np.int32
    for row in range(len(features)):
        ids = features.input_ids[row].tolist()
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert tokenizer.pad_token_id not in ids
    for ragged in features.tokens.values():
        assert ragged.values.dtype == np.int32
        assert ragged.lengths.tolist() == features.lengths.tolist()
    for values in features.scalars.values():
        assert values.dtype == np.int64
        assert len(values) == len(features)


@pytest.mark.parametrize("name", NAMES)
def test_saved_features_are_read_back(name, tokenizer, tmp_path):
    features = FORMATS.get(name).encode(examples(name), tokenizer, task(name), LENGTH)
    features.save(tmp_path / "rows.safetensors")
    again = Features.load(tmp_path / "rows.safetensors")
    assert again.num_examples == features.num_examples
    assert again.input_ids.values.tolist() == features.input_ids.values.tolist()
    assert again.scalars.keys() == features.scalars.keys()
    for key, ragged in features.tokens.items():
        assert again.tokens[key].values.tolist() == ragged.values.tolist()
    assert [again.input_ids[i].tolist() for i in range(len(again))] == [
        features.input_ids[i].tolist() for i in range(len(features))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizer_keeps_its_state(name, tokenizer):
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(max_length=7, stride=2)
    backend.enable_padding(length=11, pad_id=1, pad_token="<pad>")
    before = backend.truncation, backend.padding
    kept = FORMATS.get(name).encode(examples(name), tokenizer, task(name), LENGTH)
    assert (backend.truncation, backend.padding) == before
    backend.no_truncation()
    backend.no_padding()
    plain = FORMATS.get(name).encode(examples(name), tokenizer, task(name), LENGTH)
    assert kept.input_ids.values.tolist() == plain.input_ids.values.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_each_missing_field_names_the_row(name, tokenizer):
    form = FORMATS.get(name)
    for missing in form.FIELDS:
        rows = examples(name)
        fields = {key: value for key, value in rows[3].fields.items() if key != missing}
        rows[3] = replace(rows[3], fields=fields)
        with pytest.raises(DataError, match=missing) as error:
            form.encode(rows, tokenizer, task(name), LENGTH)
        assert error.value.where == "file.tsv:4"


@pytest.mark.parametrize("name", NAMES)
def test_special_tokens_written_in_text_are_no_control_tokens(name, tokenizer):
    form = FORMATS.get(name)
    rows = examples(name, 2)
    for key, value in rows[1].fields.items():
        written = "<s> </s> <pad> <mask>"
        other = tuple(written.split()) if isinstance(value, tuple) else written
        rows[1] = replace(rows[1], fields={**rows[1].fields, key: other}, target=None)
    features = form.encode(rows, tokenizer, task(name), LENGTH)
    ids = features.input_ids.values.tolist()
    inside = {tokenizer.pad_token_id, tokenizer.mask_token_id}
    assert not inside & set(ids)
    assert ids.count(tokenizer.cls_token_id) == len(features)


@pytest.mark.parametrize("name", WITH_HEAD)
def test_unknown_options_are_refused(name, tokenizer):
    form = FORMATS.get(name)
    with pytest.raises(ConfigError, match="unknown key"):
        form.encode(examples(name), tokenizer, task(name, speling="1"), LENGTH)


@pytest.mark.parametrize("name", NAMES)
def test_a_length_without_room_is_refused(name, tokenizer):
    with pytest.raises(UsageError, match="no room"):
        FORMATS.get(name).encode(examples(name), tokenizer, task(name), 2)


@pytest.mark.parametrize("name", WITH_HEAD)
def test_a_head_comes_from_its_generator_alone(name, tokenizer):
    form = FORMATS.get(name)
    embeddings = torch.nn.Embedding(len(tokenizer), HIDDEN)
    state = torch.get_rng_state()
    heads = [
        form.make_head(HIDDEN, task(name), torch.Generator().manual_seed(s), embeddings=embeddings)
        for s in (1, 1, 2)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = ([p.detach() for p in head.parameters()] for head in heads)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", WITH_HEAD)
def test_a_saved_head_fits_a_new_one(name, tokenizer, tmp_path):
    features = FORMATS.get(name).encode(examples(name), tokenizer, task(name), LENGTH)
    head, _, _ = head_and_logits(name, features, tokenizer)
    state = head.state_dict()
    assert all(len(tokenizer) * HIDDEN != tensor.numel() for tensor in state.values())
    save_file(state, tmp_path / "head.safetensors")
    other, _, _ = head_and_logits(name, features, tokenizer, seed=5)
    other.load_state_dict(state)
    assert all(torch.equal(state[k], v) for k, v in other.state_dict().items())


@pytest.mark.parametrize("name", WITH_HEAD)
def test_the_loss_is_one_float32_number_an_example(name, tokenizer):
    form = FORMATS.get(name)
    features = form.encode(examples(name), tokenizer, task(name), LENGTH)
    head, batch, logits = head_and_logits(name, features, tokenizer)
    losses = form.loss(logits, batch)
    assert losses.shape == (features.num_examples,)
    assert losses.dtype == torch.float32
    assert torch.isfinite(losses).all() and (losses > 0).all()
    losses.mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    half = form.loss(logits.detach().bfloat16(), batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, losses.detach(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", WITH_HEAD)
def test_an_examples_loss_does_not_depend_on_its_batch(name, tokenizer):
    form = FORMATS.get(name)
    features = form.encode(examples(name), tokenizer, task(name), LENGTH)
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.Embedding(len(tokenizer), HIDDEN)
    head = form.make_head(HIDDEN, task(name), generator, embeddings=embeddings).eval()
    whole = batch_of(name, features, tokenizer)
    hidden = torch.randn(*whole.input_ids.shape, HIDDEN, generator=generator)
    together = form.loss(head(hidden, whole), whole)
    for number in range(features.num_examples):
        rows = torch.from_numpy(features.rows_of([number]))
        alone = batch_of(name, features, tokenizer, [number])
        width = alone.input_ids.shape[1]
        tokens = {key: values[rows][:, :width] for key, values in whole.tokens.items()}
        alone = replace(alone, input_ids=whole.input_ids[rows][:, :width], tokens=tokens)
        loss = form.loss(head(hidden[rows][:, :width], alone), alone)
        torch.testing.assert_close(loss[0], together[number], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PREDICTING)
def test_one_prediction_an_example_in_order(name, tokenizer):
    form = FORMATS.get(name)
    rows = examples(name)
    features = form.encode(rows, tokenizer, task(name), LENGTH)
    _, batch, logits = head_and_logits(name, features, tokenizer)
    assert (logits.ndim > 1 and logits.shape[1] == batch.input_ids.shape[1]) == form.PER_TOKEN
    arrays = [
        row[: features.lengths[number]] if form.PER_TOKEN else row
        for number, row in enumerate(logits.detach().numpy())
    ]
    predicted = form.decode(arrays, features, rows, task(name))
    assert len(predicted) == len(rows)
    turned = form.encode(rows[::-1], tokenizer, task(name), LENGTH)
    order = turned.rows_of(np.arange(len(rows))[::-1])
    back = [None] * len(arrays)
    for row, array in zip(order.tolist(), arrays, strict=True):
        back[row] = array
    assert form.decode(back, turned, rows[::-1], task(name)) == predicted[::-1]


@pytest.mark.parametrize("name", PREDICTING)
def test_rows_without_targets_can_be_encoded(name, tokenizer):
    form = FORMATS.get(name)
    blind = [replace(row, target=None) for row in examples(name)]
    features = form.encode(blind, tokenizer, task(name), LENGTH)
    labelled = form.encode(examples(name), tokenizer, task(name), LENGTH)
    assert features.input_ids.values.tolist() == labelled.input_ids.values.tolist()


@pytest.mark.parametrize("name", PREDICTING)
def test_no_examples_give_no_rows(name, tokenizer):
    form = FORMATS.get(name)
    features = form.encode([], tokenizer, task(name), LENGTH)
    assert (len(features), features.num_examples) == (0, 0)
    assert form.decode([], features, [], task(name)) == []
