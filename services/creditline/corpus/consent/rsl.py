"""Licences in the form of Really Simple Licensing (RSL): XML elements inside XMP or in a text of their own.

Source: RSL 1.0 (https://rslstandard.org/rsl) and its drafts, whose words for uses differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from creditline.corpus.consent.uses import TRAINING_USES, Permission, Statement, Use, most_restrictive

NAMESPACE = "{https://rslstandard.org/rsl}"
_USES: dict[str, tuple[Use, ...]] = {
    "all": tuple(Use),
    "ai-all": (*TRAINING_USES, Use.INFERENCE),
    "ai-train": TRAINING_USES,
    "train-ai": TRAINING_USES,
    "train-genai": (Use.GENERATIVE_TRAINING,),
    "ai-index": (Use.MINING,),
    "ai-input": (Use.INFERENCE,),
    "ai-use": (Use.INFERENCE,),
    "ai-summarize": (Use.INFERENCE,),
    "search": (),
}
_FREE = ("", "free")
_SEPARATOR = re.compile(r"[,\s]+")


def is_rsl(element: Element) -> bool:
    """Whether an element belongs to RSL; files write its namespace with http as well."""
    return "rslstandard.org/rsl}" in element.tag


def licence_statements(place: str, content: Element) -> Iterator[Statement]:
    """One statement for each licence in an RSL element; a block without any licence is unreadable.

    A use that a licence permits is constrained where it costs something, names users or places, or has to be
    asked for at a server. A use that no licence names is unspecified.

    Args:
        place: Where it was read.
        content: The element `rsl`, `content` or `license`.
    """
    licences = [one for one in content.iter() if is_rsl(one) and _name(one) == "license"]
    server = any(_name(one) == "content" and one.get("server") for one in content.iter() if is_rsl(one))
    if not licences:
        yield Statement.unreadable(place, "a block without a licence")
    for licence in licences:
        yield _statement(place, licence, asks_server=server)


def _statement(place: str, licence: Element, *, asks_server: bool) -> Statement:
    parts = [
        one for one in licence.iter() if is_rsl(one) and _name(one) in ("permits", "prohibits", "payment")
    ]
    granted = Permission.CONSTRAINED if asks_server or any(map(_is_condition, parts)) else Permission.ALLOWED
    found: dict[Use, list[Permission]] = {}
    for part in parts:
        if part.get("type", "usage") != "usage" or _name(part) == "payment":
            continue
        permission = granted if _name(part) == "permits" else Permission.PROHIBITED
        for word in filter(None, _SEPARATOR.split((part.text or "").strip().lower())):
            # A word outside the vocabulary may mean any use.
            for use in _USES.get(word, tuple(Use)):
                found.setdefault(use, []).append(permission if word in _USES else Permission.UNREADABLE)
    if not found and granted is Permission.CONSTRAINED:
        found = {use: [granted] for use in Use}  # Terms that name no use are terms of every use.
    text = "; ".join(map(_described, parts))
    return Statement.of(place, text, {use: most_restrictive(each) for use, each in found.items()})


def _is_condition(part: Element) -> bool:
    if _name(part) == "payment":
        return part.get("type", "").strip().lower() not in _FREE or len(part) > 0
    return part.get("type", "usage") != "usage"


def _described(part: Element) -> str:
    kind = f" {part.get('type')}" if part.get("type") else ""
    text = " ".join(" ".join(part.itertext()).split())
    return f"{_name(part)}{kind}: {text}" if text else f"{_name(part)}{kind}"


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]
