"""Errors that name the unsupported part of a request, so that no call silently does less than requested."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from creditline.errors import CreditlineError


class Unsupported(CreditlineError):
    """The request uses a part of Qdrant's API that the local process does not support.

    Args:
        what: the unsupported part, as a noun phrase for the error message.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Creditline's local Qdrant process does not support {what}; "
            "run a Qdrant server and point CREDITLINE_QDRANT_HOST at it"
        )


def reject_unsupported_fields(message: Message, supported: Iterable[str], of: str) -> None:
    """Reject a message that sets an unsupported field.

    Args:
        message: the protobuf message.
        supported: names of the supported fields.
        of: the message as a noun phrase for the error.

    Raises:
        Unsupported: The message sets another field.
    """
    for field, _ in message.ListFields():
        if field.name not in supported:
            raise Unsupported(f"{field.name} of {of}")
