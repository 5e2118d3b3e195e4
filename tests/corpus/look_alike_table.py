"""Builder of `corpus/look_alikes.txt` from the Unicode Consortium's `confusables.txt` (UTS #39).

`python -m tests.corpus.look_alike_table confusables.txt` writes the table that `corpus/names.py` reads. The
file of Unicode is not in the repository; every release of Unicode has it under `security/`.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

TABLE = Path(__file__).parents[2] / "services/creditline/corpus/look_alikes.txt"
_HEADER = """\
# Letters that look like letters of another script; tests/corpus/look_alike_table.py writes this file.
# Derived from Unicode's confusables.txt, version {version}.
# Copyright 1991-2025 Unicode, Inc. SPDX-License-Identifier: Unicode-3.0
# Changed: letters only, one for one, and of one script at most one letter for each letter of another.
# written: a letter in a word that is Latin otherwise, as it is written.
# whole: a case-folded letter of any other word.
"""
_VERSION = re.compile(r"# Version: (\S+)")
_SMALL_CAPITAL = re.compile(r"LATIN LETTER SMALL CAPITAL ([A-Z])")
# Letters of one script with one look, whatever the table says: the spellings of Arabic kaf and yeh, and Latin
# letters that no spelling of a name sets against their plain form.
_SAME_SCRIPT = {"ک": "ك", "ی": "ي", "ى": "ي", "ɑ": "a", "ɡ": "g", "ı": "i", "ȷ": "j"}
# Confusables.txt maps these to a Latin letter outside ASCII, or from one capital to a small letter.
_ADDED = {"к": "k", "κ": "k", "м": "m", "Ь": "b"}


def confusable_letters(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of one letter and the letter that it looks like, in compatibility decomposition already."""
    for line in lines:
        fields = line.partition("#")[0].split(";")
        if len(fields) < 3:
            continue
        source, target = ("".join(chr(int(code, 16)) for code in field.split()) for field in fields[:2])
        if len(source) == len(target) == 1 and all(map(_is_letter, source + target)):
            yield source, _capital_i(source, target)


def _is_letter(char: str) -> bool:
    return unicodedata.category(char).startswith("L") and unicodedata.normalize("NFKD", char) == char


def _capital_i(source: str, target: str) -> str:
    """Unicode's prototype of the capital I is the small L."""
    return "I" if target == "l" and source.isupper() else target


def script(char: str) -> str:
    """First word of the letter's name, which is its script for all letters of the table."""
    return unicodedata.name(char, "?").split(maxsplit=1)[0]


def _plain_latin(char: str) -> str:
    """The ASCII letter of a small capital or of a Latin letter that looks like it; else the letter itself."""
    small = _SMALL_CAPITAL.fullmatch(unicodedata.name(char, ""))
    return small[1].lower() if small else _SAME_SCRIPT.get(char, char)


def as_written(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Letters that look like an ASCII letter, in the letter case in which they are written."""
    found = {chr(code): _plain_latin(chr(code)) for code in range(0x80, 0x2000)}
    found = {char: plain for char, plain in found.items() if plain.isascii() and char.isalpha()}
    for source, target in [*_ADDED.items(), *pairs]:
        plain = _plain_latin(target)
        if script(source) != "LATIN" and plain.isascii():
            found.setdefault(source, plain)
    return found


def in_other_words(written: dict[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Case-folded letters with the case-folded letter that they are equal to.

    Letters of one script stay different from each other. Capitals come first: they look alike more often.
    """
    candidates = [*written.items(), *pairs]
    candidates.sort(key=lambda pair: not (pair[0].isupper() and pair[1].isupper()))
    found = dict(_SAME_SCRIPT)
    found |= {char: plain for char, plain in written.items() if script(char) == "LATIN"}
    taken: set[tuple[str, str]] = set()
    for source, target in candidates:
        letter, equal = source.casefold(), target.casefold()
        if letter in found or len(letter + equal) != 2 or script(letter) == script(equal):
            continue
        equal = found.get(equal, equal)
        if (script(letter), equal) not in taken and letter not in found.values():
            taken.add((script(letter), equal))
            found[letter] = equal
    return found


def table_text(confusables: str) -> str:
    """The text of the table."""
    pairs = list(confusable_letters(confusables.splitlines()))
    written = as_written(pairs)
    version = _VERSION.search(confusables)
    lines = [_HEADER.format(version=version[1] if version else "unknown")]
    for kind, letters in (("written", written), ("whole", in_other_words(written, pairs))):
        lines += [
            f"{kind} {ord(char):04X} {ord(letters[char]):04X} # {char} {letters[char]}\n"
            for char in sorted(letters)
        ]
    return "".join(lines)


if __name__ == "__main__":
    TABLE.write_text(table_text(Path(sys.argv[1]).read_text(encoding="utf-8-sig")), encoding="utf-8")
