"""Metadata of one picture from several places (a table, a JSON file, a text file), merged into one record."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditline.corpus.columns import PLAIN_FIELDS, columns_of
from creditline.corpus.records import column_of, fields_of, tells
from creditline.corpus.sources.found import NOT_UTF_8
from creditline.corpus.texts import UTF_8, decode_text

TRANSLATIONS = "translations of the caption, left out"
# A line of a caption file as Tux Paint writes it: the caption's translation, after its locale.
_TRANSLATION = re.compile(rb"^[A-Za-z]{2,3}(?:[_@][A-Za-z]+)*\.utf8=.*\r?\n?", re.MULTILINE)


@dataclass(frozen=True)
class Layer:
    """The metadata of a picture that one place holds."""

    origin: str
    """Name of the place, such as `captions.csv` or `NAME.json`."""
    record: Mapping[str, Any]
    """Values by column or key."""
    notes: tuple[str, ...] = ()
    """Notes about how the place was read."""
    is_text: bool = False
    """Whether the place is a text that holds only a caption."""

    @property
    def has_caption(self) -> bool:
        """Whether the place has a column or key for the caption, which may be empty."""
        return "caption" in columns_of(self.record)

    def origin_of(self, column: str) -> str:
        """Description of where a column's value comes from."""
        return self.origin if self.is_text else f"{column} in {self.origin}"


def caption_layer(origin: str, raw: bytes) -> Layer:
    """The layer of a text file that holds only a caption, perhaps with translations on lines of their own."""
    caption, translations = _TRANSLATION.subn(b"", raw)
    return Layer(origin, {"caption": caption}, (TRANSLATIONS,) if translations else (), is_text=True)


def json_layer(origin: str, raw: bytes) -> Layer:
    """The layer of a JSON file.

    Raises:
        ValueError: The text is not a JSON object.
    """
    text, encoding = decode_text(raw)
    try:
        record = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError(f"it holds a {type(record).__name__} instead of an object")
    return Layer(origin, record, () if encoding == UTF_8 else (NOT_UTF_8,))


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """Values by field; values of later layers that say something replace those of earlier layers."""
    values: dict[str, Any] = {}
    for layer in layers:
        given = fields_of(layer.record)
        values.update({name: one for name, one in given.items() if name not in values or tells(name, one)})
    return values


def record_of(layers: Sequence[Layer]) -> dict[str, Any]:
    """All values by column; those of later layers replace those of earlier layers, empty or not."""
    return {column: value for layer in layers for column, value in layer.record.items()}


def notes_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The notes of all layers, without repetitions."""
    return tuple(dict.fromkeys(note for layer in layers for note in layer.notes))


def origins(layers: Sequence[Layer]) -> dict[str, str]:
    """Description of where the value of each field comes from."""
    described: dict[str, str] = {}
    for layer in layers:
        columns = {field: column_of(layer.record, field) for field in PLAIN_FIELDS}
        described.update({field: layer.origin_of(column) for field, column in columns.items() if column})
    return described
