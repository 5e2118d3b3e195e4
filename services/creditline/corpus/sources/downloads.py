"""Downloads that failed, as img2dataset reports them in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditline.corpus.records import text_of

STATUS_COLUMNS = ("status", "error_message")
"""The columns or keys that img2dataset writes; a record that lacks one of them is not img2dataset's."""
_SUCCESS = "success"


def download_fault(record: Mapping[str, Any]) -> str:
    """The reason why a record's picture was not downloaded.

    Returns:
        The end of a sentence about the row; empty for a success, or without img2dataset's columns.
    """
    if not all(column in record for column in STATUS_COLUMNS):
        return ""
    status, message = (text_of(record[column]) for column in STATUS_COLUMNS)
    if status in ("", _SUCCESS):
        return ""
    why = f"{status}: {message}" if message else status
    return f"was not downloaded ({why}); download it again, or leave it out"
