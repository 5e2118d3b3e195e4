"""The hash chain: each attribution's hash covers its content and the hash before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64


def attribution_hash(previous_hash: str, row: Mapping[str, Any]) -> str:
    """SHA-256 over the previous hash and the row's content, its image by SHA-256: 64 hex digits."""
    created: datetime = row["created"]
    content = {
        "id": row["id"],
        "created": created.astimezone(UTC).isoformat(timespec="microseconds"),
        "release": row["release"],
        "generator": row["generator"],
        "corpus": row["corpus"],
        "prompt": row["prompt"],
        "image_sha256": hashlib.sha256(row["image"]).hexdigest(),
        "k": row["k"],
        "answer": row["answer"],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous_hash}\n{text}".encode()).hexdigest()
