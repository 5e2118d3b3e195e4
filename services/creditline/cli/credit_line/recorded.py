"""The credit line of a recorded answer, read from the gateway."""

from __future__ import annotations

from creditline.cli.credit_line.line import CreditLine, Query
from creditline.client import CreditlineClient


def recorded_line(client: CreditlineClient, attribution_id: str) -> CreditLine:
    """The answer with its picture, and the thumbnails of its works that are not withdrawn.

    Args:
        client: Client of the gateway that gave the answer.
        attribution_id: Id of the answer.

    Raises:
        NotFound: The gateway has no such answer.
    """
    recorded = client.attribution(attribution_id)
    picture = client.attributed_picture(attribution_id)
    return CreditLine(
        query=Query(picture, recorded.prompt, recorded.generator),
        answer=recorded.answer,
        thumbnails={
            work.id: client.thumbnail(work.id) for work in recorded.answer.works if not work.withdrawn
        },
        accuracy=recorded.answer.accuracy,
        audit=recorded.audit,
    )
