"""Preferences as web servers and tables state them: AIPREF, noai, TDMRep, and plain yes or no."""

from __future__ import annotations

import re
from typing import Any

from creditline.corpus.consent.uses import MINING_USES, TRAINING_USES, Permission, Statement, Use

# Categories of the IETF's drafts of AIPREF (draft-ietf-aipref-vocab, of every version) and of content
# signals, with the uses that each covers.
_CATEGORIES: dict[str, tuple[Use, ...]] = {
    "all": tuple(Use),
    "bots": tuple(Use),
    "tdm": MINING_USES,
    "ai": TRAINING_USES,
    "train-ai": TRAINING_USES,
    "ai-train": TRAINING_USES,
    "genai": (Use.GENERATIVE_TRAINING,),
    "train-genai": (Use.GENERATIVE_TRAINING,),
    "ai-use": (Use.INFERENCE,),
    "ai-input": (Use.INFERENCE,),
    "ai-output": (Use.INFERENCE,),
    "search": (),
}
_ANSWERS = {
    **dict.fromkeys(("y", "yes", "allow", "?1"), Permission.ALLOWED),
    **dict.fromkeys(("n", "no", "disallow", "?0"), Permission.PROHIBITED),
}
_NO_AI = frozenset({"noai", "noimageai"})
_YES = frozenset({"1", "true", "yes", "y", "t"})
_NO = frozenset({"0", "false", "no", "n", "f"})
_PERMITTING = frozenset({"allowed", "allow", "permitted", "opt-in", "optin", "opted-in", "granted"})
_FORBIDDING = frozenset(
    {"prohibited", "disallowed", "disallow", "notallowed", "not allowed", "denied", "forbidden"}
    | {"opt-out", "optout", "opted-out", "reserved"}
)
_SILENT = frozenset({"unspecified", "unknown", "undeclared", "unset", "none", "null", "n/a", ""})
_SEPARATOR = re.compile(r"[,;\s]+")


def content_usage(place: str, value: str) -> Statement:
    """The statement of an AIPREF preference such as `train-ai=n, search=y`.

    A category that covers another one holds for it unless the narrower one is named too. Unknown categories
    are left alone; an answer that is neither yes nor no is unreadable.
    """
    permissions: dict[Use, Permission] = {}
    pairs = [part.partition("=") for part in _SEPARATOR.split(value.strip().lower()) if part]
    known = [(_CATEGORIES[name], answer) for name, _, answer in pairs if name in _CATEGORIES]
    for uses, answer in sorted(known, key=lambda pair: -len(pair[0])):
        permissions.update(dict.fromkeys(uses, _ANSWERS.get(answer, Permission.UNREADABLE)))
    if not known and not any(equals for _, equals, _ in pairs):
        return Statement.unreadable(place, value)
    return Statement.of(place, value, permissions)


def robots(place: str, value: str) -> Statement | None:
    """The statement of robots directives such as `noai, noimageai`; None where they say nothing of AI."""
    directives = set(_SEPARATOR.split(value.strip().lower().replace(":", " ")))
    if not directives & _NO_AI:
        return None
    return Statement.of(place, value, dict.fromkeys(TRAINING_USES, Permission.PROHIBITED))


def reservation(place: str, value: str, policy: str = "") -> Statement | None:
    """The statement of a TDMRep reservation.

    Rights that are reserved with a policy can be had under the policy's conditions; without one they cannot.
    Rights that are not reserved leave mining free, which is no consent to training.

    Args:
        place: Where it was read.
        value: 1, 0, true or false; empty says nothing.
        policy: Address of the policy.
    """
    text = f"{value} ({policy})" if policy else value
    answer = _yes_or_no(value)
    if answer is None:
        return None if value.strip().lower() in _SILENT else Statement.unreadable(place, text)
    if not answer:
        return Statement.of(place, text, {Use.MINING: Permission.ALLOWED})
    granted = Permission.CONSTRAINED if policy else Permission.PROHIBITED
    return Statement.of(place, text, dict.fromkeys(MINING_USES, granted))


def plain(place: str, value: Any, uses: tuple[Use, ...], *, is_refusal: bool = False) -> Statement | None:
    """The statement of a plain answer: yes or no, or one of the words for permission; None for silence.

    Args:
        place: Where it was read.
        value: The answer.
        uses: The uses that it is about.
        is_refusal: Whether yes refuses (`noai: true`). No then says nothing: not to refuse is no consent.
    """
    text = str(value).strip().lower()
    answer = _yes_or_no(text)
    if answer is not None and is_refusal:
        return Statement.of(place, text, dict.fromkeys(uses, Permission.PROHIBITED)) if answer else None
    if answer is not None:
        granted = Permission.ALLOWED if answer else Permission.PROHIBITED
    elif text in _SILENT:
        return None
    elif text in _PERMITTING | _FORBIDDING:
        granted = Permission.ALLOWED if text in _PERMITTING else Permission.PROHIBITED
    else:
        granted = {"constrained": Permission.CONSTRAINED}.get(text, Permission.UNREADABLE)
    return Statement.of(place, str(value).strip(), dict.fromkeys(uses, granted))


def _yes_or_no(value: str) -> bool | None:
    text = value.strip().lower().removesuffix(".0")
    return True if text in _YES else False if text in _NO else None
