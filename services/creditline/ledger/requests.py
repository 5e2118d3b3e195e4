"""Checks of the texts of requests that the ledger keeps for ever, and the limits of their lengths."""

from __future__ import annotations

from creditline.corpus.names import display_name
from creditline.errors import InvalidInput
from creditline.ledger.tables import (
    MOST_REASON_CHARACTERS as MOST_REASON_CHARACTERS,
)
from creditline.ledger.tables import (
    MOST_REQUESTER_CHARACTERS as MOST_REQUESTER_CHARACTERS,
)
from creditline.ledger.tables import (
    MOST_SUBJECT_CHARACTERS as MOST_SUBJECT_CHARACTERS,
)


def check_request(subject: str, reason: str, requested_by: str, *, field: str = "subject") -> None:
    """Validate the texts of a withdrawal request, by their length before anything else.

    Args:
        subject: Id of the work, or name or id of the contributor.
        reason: Why it was requested.
        requested_by: Who requested it.
        field: Name of the subject's field.

    Raises:
        InvalidInput: A text is too long or has characters that cannot be stored, or the subject is empty.
    """
    for name, text, most in (
        (field, subject, MOST_SUBJECT_CHARACTERS),
        ("reason", reason, MOST_REASON_CHARACTERS),
        ("requested_by", requested_by, MOST_REQUESTER_CHARACTERS),
    ):
        if len(text) > most:
            raise InvalidInput(
                f"{name} has {len(text):,} characters; shorten it to at most {most:,}", field=name
            )
        if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InvalidInput(
                f"{name} has characters that are not valid text (NUL or surrogates); send plain text",
                field=name,
            )
    if not display_name(subject):
        raise InvalidInput("neither a work nor a contributor is named; give an id or a name", field=field)
