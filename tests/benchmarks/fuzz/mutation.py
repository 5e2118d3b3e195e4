"""Random changes of bytes, the same for one seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_MOST_CHANGES = 8
_LONGEST_SPAN = 32


def mutated(raw: bytes, dice: random.Random) -> bytes:
    """The bytes with one to eight changes: set, inserted, removed, repeated or cut off."""
    changed = bytearray(raw)
    for _ in range(dice.randint(1, _MOST_CHANGES)):
        dice.choices(_CHANGES, _WEIGHTS)[0](changed, dice)
    return bytes(changed)


def _span(raw: bytearray, dice: random.Random) -> slice:
    start = dice.randrange(len(raw) + 1)
    return slice(start, start + dice.randint(1, _LONGEST_SPAN))


def _set(raw: bytearray, dice: random.Random) -> None:
    if raw:
        raw[dice.randrange(len(raw))] = dice.randrange(256)


def _insert(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(raw) + 1)
    raw[start:start] = dice.randbytes(dice.randint(1, _LONGEST_SPAN))


def _remove(raw: bytearray, dice: random.Random) -> None:
    del raw[_span(raw, dice)]


def _repeat(raw: bytearray, dice: random.Random) -> None:
    span = _span(raw, dice)
    raw[span.start : span.start] = raw[span]


def _cut(raw: bytearray, dice: random.Random) -> None:
    del raw[dice.randrange(len(raw) + 1) :]


_CHANGES: Sequence[Callable[[bytearray, random.Random], None]] = (_set, _insert, _remove, _repeat, _cut)
_WEIGHTS = (8, 2, 2, 2, 1)
