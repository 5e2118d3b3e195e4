"""The entries of a training and data mining assertion, of C2PA's and of CAWG's label alike.

Sources: C2PA 1.4 to 2.1, `c2pa.training-mining`; CAWG Training and Data Mining Assertion 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditline.corpus.consent.uses import Permission, Statement, Use

LABELS = ("c2pa.training-mining", "cawg.training-mining")
"""Labels of the assertion."""
_USES = {
    "ai_generative_training": Use.GENERATIVE_TRAINING,
    "ai_training": Use.TRAINING,
    "data_mining": Use.MINING,
    "ai_inference": Use.INFERENCE,
}
_PERMISSIONS = {
    "allowed": Permission.ALLOWED,
    "notallowed": Permission.PROHIBITED,
    "constrained": Permission.CONSTRAINED,
}


def is_training_mining(label: str) -> bool:
    """Whether a label is that of the assertion; a second one of a kind ends in `__1`."""
    return label.partition("__")[0] in LABELS


def entries_statement(place: str, data: Any) -> Statement:
    """The statement of an assertion.

    Args:
        place: Where it was read.
        data: Content of the assertion: `{"entries": {"c2pa.ai_training": {"use": "notAllowed"}, …}}`.

    Returns:
        The statement; an entry with an unknown value is unreadable for its use, and without any entries the
        whole statement is.
    """
    entries = data.get("entries") if isinstance(data, Mapping) else None
    if not isinstance(entries, Mapping):
        return Statement.unreadable(place, f"no entries in {str(data)[:100]}")
    permissions, described = {}, []
    for name, entry in entries.items():
        word = entry.get("use") if isinstance(entry, Mapping) else entry
        info = entry.get("constraint_info") if isinstance(entry, Mapping) else None
        described.append(f"{name}={word} ({info})" if info else f"{name}={word}")
        use = _USES.get(str(name).rpartition(".")[2])
        if use is not None:
            permissions[use] = _PERMISSIONS.get(str(word).lower(), Permission.UNREADABLE)
    return Statement.of(place, ", ".join(described), permissions)
