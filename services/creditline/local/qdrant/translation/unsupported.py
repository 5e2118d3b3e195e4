"""What the local process does not have: said by name, so that a call never does less than it says."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from creditline.errors import CreditlineError


class NotServed(CreditlineError):
    """A part of Qdrant's API that the local process does not have."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Creditline's local Qdrant process does not serve {what}; "
            "run a Qdrant server and point CREDITLINE_QDRANT_HOST at it"
        )


def refuse_other_fields(message: Message, served: Iterable[str], of: str) -> None:
    """Raise NotServed when a protobuf `message` sets a field that is not `served`; `of` names the message."""
    for field, _ in message.ListFields():
        if field.name not in served:
            raise NotServed(f"{field.name} of {of}")
