"""Ids that a program counted, unique in one run or shard only, are completed by their place in the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditline.corpus.columns import columns_of
from creditline.corpus.records import text_of

# Columns that img2dataset and webdataset fill; an `id` is its author's, and stays as it is.
_COUNTED_COLUMNS = ("key", "__key__")
# Digits of img2dataset's keys at least: five for the shard, and four for the sample in it.
_SHARD_AND_SAMPLE_DIGITS = 9


def with_place(values: Mapping[str, Any], record: Mapping[str, Any], shard: str) -> Mapping[str, Any]:
    """The values of a record, where an id that was counted carries the place that it was counted in.

    A key such as `000010003` holds the number of its shard and is unique in its run: the run's directory is
    put before it. A key such as `17` was counted in one file: the file is put before it too. Places are
    relative to the source, so that ids do not depend on where the source lies.

    Args:
        values: Values by field.
        record: Values by column.
        shard: Path of the file relative to the source, without its suffix.
    """
    key = text_of(values.get("id"))
    if not key.isdecimal() or not _is_counted(values["id"], record):
        return values
    run = shard.rpartition("/")[0]
    place = run if len(key) >= _SHARD_AND_SAMPLE_DIGITS else shard
    return {**values, "id": f"{place}/{key}"} if place else values


def _is_counted(value: Any, record: Mapping[str, Any]) -> bool:
    columns = columns_of(record).get("id", ())
    column = next((name for name in columns if record[name] is value), "")
    return column.lower() in _COUNTED_COLUMNS
