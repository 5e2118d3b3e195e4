"""Texts of files: their decoding and cleaning, in UTF-8 and other encodings; and the check of prompts."""

from __future__ import annotations

import codecs
from functools import lru_cache
from urllib.parse import urlsplit

from creditline.corpus.names import display_name
from creditline.errors import InvalidInput

UTF_8 = "utf-8"
MOST_CAPTION_CHARACTERS = 10_000
"""Characters of the longest text that the embedder accepts."""
LONGEST_PROMPT = 2_000
"""Characters of the longest prompt that the gateway accepts."""
# Byte order marks. Those of UTF-32 come first because they begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Bytes that show whether a text is in UTF-16.
_LOOKED_AT_BYTES = 16
_GUESSES = (UTF_8, "cp1252")


def decode_text(raw: bytes) -> tuple[str, str]:
    """Decode bytes by their byte order mark, else as UTF-8, else as Windows-1252, else as Latin-1.

    Texts of which nearly every second byte is zero are in UTF-16, also without a mark.

    Returns:
        The text and the name of its encoding.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace"), UTF_8 if mark == codecs.BOM_UTF8 else encoding
    if _is_utf_16(raw):
        encoding = "utf-16-le" if 0 in raw[1:_LOOKED_AT_BYTES:2] else "utf-16-be"
        return raw.decode(encoding, "replace"), encoding
    for encoding in _GUESSES:
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def _is_utf_16(raw: bytes) -> bool:
    """Whether nearly every second byte is zero at first, as in UTF-16 without a byte order mark."""
    halves = raw[:_LOOKED_AT_BYTES:2], raw[1:_LOOKED_AT_BYTES:2]
    zeros = sorted(half.count(0) for half in halves)
    return zeros[0] == 0 and zeros[1] > len(raw[:_LOOKED_AT_BYTES]) // 3


def clean(text: str) -> str:
    """The stripped text without zero bytes and unpaired surrogates, which databases and protobuf reject."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "").strip()


def check_prompt(prompt: str) -> None:
    """Raise InvalidInput for a prompt that is too long, blank, or no plain text."""
    if len(prompt) > LONGEST_PROMPT:
        raise InvalidInput(
            f"prompt has {len(prompt):,} characters; at most {LONGEST_PROMPT:,} are allowed: shorten it",
            field="prompt",
        )
    if not display_name(prompt):
        raise InvalidInput(
            f"prompt is {'blank' if prompt else 'empty'}; send the prompt that the picture was made from",
            field="prompt",
        )
    if "\x00" in prompt:
        raise InvalidInput("prompt holds a NUL character; send plain text", field="prompt")


def mixed_caption(first: str, second: str) -> str:
    """A prompt that combines the titles of two works."""
    return f"{first} and {second}"


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """The host name of a URL; empty for a path or half an address."""
    try:
        return urlsplit(url).hostname or "" if "://" in url else ""
    except ValueError:  # such as "http://[half an address"
        return ""
