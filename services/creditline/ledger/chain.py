"""The hash chains: the hash of each attribution, and of each withdrawal, covers its content and the hash
before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64


def attribution_hash(previous_hash: str, row: Mapping[str, Any]) -> str:
    """SHA-256 over the previous hash and the row's content, its image by SHA-256: 64 hex digits."""
    content = {
        "id": row["id"],
        "created": _moment(row["created"]),
        "release": row["release"],
        "generator": row["generator"],
        "corpus": row["corpus"],
        "prompt": row["prompt"],
        "image_sha256": hashlib.sha256(row["image"]).hexdigest(),
        "k": row["k"],
        "answer": row["answer"],
    }
    return _hash(previous_hash, content)


def withdrawal_hash(previous_hash: str, row: Mapping[str, Any]) -> str:
    """SHA-256 over the previous hash and the row's content: 64 hex digits."""
    content = {
        "id": row["id"],
        "created": _moment(row["created"]),
        "kind": row["kind"],
        "subject": row["subject"],
        "action": row["action"],
        "reason": row["reason"],
        "requested_by": row["requested_by"],
    }
    return _hash(previous_hash, content)


def _moment(created: datetime) -> str:
    return created.astimezone(UTC).isoformat(timespec="microseconds")


def _hash(previous_hash: str, content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous_hash}\n{text}".encode()).hexdigest()
