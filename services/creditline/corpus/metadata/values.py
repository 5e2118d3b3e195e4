"""Values of metadata as they come: nulls of every library, data structures, and texts that hold them."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from creditline.corpus.texts import clean, decode_text

# How programs write a missing value into a text column. "Null" and "None" as names of people stay names.
_NULL_TEXTS = frozenset({"", "nan", "NaN", "NAN", "null", "NULL", "None", "<NA>", "NaT", "#N/A", "\\N"})
# Types of pandas that stand for a missing value; pandas itself is not imported.
_NULL_TYPES = ("NAType", "NaTType")
# Keys under which an object holds its text, in order of preference; a language is chosen after these.
TEXT_KEYS = ("value", "@value", "_content", "text", "caption", "raw", "en", "en-US", "@none", "none")
# Two texts side by side without a comma.
_UNSEPARATED = re.compile(r"""['"]\s+['"]""")
_CLOSED_BY = {"[": "]", "{": "}", "(": ")"}


def plain(value: Any) -> Any:
    """A value of numpy, pandas or Arrow as a value of Python; any other value unchanged."""
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        if type(value).__name__ == "datetime64":
            value = value.astype("datetime64[us]")
        return value.tolist()
    if type(value).__module__.partition(".")[0] == "pyarrow" and hasattr(value, "as_py"):
        return value.as_py()
    return value


def is_null(value: Any) -> bool:
    """Whether a value says nothing: null, NaN, an empty text, list or object, or only such values."""
    value = plain(value)
    if value is None or type(value).__name__ in _NULL_TYPES:
        return True
    if isinstance(value, str):
        return clean(value) in _NULL_TEXTS
    if isinstance(value, bytes):
        return not value or (len(value) <= max(map(len, _NULL_TEXTS)) and is_null(decode_text(value)[0]))
    if isinstance(value, float):
        return value != value
    if isinstance(value, Mapping):
        return all(map(is_null, value.values()))
    return isinstance(value, list | tuple | set | frozenset) and all(map(is_null, value))


def as_mapping(value: Any) -> Mapping[Any, Any] | None:
    """An object, or the pairs that Arrow returns for a map, as a mapping; None for anything else."""
    if isinstance(value, Mapping):
        return value
    is_map = (
        isinstance(value, list) and value and all(isinstance(one, tuple) and len(one) == 2 for one in value)
    )
    return dict(value) if is_map else None


def structure_of(text: str) -> Any:
    """The list or object that a text holds, as JSON or as Python or numpy print it.

    Returns:
        The structure; None where the text holds none.
    """
    text = text.strip()
    if len(text) < 2 or _CLOSED_BY.get(text[0]) != text[-1]:
        return None
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError):
        held = ast.literal_eval(_with_commas(text))
        return held if isinstance(held, list | tuple | dict | set) else None
    return None


def _with_commas(text: str) -> str:
    """A printed numpy array of texts with commas; Python would join its texts to one."""
    if not _UNSEPARATED.search(text):
        return text
    tokens = list(tokenize.generate_tokens(io.StringIO(text.replace("\n", " ")).readline))
    strings = [token.type == tokenize.STRING for token in tokens]
    parts = [
        token.string + ("," if is_string and follows else "")
        for token, is_string, follows in zip(tokens, strings, [*strings[1:], False], strict=True)
    ]
    return " ".join(parts).strip()


def looks_like_structure(text: str) -> bool:
    """Whether a text begins as a list or object of quoted texts does."""
    return text.lstrip()[:1] in ("[", "{") and text.lstrip()[1:].lstrip()[:1] in ("'", '"', "{", "[")
