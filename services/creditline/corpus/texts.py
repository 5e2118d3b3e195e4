"""Texts as people's files hold them: in UTF-8, mostly."""

from __future__ import annotations

import codecs

UTF_8 = "utf-8"
# The marks of UTF-32 begin as those of UTF-16 do: they come first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESSES = (UTF_8, "cp1252")


def decode_text(raw: bytes) -> tuple[str, str]:
    """The text and the encoding it is in: by its mark, else UTF-8, else Windows-1252, else Latin-1."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace"), UTF_8 if mark == codecs.BOM_UTF8 else encoding
    for encoding in _GUESSES:
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def clean(text: str) -> str:
    """Without what no database and no protobuf takes: zero bytes, halves of surrogate pairs, outer spaces."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "").strip()


def mixed_caption(first: str, second: str) -> str:
    """A prompt that asks for what two titles name."""
    return f"{first} and {second}"
