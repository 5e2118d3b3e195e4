"""The REST API: routes that translate between HTTP and use cases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from creditline import __version__
from creditline.api.answers import (
    AttributionAnswer,
    AuditAnswer,
    MergeAnswer,
    MergeStatus,
    Person,
    RecordedAttribution,
    ReleaseAnswer,
    WithdrawalAnswer,
    WithdrawalStatus,
    WorkAnswer,
    WorkFilter,
)
from creditline.errors import CreditlineError, InvalidInput
from creditline.gateway.access.caller import Authenticator
from creditline.gateway.application import UseCases
from creditline.gateway.deadline import Deadline
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.readiness import Readiness
from creditline.gateway.transport.middleware import AccessMiddleware, problem_response
from creditline.gateway.transport.problems import INTERNAL_MESSAGE, PROBLEM_TYPE
from creditline.gateway.use_cases.contributors import MergeRequest
from creditline.gateway.use_cases.requests import DEFAULT_K, AttributionRequest, quoted
from creditline.gateway.use_cases.withdrawals import MOST_LISTED, WithdrawalRequest

_LIVE = "live"
_THUMBNAIL_TYPE = "image/webp"
_PICTURE_TYPE = "image/png"
_CACHE_FOR_A_DAY = {"Cache-Control": "private, max-age=86400"}
_log = logging.getLogger(__name__)


class AuditSubmission(BaseModel):
    """The body of `POST /v1/audits`."""

    attribution_id: str
    """Id of the attribution to audit."""


class WithdrawalSubmission(BaseModel):
    """The body of `POST /v1/withdrawals`. Reason and requester are kept permanently: no personal data."""

    kind: str
    """WORK, CONTRIBUTOR or CONTRIBUTOR_ID."""
    subject: str
    """Id of the work, or name or id of the contributor."""
    action: Literal["WITHDRAWN", "REVOKED"] = "WITHDRAWN"
    """WITHDRAWN to withdraw the subject, REVOKED to revoke its withdrawal."""
    reason: str = ""
    """Reason for the request."""
    requested_by: str = ""
    """The requester."""
    allow_unknown: bool = False
    """Accept a subject that neither the corpus nor the live build holds."""

    def request(self) -> WithdrawalRequest:
        """The request that the use case accepts."""
        return WithdrawalRequest(self.kind, self.subject, self.reason, self.requested_by, self.allow_unknown)


class MergeSubmission(BaseModel):
    """The body of `POST /v1/contributors/merges`. Reason and requester are kept permanently."""

    person: Person
    """The one under whom the works of both are credited: `{"name": …}` or `{"id": …}`."""
    other: Person
    """The other name or id."""
    action: Literal["MERGED", "REVOKED"] = "MERGED"
    """MERGED to merge the two, REVOKED to revoke their merge."""
    reason: str = ""
    """Reason for the request."""
    requested_by: str = ""
    """The requester."""
    allow_unknown: bool = False
    """Accept people whom neither the corpus nor the live build names."""

    def request(self) -> MergeRequest:
        """The request that the use case accepts."""
        return MergeRequest(self.person, self.other, self.reason, self.requested_by, self.allow_unknown)


def rest_app(use_cases: UseCases, access: Authenticator, metrics: GatewayMetrics) -> FastAPI:
    """The REST application: routes under /v1, health, metrics, and OpenAPI at /openapi.json and /docs.

    Args:
        use_cases: The use cases behind the routes.
        access: Establishes the caller of each request.
        metrics: Counts requests, and is served at /metrics.
    """
    app = FastAPI(
        title="Creditline",
        version=__version__,
        description="Which training images does a generated picture owe, how strongly, and who made them?",
    )
    _add_attributions(app, use_cases)
    _add_catalog(app, use_cases)
    _add_audits(app, use_cases)
    _add_releases(app, use_cases)
    _add_withdrawals(app, use_cases)
    _add_contributors(app, use_cases)
    _add_health(app, use_cases, metrics)
    _add_problems(app)
    app.add_middleware(AccessMiddleware, access=access, metrics=metrics)
    return app


def _add_attributions(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/attributions")
    async def attribute(
        image: Annotated[
            UploadFile, File(description="The picture: PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF.")
        ],
        prompt: Annotated[str, Form(description="The prompt that the picture was made from.")] = "",
        generator: Annotated[
            str,
            Form(
                description="Fingerprint of the generator that made the picture; empty for the only one that"
                " is served."
            ),
        ] = "",
        k: Annotated[int, Form(description="Number of works to list: 1 to 1,000.")] = DEFAULT_K,
        release: Annotated[str, Form(description="Release to answer with; empty for the live one.")] = "",
        contributor: Annotated[
            list[str] | None, Form(description="List only works of these contributors, by name.")
        ] = None,
        contributor_id: Annotated[
            list[str] | None, Form(description="List only works of these contributors, by id.")
        ] = None,
        licence: Annotated[
            list[str] | None, Form(description="List only works under these licences.")
        ] = None,
        created_since: Annotated[
            datetime | None, Form(description="List only works created at this time or later.")
        ] = None,
        created_until: Annotated[
            datetime | None, Form(description="List only works created before this time.")
        ] = None,
        consent: Annotated[
            list[str] | None,
            Form(description="List only works of which this holds, such as generative_training=prohibited."),
        ] = None,
    ) -> AttributionAnswer:
        """The works that a picture owes, how much to each, and their contributors.

        The fields after `release` restrict the listed works. A share stays the part of the influence of
        all works, and the remainder holds all works that are not listed.
        """
        deadline = Deadline.after(use_cases.request_timeout_seconds)
        works = WorkFilter(
            tuple(contributor or ()),
            tuple(contributor_id or ()),
            tuple(licence or ()),
            created_since,
            created_until,
            tuple(consent or ()),
        )
        request = AttributionRequest(
            await image.read(), prompt, generator, k, release, works if works.narrows else None
        )
        return await use_cases.attribute(request, deadline)

    @app.get("/v1/attributions/{attribution_id}")
    async def attribution(attribution_id: str) -> RecordedAttribution:
        """A recorded answer as it was served, with marks on works and contributors withdrawn since."""
        return await use_cases.attributions.get(attribution_id)

    @app.get("/v1/attributions/{attribution_id}/picture", response_class=Response)
    async def picture(attribution_id: str) -> Response:
        """The picture of a recorded answer's query, PNG."""
        return Response(await use_cases.attributions.picture(attribution_id), media_type=_PICTURE_TYPE)


