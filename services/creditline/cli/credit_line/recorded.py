"""The credit line of a recorded answer, read from the gateway."""

from __future__ import annotations

from collections.abc import Iterable

from creditline.api.answers import CreditedWork
from creditline.cli.credit_line.line import CreditLine, Query
from creditline.client import CreditlineClient
from creditline.errors import NotFound


def recorded_line(client: CreditlineClient, attribution_id: str) -> CreditLine:
    """The answer with its picture, and the thumbnails of its works that are not withdrawn.

    A private query is shown without picture and prompt, which the gateway never had.

    Args:
        client: Client of the gateway that gave the answer.
        attribution_id: Id of the answer.

    Raises:
        NotFound: The gateway has no such answer.
    """
    recorded = client.attribution(attribution_id)
    picture = None if recorded.answer.private else client.attributed_picture(attribution_id)
    return CreditLine(
        query=Query(picture, recorded.prompt, recorded.generator),
        answer=recorded.answer,
        thumbnails=thumbnails_of(client, recorded.answer.works),
        accuracy=recorded.answer.accuracy,
        audit=recorded.audit,
        undelivered=recorded.undelivered,
    )


def thumbnails_of(client: CreditlineClient, works: Iterable[CreditedWork]) -> dict[str, bytes]:
    """Thumbnails of the listed works that are not withdrawn, by id.

    A work that the gateway no longer knows, such as one that was added to an earlier build, has an empty one.

    Args:
        client: Client of the gateway that gave the answer.
        works: The listed works.
    """
    return {work.id: _thumbnail(client, work.id) for work in works if not work.withdrawn}


def _thumbnail(client: CreditlineClient, work_id: str) -> bytes:
    try:
        return client.thumbnail(work_id)
    except NotFound:
        return b""
