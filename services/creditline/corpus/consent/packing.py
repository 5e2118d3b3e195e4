"""Consent as a column of packed corpora: a list of statements, with what each says about every use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from creditline.corpus.consent.uses import NOTHING_SAID, Consent, Permission, Statement, Use

CONSENT_TYPE = pa.list_(pa.struct([(name, pa.string()) for name in ("place", "text", *map(str, Use))]))
"""Arrow type of the column."""
_PERMISSIONS = frozenset(map(str, Permission))


def packed_consent(consent: Consent) -> list[dict[str, str]]:
    """The statements as values of the column."""
    return [asdict(statement) for statement in consent.statements]


def unpacked_consent(value: Any) -> Consent:
    """The consent in a value of the column; nothing is said where the column or the value is missing.

    An entry that is not a statement is kept as an unreadable one.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return NOTHING_SAID
    return Consent(tuple(map(_statement, value)))


def _statement(entry: Any) -> Statement:
    if not isinstance(entry, Mapping):
        return Statement.unreadable("packed corpus", str(entry))
    permissions = {use: str(entry.get(use.value) or Permission.UNSPECIFIED) for use in Use}
    known = {
        use: Permission(text) if text in _PERMISSIONS else Permission.UNREADABLE
        for use, text in permissions.items()
    }
    return Statement.of(str(entry.get("place") or ""), str(entry.get("text") or ""), known)
