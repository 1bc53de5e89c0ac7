from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.tokenizers import tiny_tokenizer
from transformers import XLMRobertaConfig
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLMHead

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import collate
from xstilts.errors import ConfigError, DataError, UsageError
from xstilts.tasks.formats import masked_lm

TEXT = "abcdefghij klmnop qrstuvwxyz"


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer([TEXT] * 9, characters=True)


@pytest.fixture(scope="module")
def words():
    return tiny_tokenizer(["the river runs through an old town unbelievably slowly"] * 20, 60)


def task(**options) -> TaskSpec:
    return TaskSpec(
        name="mlm", format="masked_lm", languages=["en"], metric="x", sources=[], options=options
    )


def rows_of(features, tokenizer) -> list[str]:
    """Rows as text, `/` for the separator; `▁` is dropped."""
    table = {"<s>": "^", "</s>": "/", "▁": ""}
    return [
        "".join(table.get(t, t) for t in tokenizer.convert_ids_to_tokens(row.tolist()))
        for row in (features.input_ids[i] for i in range(len(features)))
    ]


def texts(*rows) -> list[Example]:
    return [
        Example(str(number), row[0] if isinstance(row, tuple) else "en", {"text": row[-1]})
        if isinstance(row, tuple)
        else Example(str(number), "en", {"text": row})
        for number, row in enumerate(rows)
    ]


# -------------------------------------------------------------------------------------- rows


def test_texts_share_rows_but_are_not_cut(tokenizer):
    # A text of n letters has n + 1 sub-words (▁). Twelve per row: <s>, texts, a </s> after each.
    features = masked_lm.encode(
        texts("abc", "defg", "hi", "", "jklmno", "p"), tokenizer, task(), 12
    )
    # 1+4+1+5+1 = 12; then 1+3+1 = 5 and 7+1 more is 13: too long; 1+7+1 = 9 and 2+1 more is 12
    assert rows_of(features, tokenizer) == ["^abc/defg/", "^hi/", "^jklmno/p/"]
    assert features.lengths.tolist() == [12, 5, 12]
    assert features.num_examples == 3
    assert features.example.tolist() == [0, 1, 2]


def test_a_long_text_fills_rows_and_its_rest_is_packed_on(tokenizer):
    features = masked_lm.encode(texts("abcdefghijklmn", "op"), tokenizer, task(), 10)
    # Fifteen sub-words, eight a row; the rest of seven leaves no room for four more.
    assert rows_of(features, tokenizer) == ["^abcdefg/", "^hijklmn/", "^op/"]
    features = masked_lm.encode(texts("abcdefghi", "op"), tokenizer, task(), 10)
    assert rows_of(features, tokenizer) == ["^abcdefg/", "^hi/op/"]


def test_a_row_has_one_language(tokenizer):
    rows = texts(("en", "ab"), ("en", "cd"), ("de", "ef"), ("en", "gh"))
    features = masked_lm.encode(rows, tokenizer, task(), 40)
    assert rows_of(features, tokenizer) == ["^ab/cd/", "^ef/", "^gh/"]


def test_packing_can_be_off(tokenizer):
    features = masked_lm.encode(texts("ab", "cd"), tokenizer, task(packing="none"), 40)
    assert rows_of(features, tokenizer) == ["^ab/", "^cd/"]


def test_words_are_numbered_within_a_row(tokenizer):
    features = masked_lm.encode(texts("ab cd", "ab", "abcdefghij k"), tokenizer, task(), 40)
    # ▁ a b | ▁ c d | ▁ a b | then eleven sub-words of a word longer than eight | ▁ k
    word = features.tokens["word"][0].tolist()
    assert word == [
        *[-100, 0, 0, 0, 1, 1, 1, -100, 2, 2, 2, -100],
        *range(3, 14),
        *[14, 14, -100],
    ]


def test_no_text_is_refused(tokenizer):
    with pytest.raises(DataError, match="no text to mask"):
        masked_lm.encode(texts("", " "), tokenizer, task(), 40)


def test_language_shares_by_hand():
    # Square roots of 100, 400 and 0 are 10, 20 and 0.
    shares = masked_lm.language_shares({"sw": 100, "de": 400, "yo": 0}, 0.5)
    assert shares == pytest.approx({"sw": 1 / 3, "de": 2 / 3, "yo": 0.0})
    assert masked_lm.language_shares({"sw": 100, "de": 300}, 1) == {"sw": 0.25, "de": 0.75}
    assert masked_lm.language_shares({"sw": 1, "de": 9, "yo": 0}, 0) == {
        "sw": 0.5,
        "de": 0.5,
        "yo": 0.0,
    }
    with pytest.raises(UsageError, match="no language"):
        masked_lm.language_shares({"sw": 0}, 0.3)


# ------------------------------------------------------------------------------------- masks


def masked(tokenizer, seed=0, repeats=400, **options):
    rows = texts(*[TEXT] * repeats)
    features = masked_lm.encode(rows, tokenizer, task(**options), 64)
    batch = collate(features, np.arange(len(features)), tokenizer.pad_token_id)
    generator = torch.Generator().manual_seed(seed)
    return batch, masked_lm.corrupt(batch, tokenizer, task(**options), generator)


