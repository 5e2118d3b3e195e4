"""Names of contributors: the form that is shown, and the key by which two spellings are one name.

Two spellings have one key where a reader cannot tell them apart: in composed and decomposed form, in
compatibility forms (ligatures, full width, presentation forms), with other spaces, apostrophes or hyphens,
with invisible characters, and with letters of another script that look alike (Unicode UTS #39). Letter case
does not count either. What a reader can see counts: accents (José, Jose), digits against letters (Ann 0,
Ann O), and letters of one script that resemble each other in some typefaces (Il, II; rn, m).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType

_CACHED_NAMES = 1 << 16
# Blank characters that Unicode does not count as spaces: the fillers of Hangul and the empty Braille cell.
_BLANKS = dict.fromkeys(map(ord, "\u3164\uffa0\u2800"), " ")
# Control and format characters, variation selectors and other characters without a look of their own, but for
# the two joiners. Arabic number signs are format characters that are visible, so they are no part of it.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ud800-\udfff\ufe00-\ufe0f\ufeff\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Scripts in which a joiner changes the shape of a word, and emoji, which it joins to one.
_JOINED = "[\u0600-\u109f\u1700-\u1cff\ua800-\uabff\u2600-\u27bf\U00010a00-\U00011fff\U0001f000-\U0001faff]"
_IDLE_JOINER = re.compile(f"(?<!{_JOINED})[\u200c\u200d]+|[\u200c\u200d]+(?!{_JOINED})")
_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))
_SAME_MARKS = {
    "'": "`´‘’‚‛′‵ʹʻʼʽˈˊˋ՚׳ꞌ",
    '"': "“”„‟″‶ʺ״",
    "-": "‐‑‒–—―−⁃˗",
    "·": "‧∙⋅・",
    ":": "ː꞉։׃∶",
    # The comma below of Romanian, for which many texts have the cedilla.
    "\u0327": "\u0326",
    # The stretch of an Arabic word.
    "": "ـ",
}
_MARKS = {ord(variant): mark for mark, variants in _SAME_MARKS.items() for variant in variants}
# Part of a decomposed small i that no typeface shows; capital dotted I has it too.
_DOT_ABOVE = re.compile("(?<=[ij])\u0307")


VISIBLE = (
    "[^\\u0000-\\u0020\\u007f-\\u00a0\\u00ad\\u034f\\u061c\\u115f\\u1160\\u1680\\u17b4\\u17b5\\u180b-\\u180f\\u2000-\\u200f"
    "\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Pattern of a character that can be seen, for contracts: `display_name` of a text is empty without one."""


def display_name(text: str) -> str:
    """The form of a name that is stored and shown: as it was written, without what nobody can see.

    Args:
        text: A name from any source.

    Returns:
        The name in Unicode's composed form (NFC), with single spaces and without characters that are
        invisible; empty where nothing is left. Joiners remain between letters whose shape they change, as in
        Persian, and in emoji.
    """
    visible = text
    if not text.isascii():
        visible = _INVISIBLE.sub("", unicodedata.normalize("NFC", text).translate(_BLANKS))
        # Once more, because characters that came together may compose.
        visible = unicodedata.normalize("NFC", _IDLE_JOINER.sub("", visible))
    elif not text.isprintable():
        visible = _INVISIBLE.sub("", text)
    return " ".join(visible.split())


@lru_cache(maxsize=_CACHED_NAMES)
def name_key(text: str) -> str:
    """The key by which names are compared; equal for spellings that a reader cannot tell apart.

    A key is never shown, and it is stored beside the name, not in its place.

    Args:
        text: A name, in any spelling.

    Returns:
        The key; empty only where `display_name` is.
    """
    shown = display_name(text)
    if shown.isascii():
        return shown.translate(_MARKS).casefold()
    words = unicodedata.normalize("NFKD", shown.translate(_MARKS).translate(_JOINERS)).translate(_MARKS)
    key = " ".join(map(_word_key, display_name(words).split()))
    return key or shown.casefold()


def _word_key(word: str) -> str:
    """The key of one decomposed word.

    Look-alike letters are resolved as they are written where that makes the whole word Latin, else after
    letter case has been removed. So the capital and the small nu of Greek are N and v in a Latin word, and
    one letter in a Greek one.
    """
    written, whole = _look_alikes()
    word = unicodedata.normalize("NFKD", word)
    foreign = [char for char in word if char.isalpha() and not _is_latin(char)]
    if foreign and any(map(_is_latin, word)) and all(char in written for char in foreign):
        word = "".join(written.get(char, char) for char in word)
    folded = unicodedata.normalize("NFKD", word.casefold())
    equal = "".join(whole.get(char, char) for char in folded)
    return unicodedata.normalize("NFC", _DOT_ABOVE.sub("", equal))


def _is_latin(char: str) -> bool:
    if char.isascii():
        return char.isalpha()
    return char.isalpha() and unicodedata.name(char, "").startswith("LATIN ")


@cache
def _look_alikes() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Letters with the letter that they are equal to: as written in Latin words, and folded in all others."""
    found: dict[str, dict[str, str]] = {"written": {}, "whole": {}}
    table = files("creditline.corpus").joinpath("look_alikes.txt").read_text(encoding="utf-8")
    for line in table.splitlines():
        if not line.startswith("#"):
            kind, letter, equal = line.split()[:3]
            found[kind][chr(int(letter, 16))] = chr(int(equal, 16))
    return MappingProxyType(found["written"]), MappingProxyType(found["whole"])
