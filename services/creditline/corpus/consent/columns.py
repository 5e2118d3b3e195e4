"""Columns and keys of tables that state something about the use of a work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from creditline.corpus.consent.plus import data_mining
from creditline.corpus.consent.preferences import content_usage, plain, reservation, robots
from creditline.corpus.consent.uses import TRAINING_USES, Statement, Use
from creditline.corpus.texts import decode_text

_GENERATIVE = (Use.GENERATIVE_TRAINING,)
_Reader = Callable[[str, str], Statement | None]


def _answer(*uses: Use) -> _Reader:
    return lambda place, text: plain(place, text, uses)


def _refusal(*uses: Use) -> _Reader:
    return lambda place, text: plain(place, text, uses, is_refusal=True)


def _mining(place: str, text: str) -> Statement | None:
    """Yes or no, or a value of PLUS."""
    answer = plain(place, text, (Use.MINING,))
    return answer if answer is None or not answer.is_unreadable else data_mining(place, text)


# Each name is also read with hyphens in place of underscores, and in any case.
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        "noai": _refusal(*TRAINING_USES),
        "noimageai": _refusal(*TRAINING_USES),
        "opt_out": _refusal(*TRAINING_USES),
        "ai_opt_out": _refusal(*TRAINING_USES),
        "ai_training": _answer(*TRAINING_USES),
        "ai_training_allowed": _answer(*TRAINING_USES),
        "allow_ai_training": _answer(*TRAINING_USES),
        "ai_generative_training": _answer(*_GENERATIVE),
        "ai_inference": _answer(Use.INFERENCE),
        "data_mining": _mining,
        "datamining": _mining,
        "content_usage": content_usage,
        "aipref": content_usage,
        "content_signal": content_usage,
        "x_robots_tag": robots,
        "robots": robots,
    }
)
RESERVATION, POLICY, HEADERS = "tdm_reservation", "tdm_policy", "headers"
_REFUSES, _ANSWERS = "consent: yes refuses AI training", "consent: whether {} is allowed"
CONSENT_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("noai", "noimageai", "opt_out", "ai_opt_out"), _REFUSES),
        **dict.fromkeys(
            ("ai_training", "ai_training_allowed", "allow_ai_training"), _ANSWERS.format("AI training")
        ),
        "ai_generative_training": _ANSWERS.format("training of generative models"),
        "ai_inference": _ANSWERS.format("input of trained models"),
        **dict.fromkeys(("data_mining", "datamining"), "consent: yes, no, or PLUS's value of data mining"),
        **dict.fromkeys(("content_usage", "aipref"), "consent: AIPREF, such as `train-ai=n`"),
        "content_signal": "consent: content signals, such as `ai-train=no`",
        **dict.fromkeys(("x_robots_tag", "robots"), "consent: robots directives, such as `noai`"),
        RESERVATION: "consent: TDMRep, 1 reserves the rights of mining",
        POLICY: "consent: TDMRep, address of the policy",
        HEADERS: "consent: response headers as JSON; those above are read",
    }
)
"""Descriptions of the columns by name; each is a field of its own, since all of them count."""


def column_statements(values: Mapping[str, Any], origin: str = "column") -> Iterator[Statement]:
    """Statements of a record's columns.

    Args:
        values: Values by field.
        origin: Kind of place, before the name of the field.
    """
    for name, read in _READERS.items():
        for text in _texts(values.get(name)):
            statement = read(f"{origin} {name}", text)
            if statement is not None:
                yield statement
    policy = next(_texts(values.get(POLICY)), "")
    for text in _texts(values.get(RESERVATION)):
        statement = reservation(f"{origin} {RESERVATION}", text, policy)
        if statement is not None:
            yield statement
    yield from _header_statements(values.get(HEADERS))


def _header_statements(value: Any) -> Iterator[Statement]:
    """Statements of the headers that a picture was served with: an object, or the JSON of one."""
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if isinstance(
        value, list | tuple
    ):  # Pairs, or objects with name and value, which Arrow returns for maps.
        value = dict(pair for pair in map(_pair, value) if pair)
    if isinstance(value, Mapping):
        named = {str(name).lower().replace("-", "_"): entry for name, entry in value.items()}
        yield from column_statements({name: named[name] for name in named if name != HEADERS}, "header")


def _pair(entry: Any) -> tuple[Any, Any] | None:
    if isinstance(entry, Mapping):
        return (entry["name"], entry["value"]) if {"name", "value"} <= entry.keys() else None
    return (entry[0], entry[1]) if isinstance(entry, list | tuple) and len(entry) == 2 else None


def _texts(value: Any) -> Iterator[str]:
    """The value as text, or each of a list's values; nothing for a missing one."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, bytes):
        yield from filter(str.strip, [decode_text(value)[0]])
    elif value is not None and value == value:  # Not NaN, which stands for a missing value.
        yield from filter(str.strip, [str(value)])
