from __future__ import annotations

import json

import pytest
import torch

from xstilts.config.specs import TaskSpec
from xstilts.data import translated
from xstilts.data.examples import Answer, Example
from xstilts.data.translation.model import Translator, _batches
from xstilts.data.translation.rows import sentences, translate_rows
from xstilts.errors import UsageError


def upper(texts):
    """A translation whose result is known: capitals, and a word of its own at each end."""
    return [f"<{text.upper()}>" for text in texts]


def answer_row(context, text, number=1):
    start = context.index(text)
    return Example(
        str(number), "en", {"question": "who?", "context": context}, (Answer(text, start),)
    )


def test_sentences_are_cut_at_their_ends():
    assert sentences("One. Two?  Three! 3.5 is a number.") == [
        "One.",
        "Two?",
        "Three!",
        "3.5 is a number.",
    ]


def test_pairs_keep_id_and_label():
    rows = [Example("7", "en", {"text": "A b. C d.", "text_pair": "E"}, "neutral", "f:1")]
    made = translate_rows(rows, "classification", "de", upper)
    assert made.rows == [
        Example("7", "de", {"text": "<A B.> <C D.>", "text_pair": "<E>"}, "neutral", "")
    ]
    assert made.kept == 1.0


def test_choices_keep_their_number():
    fields = {"context": "it rains", "question": "", "choices": ("a", "b")}
    made = translate_rows([Example("1", "en", fields, "1")], "multiple_choice", "de", upper)
    assert made.rows[0].fields["choices"] == ("<A>", "<B>")
    assert made.rows[0].target == "1"


def test_an_answer_is_found_by_its_markers():
    row = answer_row("Anna saw (it). Bob saw Carl there.", "Carl")
    made = translate_rows([row], "extractive_qa", "de", upper)
    new = made.rows[0]
    assert new.fields["context"] == "<ANNA SAW (IT).> <BOB SAW CARL THERE.>"
    # 17 characters and a blank before `<BOB SAW `, which is 9 long
    assert new.target == (Answer("CARL", 26),)
    assert new.fields["context"][26:30] == "CARL"
    assert (made.kept, made.by_markers) == (1.0, 1.0)


def test_an_answer_whose_markers_got_lost_is_looked_for_or_left_out():
    def forgetful(texts):
        return [text.upper().replace("[", "").replace("]", "") for text in texts]

    rows = [answer_row("Bob saw Carl.", "Carl")]
    made = translate_rows(rows, "extractive_qa", "de", forgetful)
    assert made.rows[0].target == (Answer("CARL", 8),)
    assert made.by_markers == 0.0

    def unlike(texts):
        return [text.upper() if text == "Carl" else "something else" for text in texts]

    made = translate_rows([*rows, answer_row("x Carl", "Carl", 2)], "extractive_qa", "de", unlike)
    assert (made.rows, made.kept) == ([], 0.0)


def test_rows_without_an_answer_stay():
    row = Example("1", "en", {"question": "q", "context": "c"}, ())
    made = translate_rows([row], "extractive_qa", "de", upper)
    assert made.rows[0].target == ()


def test_tags_are_not_translated():
    with pytest.raises(UsageError, match="cannot be translated"):
        translate_rows([], "tagging", "de", upper)


def test_rows_are_written_and_read_back(tmp_path):
    task = TaskSpec(
        name="toy", format="extractive_qa", languages=["en"], metric="squad", sources=[]
    )
    rows = [
        Example("1", "de", {"question": "q", "context": "c d"}, (Answer("d", 2),)),
        Example("2", "de", {"question": "q", "context": "c", "choices": ("a", "b")}, "1"),
    ]
    folder = translated.folder_of(task, "de", tmp_path)
    translated.write(folder / "train.jsonl", rows)
    translated.describe(folder, {"model": "some/model"})
    found = translated.find(task, "de", "train", tmp_path)
    back = translated.read(found)
    assert [(r.id, r.language, r.fields, r.target) for r in back] == [
        (r.id, r.language, r.fields, r.target) for r in rows
    ]
    assert translated.model_of(found) == "some/model"
    assert translated.languages(task, tmp_path) == ["de"]
    assert translated.find(task, "ru", "train", tmp_path) is None


def test_batches_hold_every_text_within_the_budget():
    texts = ["x" * n for n in (50, 40, 30, 20, 10, 5)]
    made = list(_batches(texts, 100))
    assert [text for batch in made for text in batch] == texts
    assert [len(batch) for batch in made] == [2, 3, 1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A random M2M100 of the real class with a tokenizer that has two languages."""
    from support.tokenizers import tiny_tokenizer
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    folder = tmp_path_factory.mktemp("m2m")
    tokenizer = tiny_tokenizer(["a b c", "d e f"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["__en__", "__de__"]})
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ffn = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 64}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    torch.manual_seed(0)
    config = M2M100Config(vocab_size=len(tokenizer), **sizes, **heads, **ffn, **ids)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_translates_each_sentence_once_and_remembers(model, tmp_path):
    told = []

    def make():
        return Translator(
            str(model),
            "en",
            "de",
            tmp_path,
            beams=1,
            offline=True,
            progress=lambda text, share: told.append(share),
        )

    first = make()
    assert first.tokenizer.convert_ids_to_tokens(first.target_id) == "__de__"
    texts = ["a b c", "d", "a b c"]
    result = first(texts)
    assert result[0] == result[2]
    assert told[-1] == 1.0
    lines = first.path.read_text().splitlines()
    assert len(lines) == 2
    # a crash cut the last line short: that sentence is translated again, the other is not
    first.path.write_text(lines[0] + "\n" + lines[1][:9])
    second = make()
    assert len(second.known) == 1
    assert second(texts) == result
    assert json.loads(second.path.read_text().splitlines()[0]) == json.loads(lines[0])


def test_a_language_that_the_model_lacks_is_refused(model, tmp_path):
    with pytest.raises(UsageError, match="no language 'sw'"):
        Translator(str(model), "en", "sw", tmp_path, offline=True)
