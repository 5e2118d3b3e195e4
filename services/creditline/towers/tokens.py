"""Token ids of texts, without the padding that a text tower does not need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from open_clip.tokenizer import HFTokenizer

_STANDARD_MODE = ""


def token_ids(tokenizer: Any, texts: Sequence[str], *, whole_context: bool) -> NDArray[np.int64]:
    """Token ids of texts.

    An open_clip tokenizer fills each row up to the tower's context, in Python; most of its time goes there.

    Args:
        tokenizer: open_clip's tokenizer of the text tower.
        texts: B texts.
        whole_context: Whether rows have the length of the tower's context; else some padding of all rows may
            be left out.

    Returns:
        (B, L) int64.
    """
    if whole_context or not _pads_only(tokenizer):
        padded: NDArray[np.int64] = tokenizer(list(texts)).numpy()
        return padded
    encoded = tokenizer.tokenizer(
        [tokenizer.clean_fn(text) for text in texts],
        max_length=tokenizer.context_length,
        padding="longest",
        truncation=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_tensors="np",
    )
    return np.asarray(encoded["input_ids"], dtype=np.int64)


def _pads_only(tokenizer: Any) -> bool:
    """Whether a tokenizer does nothing more than to clean, encode, truncate and pad texts."""
    return (
        isinstance(tokenizer, HFTokenizer)
        and tokenizer.tokenizer_mode == _STANDARD_MODE
        and not tokenizer.strip_sep_token
    )
