"""Hash chains of attributions, of withdrawal requests, and of records about merged contributors.

The hash of each row covers its content and the hash of the row before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64


def attribution_hash(previous_hash: str, row: Mapping[str, Any]) -> str:
    """Hash of an attribution in its chain.

    Args:
        previous_hash: Hash of the row before it; `GENESIS` for the first row.
        row: Columns of the attribution; the image enters by its own SHA-256.

    Returns:
        SHA-256 over the previous hash and the content: 64 hexadecimal digits.
    """
    content = {
        "id": row["id"],
        "created": _timestamp(row["created"]),
        "release": row["release"],
        "generator": row["generator"],
        "corpus": row["corpus"],
        "prompt": row["prompt"],
        "image_sha256": hashlib.sha256(row["image"]).hexdigest(),
        "k": row["k"],
        "answer": row["answer"],
        **_owners(row, "owner"),
    }
    return _hash(previous_hash, content)


def withdrawal_hash(previous_hash: str, row: Mapping[str, Any]) -> str:
    """Hash of a withdrawal request in its chain.

    Args:
        previous_hash: Hash of the row before it; `GENESIS` for the first row.
        row: Columns of the request.

    Returns:
        SHA-256 over the previous hash and the content: 64 hexadecimal digits.
    """
    texts = ("kind", "subject", "action", "reason", "requested_by", *_owners(row, "owner", "made_by"))
    return _hash_of_texts(previous_hash, row, texts)


def merge_hash(previous_hash: str, row: Mapping[str, Any]) -> str:
    """Hash of a record about merged contributors in its chain; arguments are those of `withdrawal_hash`."""
    return _hash_of_texts(previous_hash, row, ("person", "other", "action", "reason", "requested_by"))


def _hash_of_texts(previous_hash: str, row: Mapping[str, Any], texts: Sequence[str]) -> str:
    content = {"id": row["id"], "created": _timestamp(row["created"]), **{name: row[name] for name in texts}}
    return _hash(previous_hash, content)


def addition_hash(previous_hash: str, row: Mapping[str, Any]) -> str:
    """Hash of a record about added works in its chain; arguments are those of `withdrawal_hash`."""
    names = ("id", "kind", "addition", "release", "generator", "requested_by", "content")
    content = {"created": _timestamp(row["created"]), **{name: row[name] for name in names}}
    return _hash(previous_hash, content)


def _owners(row: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Columns that are hashed where they are not empty, as they are in all rows of before they were added."""
    return {name: row[name] for name in names if row.get(name)}


def _timestamp(created: datetime) -> str:
    return created.astimezone(UTC).isoformat(timespec="microseconds")


def _hash(previous_hash: str, content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous_hash}\n{text}".encode()).hexdigest()