def _add_catalog(app: FastAPI, use_cases: UseCases) -> None:
    @app.get("/v1/works/{work_id}")
    async def work(work_id: str) -> WorkAnswer:
        """One work by its id."""
        return await use_cases.catalog.work(work_id)

    @app.get("/v1/works/{work_id}/thumbnail", response_class=Response)
    async def thumbnail(work_id: str) -> Response:
        """The thumbnail of a work, WebP."""
        picture = await use_cases.catalog.thumbnail(work_id)
        return Response(picture, media_type=_THUMBNAIL_TYPE, headers=_CACHE_FOR_A_DAY)


def _add_audits(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/audits", status_code=202)
    async def submit_audit(submission: AuditSubmission) -> AuditAnswer:
        """Request an audit of an attribution. A repeated request returns the same audit."""
        return await use_cases.audits.submit(submission.attribution_id)

    @app.get("/v1/audits/{audit_id}")
    async def audit(audit_id: str) -> AuditAnswer:
        """The current state of an audit."""
        return await use_cases.audits.get(audit_id)


def _add_releases(app: FastAPI, use_cases: UseCases) -> None:
    @app.get("/v1/releases/{name}")
    async def release(name: str) -> ReleaseAnswer:
        """A release with its audited accuracy; the name `live` means the live release."""
        requested = "" if name == _LIVE else name
        return await asyncio.to_thread(use_cases.releases.answer, requested)


def _add_withdrawals(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/withdrawals")
    async def withdraw(submission: WithdrawalSubmission, response: Response) -> WithdrawalStatus:
        """Withdraw a work or a contributor from all later answers, or revoke a withdrawal.

        Status 202 until it is carried out in the index; answers leave the works out even before that.
        """
        withdrawals, request = use_cases.withdrawals, submission.request()
        revoked = submission.action == "REVOKED"
        status = await (withdrawals.revoke(request) if revoked else withdrawals.withdraw(request))
        response.status_code = 200 if status.carried_out else 202
        return status

    @app.get("/v1/withdrawals")
    async def withdrawals(
        history: bool = False, after: int = 0, limit: int = MOST_LISTED
    ) -> tuple[WithdrawalAnswer, ...]:
        """The withdrawals in force, oldest first; with `history`, all requests ever made."""
        return await use_cases.withdrawals.listed(history=history, after=after, limit=limit)


def _add_contributors(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/contributors/merges")
    async def merge(submission: MergeSubmission, response: Response) -> MergeStatus:
        """Record that two names or ids are one person, or revoke that.

        Status 202 until the index agrees; answers follow even before that.
        """
        contributors, request = use_cases.contributors, submission.request()
        revoked = submission.action == "REVOKED"
        status = await (contributors.revoke(request) if revoked else contributors.merge(request))
        response.status_code = 200 if status.carried_out else 202
        return status

    @app.get("/v1/contributors/merges")
    async def merges(
        history: bool = False, after: int = 0, limit: int = MOST_LISTED
    ) -> tuple[MergeAnswer, ...]:
        """The merges in force, oldest first; with `history`, all records ever made."""
        return await use_cases.contributors.listed(history=history, after=after, limit=limit)


def _add_health(app: FastAPI, use_cases: UseCases, metrics: GatewayMetrics) -> None:
    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """Status 200 while the process runs."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready(response: Response) -> Readiness:
        """The state of each service; status 200 when attributions can be answered, else 503."""
        readiness = await use_cases.readiness()
        response.status_code = 200 if readiness.ready else 503
        return readiness

    @app.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(CreditlineError)
    async def refused(_request: Request, error: CreditlineError) -> JSONResponse:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(_invalid_input(error.errors()))

    @app.exception_handler(HTTPException)
    async def refused_by_http(_request: Request, error: HTTPException) -> JSONResponse:
        # FastAPI wraps an error that was raised while it read the body, such as the middleware's size limit.
        if isinstance(error.__cause__, CreditlineError):
            return problem_response(error.__cause__)
        body = {"type": "about:blank", "title": error.detail, "status": error.status_code}
        return JSONResponse(
            body, status_code=error.status_code, headers=error.headers, media_type=PROBLEM_TYPE
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        body = {"type": "about:blank", "title": "Internal error", "status": 500, "detail": INTERNAL_MESSAGE}
        return JSONResponse(body, status_code=500, media_type=PROBLEM_TYPE)


def _invalid_input(errors: Sequence[Mapping[str, Any]]) -> InvalidInput:
    """The error for the first invalid field of a request's form or body."""
    first = errors[0]
    names = [str(part) for part in first["loc"][1:] if isinstance(part, str)]
    field = names[-1] if names else "body"
    value = first.get("input")
    given = f" is {quoted(value)}" if isinstance(value, str) else ""
    return InvalidInput(f"{field}{given}: {first['msg']}; see /docs for what is expected", field=field)
