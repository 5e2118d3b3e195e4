"""Token ids without padding are those of the tokenizer itself."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest

from creditline.corpus.works import Corpus
from creditline.towers.compiled.check import text_batches
from creditline.towers.tokens import token_ids
from creditline.towers.towers import Towers

_TEXTS = ["", "  a red\tladybug &amp; a leaf ", "zwölf 赤い кот", "[SEP] [PAD]", "house " * 400]


def _assert_prefix(found: np.ndarray, whole: np.ndarray, padding: int) -> None:
    length = found.shape[1]
    np.testing.assert_array_equal(found, whole[:, :length])
    assert (whole[:, length:] == padding).all()


def test_they_are_the_tokenizers_own_up_to_padding(towers: Towers, small_corpus: Corpus) -> None:
    tokenizer = towers._tokenizer
    captions = [work.caption for work in small_corpus.works]
    for texts in (_TEXTS, captions, [""], ["a leaf"], *text_batches()):
        found = token_ids(tokenizer, texts, whole_context=False)
        whole = token_ids(tokenizer, texts, whole_context=True)
        assert whole.shape == (len(texts), tokenizer.context_length)
        _assert_prefix(found, whole, tokenizer.tokenizer.pad_token_id)
    assert token_ids(tokenizer, ["a leaf"], whole_context=False).shape == (1, 4)


def test_a_tokenizer_of_another_kind_fills_the_whole_context() -> None:
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    found = token_ids(tokenizer, _TEXTS, whole_context=False)
    np.testing.assert_array_equal(found, tokenizer(_TEXTS).numpy())


def test_a_tokenizer_that_does_more_is_called_itself(towers: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = towers._tokenizer
    monkeypatch.setattr(tokenizer, "strip_sep_token", True)
    found = token_ids(tokenizer, ["a leaf"], whole_context=False)
    np.testing.assert_array_equal(found, tokenizer(["a leaf"]).numpy())
    assert tokenizer.tokenizer.sep_token_id not in found
