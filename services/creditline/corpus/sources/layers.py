"""What is told of one picture in several places: a table, a JSON file, a text file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditline.corpus.columns import PLAIN_FIELDS, columns_of
from creditline.corpus.records import fields_of
from creditline.corpus.sources.found import NOT_UTF_8
from creditline.corpus.texts import UTF_8, decode_text


@dataclass(frozen=True)
class Layer:
    """One place and what it tells. origin: what people call it, such as `captions.csv` or `NAME.json`."""

    origin: str
    record: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def told_by(self, column: str) -> str:
        """Where a value comes from, in words."""
        return self.origin if self.origin.endswith(".txt") else f"{column} in {self.origin}"


def caption_layer(origin: str, raw: bytes) -> Layer:
    """A text file that is a caption and nothing else."""
    return Layer(origin, {"caption": raw})


def json_layer(origin: str, raw: bytes) -> Layer:
    """Raises ValueError, with its reason, when it is no JSON object."""
    text, encoding = decode_text(raw)
    record = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError(f"a {type(record).__name__} instead of an object")
    return Layer(origin, record, () if encoding == UTF_8 else (NOT_UTF_8,))


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """Values by field; later layers come over earlier ones, except where they tell nothing."""
    values: dict[str, Any] = {}
    for layer in layers:
        values.update(fields_of(layer.record))
    return values


def notes_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """What was read with a guess in any of them, each once."""
    return tuple(dict.fromkeys(note for layer in layers for note in layer.notes))


def origins(layers: Sequence[Layer]) -> dict[str, str]:
    """By field where its value comes from, in words."""
    told: dict[str, str] = {}
    for layer in layers:
        columns = columns_of(layer.record)
        fields = [field for field in fields_of(layer.record) if field in PLAIN_FIELDS]
        told.update({field: layer.told_by(columns[field]) for field in fields})
    return told
