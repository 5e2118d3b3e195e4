"""Routes of the REST API: what they check before their body is read, and types of their parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any

from fastapi import HTTPException, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from starlette.routing import Match
from starlette.types import Scope

from creditline.errors import InvalidInput
from creditline.gateway.pages import DEFAULT_PAGE, LARGEST_SIZE, MOST_IN_PAGE
from creditline.gateway.transport.submissions import JSON, media_type
from creditline.gateway.use_cases.requests import LEDGER_ID, LONGEST_ID, quoted
from creditline.gateway.use_cases.withdrawals import LAST_SEQUENCE, MOST_LISTED

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
PROTECTED_PREFIX = "/v1/"
"""Paths that need an API key."""
_SHOWN = 60
_THUMBNAIL = b"/thumbnail"


def _boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _decimal(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) else value


LedgerId = Annotated[
    str, Path(description="An id from an answer.", json_schema_extra={"pattern": f"^{LEDGER_ID}$"})
]
WorkId = Annotated[
    str,
    Path(
        description="Id of a work, which may hold slashes; one that ends in /thumbnail needs it as %2F.",
        json_schema_extra={"minLength": 1, "maxLength": LONGEST_ID},
    ),
]
History = Annotated[
    bool,
    Query(strict=True, description="List all records ever made, not only those in force."),
    BeforeValidator(_boolean),
]
After = Annotated[
    int,
    Query(
        strict=True,
        description="List only records after this sequence number.",
        json_schema_extra={"minimum": 0, "maximum": LAST_SEQUENCE},
    ),
    BeforeValidator(_decimal),
]
Limit = Annotated[
    int,
    Query(
        strict=True,
        description="Largest number of records.",
        json_schema_extra={"minimum": 1, "maximum": MOST_LISTED},
    ),
    BeforeValidator(_decimal),
]

PageSize = Annotated[
    int,
    Query(
        strict=True,
        description=f"Largest number of entries; 0 for {DEFAULT_PAGE}, above {MOST_IN_PAGE:,} it is that.",
        json_schema_extra={"minimum": 0, "maximum": LARGEST_SIZE},
    ),
    BeforeValidator(_decimal),
]
PageToken = Annotated[
    str,
    Query(
        description="`next_page_token` of the page before; empty for the first page.",
        json_schema_extra={"format": "page-token"},
    ),
]


class ApiRoute(APIRoute):
    """A route that refuses bodies of another media type and, under /v1/, unknown query parameters.

    Probes and scrapers may send any query.
    """

    def get_route_handler(self) -> _Handler:
        """The handler behind these checks."""
        handle = super().get_route_handler()
        known = {parameter.alias for parameter in self.dependant.query_params}
        accepted = self.accepted_media_types()

        async def checked(request: Request) -> Response:
            if self.path.startswith(PROTECTED_PREFIX):
                _check_query(request, known)
            if accepted and media_type(request) not in accepted:
                raise HTTPException(
                    415,
                    f"the body has the media type {quoted(media_type(request))}; send "
                    f"{' or '.join(accepted)}",
                    headers={"Accept": ", ".join(accepted)},
                )
            return await handle(request)

        return checked

    def accepted_media_types(self) -> tuple[str, ...]:
        """Media types of the body; empty where the route has none."""
        if self.body_field is not None:
            return (JSON,)
        return tuple((self.openapi_extra or {}).get("requestBody", {}).get("content", {}))


class ThumbnailRoute(ApiRoute):
    """The route of thumbnails, whose last slash is one: `%2F` belongs to the work's id."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match only paths whose last segment, as sent, is `thumbnail`."""
        if not scope["raw_path"].endswith(_THUMBNAIL):
            return Match.NONE, {}
        return super().matches(scope)


def _check_query(request: Request, known: Iterable[str]) -> None:
    given: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            raise InvalidInput(
                f"{quoted(name)} is no query parameter of this route; leave it out", field=name[:_SHOWN]
            )
        if name in given:
            raise InvalidInput(f"{name} is sent more than once; send it once", field=name)
        given.add(name)