@pytest.mark.parametrize("whole", [False, True])
def test_shares_of_masks(tokenizer, whole):
    batch, noisy = masked(tokenizer, whole_words=whole)
    maskable = batch.tokens["word"] >= 0
    chosen = noisy.tokens["labels"] >= 0
    total, picked = int(maskable.sum()), int(chosen.sum())
    assert total > 10_000
    # Three words of a text, or 29 single sub-words: whole words spread the count more.
    spread = math.sqrt(0.15 * 0.85 / total) * (4 if whole else 1)
    assert picked / total == pytest.approx(0.15, abs=4 * spread)
    assert not bool((chosen & ~maskable).any())
    hidden = chosen & (noisy.input_ids == tokenizer.mask_token_id)
    kept = chosen & (noisy.input_ids == batch.input_ids)
    assert float(hidden.sum()) / picked == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / picked))
    # A tenth is left; of the random tenth 1 in 28 is drawn as what it was.
    assert float(kept.sum()) / picked == pytest.approx(
        0.1 + 0.1 / 28, abs=4 * math.sqrt(0.1 / picked)
    )
    assert torch.equal(noisy.tokens["labels"][chosen], batch.input_ids[chosen])
    assert torch.equal(noisy.input_ids[~chosen], batch.input_ids[~chosen])


def test_random_subwords_are_no_special_ones_and_all_others(tokenizer):
    batch, noisy = masked(tokenizer, mask_share=0.9, replaced=0, random=1)
    drawn = set(noisy.input_ids[noisy.tokens["labels"] >= 0].tolist())
    special = {0, 1, 2, 3, tokenizer.mask_token_id}
    assert drawn == set(range(len(tokenizer))) - special
    assert batch.input_ids.shape == noisy.input_ids.shape


def test_whole_words_are_masked_together(words):
    rows = texts(*["the river runs through an old town unbelievably slowly"] * 50)
    spec = task(whole_words=True, mask_share=0.3)
    features = masked_lm.encode(rows, words, spec, 40)
    batch = collate(features, np.arange(len(features)), 1)
    noisy = masked_lm.corrupt(batch, words, spec, torch.Generator().manual_seed(1))
    word, chosen = batch.tokens["word"], noisy.tokens["labels"] >= 0
    sizes = set()
    for row in range(len(word)):
        for number in range(int(word[row].max()) + 1):
            fate = chosen[row][word[row] == number]
            sizes.add(len(fate))
            assert fate.all() or not fate.any()
    assert max(sizes) > 1


def test_every_row_has_a_mask(tokenizer):
    for whole in (False, True):
        features = masked_lm.encode(texts(*"abcd"), tokenizer, task(packing="none"), 40)
        batch = collate(features, np.arange(4), 1)
        spec = task(whole_words=whole, mask_share=0.001)
        noisy = masked_lm.corrupt(batch, tokenizer, spec, torch.Generator().manual_seed(1))
        counts = (noisy.tokens["labels"] >= 0).sum(1)
        assert counts.tolist() == ([2] * 4 if whole else [1] * 4)


def test_masks_come_from_the_generator_alone(tokenizer):
    state = torch.get_rng_state()
    first, again, other = (masked(tokenizer, seed, 20)[1] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.input_ids, again.input_ids)
    assert not torch.equal(first.input_ids, other.input_ids)


def test_a_share_is_a_share(tokenizer):
    with pytest.raises(ConfigError, match="mask_share"):
        masked_lm.encode(texts("ab"), tokenizer, task(mask_share="15"), 40)


# -------------------------------------------------------------------------------------- head


def head_of(size: int, vocabulary: int, seed: int = 0):
    embeddings = torch.nn.Embedding(vocabulary, size)
    generator = torch.Generator().manual_seed(seed)
    return embeddings, masked_lm.make_head(size, task(), generator, embeddings=embeddings)


def test_the_head_is_transformers_head_at_masked_places(tokenizer):
    _, batch = masked(tokenizer, repeats=6)
    embeddings, head = head_of(8, len(tokenizer))
    with torch.no_grad():
        head.bias.normal_()
        head.layer_norm.weight.normal_()
    theirs = XLMRobertaLMHead(
        XLMRobertaConfig(hidden_size=8, vocab_size=len(tokenizer), layer_norm_eps=1e-5)
    )
    state = {**head.state_dict(), "decoder.weight": embeddings.weight, "decoder.bias": head.bias}
    theirs.load_state_dict(state)
    hidden = torch.randn(*batch.input_ids.shape, 8)
    labels = batch.tokens["labels"]
    full = theirs(hidden)
    logits = head(hidden, batch)
    assert logits.shape == (int((labels >= 0).sum()), len(tokenizer))
    torch.testing.assert_close(logits, full[labels >= 0])
    rows = [
        torch.nn.functional.cross_entropy(f[n >= 0], n[n >= 0])
        for f, n in zip(full, labels, strict=True)
    ]
    torch.testing.assert_close(masked_lm.loss(logits, batch), torch.stack(rows))


def test_the_head_trains_the_embeddings_but_does_not_own_them(tokenizer):
    _, batch = masked(tokenizer, repeats=3)
    embeddings, head = head_of(8, len(tokenizer))
    assert sorted(head.state_dict()) == [
        "bias",
        "dense.bias",
        "dense.weight",
        "layer_norm.bias",
        "layer_norm.weight",
    ]
    hidden = torch.randn(*batch.input_ids.shape, 8)
    masked_lm.loss(head(hidden, batch), batch).mean().backward()
    assert embeddings.weight.grad is not None
    assert float(embeddings.weight.grad.abs().sum()) > 0


def test_an_inverse_acts_before_the_embeddings(tokenizer):
    _, batch = masked(tokenizer, repeats=3)
    _, head = head_of(8, len(tokenizer))
    hidden = torch.randn(*batch.input_ids.shape, 8)
    plain = head(hidden, batch)
    head.inverse = lambda masked_MD: masked_MD * 2
    torch.testing.assert_close(head(hidden, batch), plain * 2)


def test_a_head_needs_embeddings():
    with pytest.raises(UsageError, match="word embeddings"):
        masked_lm.make_head(8, task(), torch.Generator())
