"""The REST API: routes that translate between HTTP and use cases."""

from __future__ import annotations

import asyncio
from functools import cache, partial
from typing import Annotated

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from creditline import __version__
from creditline.api.answers import (
    AttributionAnswer,
    AuditAnswer,
    MergeAnswer,
    MergeStatus,
    RecordedAttribution,
    ReleaseAnswer,
    WithdrawalAnswer,
    WithdrawalStatus,
    WorkAnswer,
)
from creditline.api.pages import AttributionPage, AuditPage, ContributorPage, WorkPage
from creditline.errors import CreditlineError
from creditline.gateway.access.caller import charge_attributions, current_caller
from creditline.gateway.application import UseCases
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.pages import PageRequest
from creditline.gateway.readiness import Readiness
from creditline.gateway.transport.contract.openapi import (
    AttributionBatch,
    AttributionResult,
    accepted,
    attribution_body,
    batch_body,
    state_openapi,
)
from creditline.gateway.transport.contract.reference import reference_page
from creditline.gateway.transport.http_connection import waited_seconds
from creditline.gateway.transport.middleware import GONE, TIMEOUT_HEADER, problem_response
from creditline.gateway.transport.problems import INTERNAL_MESSAGE, PROBLEM_TYPE, plain_problem, problem_body
from creditline.gateway.transport.request_ids import current_request_id
from creditline.gateway.transport.routes import (
    After,
    ApiRoute,
    History,
    LedgerId,
    Limit,
    PageSize,
    PageToken,
    ThumbnailRoute,
    WorkId,
)
from creditline.gateway.transport.submissions import (
    AuditSubmission,
    MergeSubmission,
    WithdrawalSubmission,
    invalid_input,
    read_attribution,
    read_batch,
)
from creditline.gateway.use_cases.calls.batch import Outcome, batch
from creditline.gateway.use_cases.calls.repeats import REQUEST_ID
from creditline.gateway.use_cases.requests import quoted
from creditline.gateway.use_cases.withdrawals import MOST_LISTED
from creditline.pictures.queries import media_type

_LIVE = "live"
_OWN_STYLE = "default-src 'none'; style-src 'unsafe-inline'"
_MOST_SECONDS = 600.0
_CACHE_FOR_A_DAY = {"Cache-Control": "private, max-age=86400"}
Seconds = Annotated[
    float | None,
    Header(
        alias=TIMEOUT_HEADER,
        gt=0,
        le=_MOST_SECONDS,
        allow_inf_nan=False,
        description="Time in seconds after which the caller does not wait any more.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same as the field `request_id`, which goes before; plain or as a quoted string.",
        json_schema_extra={"pattern": f'^({REQUEST_ID}|"{REQUEST_ID}")$'},
    ),
]


class WebpResponse(Response):
    """A picture as WebP."""

    media_type = "image/webp"


class MetricsResponse(Response):
    """Metrics in Prometheus' text format, or in OpenMetrics'."""

    media_type = CONTENT_TYPE_LATEST


def rest_app(use_cases: UseCases, metrics: GatewayMetrics | None) -> FastAPI:
    """The REST application: routes under /v1, health, and OpenAPI at /openapi.json.

    Args:
        use_cases: The use cases behind the routes.
        metrics: Is served at /metrics; None: `operator_app` serves it elsewhere.
    """
    app = _app()
    _add_attributions(app, use_cases)
    _add_catalog(app, use_cases)
    _add_audits(app, use_cases)
    _add_releases(app, use_cases)
    _add_withdrawals(app, use_cases)
    _add_contributors(app, use_cases)
    _add_health(app, use_cases)
    if metrics is not None:
        _add_metrics(app, metrics)
    _add_reference(app)
    _add_problems(app)
    state_openapi(app)
    return app


def operator_app(use_cases: UseCases, metrics: GatewayMetrics) -> FastAPI:
    """The application of a port for operators only: metrics, and the same health as the REST application's.

    Args:
        use_cases: Readiness is one of them.
        metrics: Is served at /metrics.
    """
    app = _app()
    _add_health(app, use_cases)
    _add_metrics(app, metrics)
    _add_problems(app)
    return app


def _app() -> FastAPI:
    app = FastAPI(
        title="Creditline",
        version=__version__,
        description="Which training images does a generated picture owe, how strongly, and who made them?",
        # The pages that FastAPI serves load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # FastAPI's own traces hold paths and queries; the front makes the gateway's.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    app.router.route_class = ApiRoute
    return app


def _add_attributions(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/attributions", openapi_extra={"requestBody": attribution_body()})
    async def attribute(
        request: Request, seconds: Seconds = None, idempotency_key: IdempotencyKey = None
    ) -> AttributionAnswer:
        """The works that a picture owes, how much to each, and their contributors.

        The fields after `release` restrict the listed works. A share stays the part of the influence of
        all works, and the remainder holds all works that are not listed.
        """
        deadline = use_cases.admission.deadline(seconds, waited=waited_seconds(request.scope))
        asked = await read_attribution(request, idempotency_key)
        return await use_cases.attribute(asked, deadline, current_caller.get())

    @app.post("/v1/attributions:batch", openapi_extra={"requestBody": batch_body()})
    async def attribute_batch(request: Request, seconds: Seconds = None) -> AttributionBatch:
        """Attributes several pictures at once, each as if it was sent alone, whatever becomes of the others.

        The results are in the order of the requests, and all requests share the time that the caller allows.
        A body that cannot be read fails as a whole; a request that passes a bound, which are those of
        `POST /v1/attributions`, has an error of its own.
        """
        deadline = use_cases.admission.deadline(seconds, waited=waited_seconds(request.scope))
        caller = current_caller.get()
        asked = await read_batch(request)
        answers = [partial(use_cases.attribute, each, deadline, caller) for each in asked]
        outcomes = await batch(caller, answers, charge_attributions.get())
        return AttributionBatch(tuple(map(_result, outcomes)))

    @app.get("/v1/attributions")
    async def attributions(page_size: PageSize = 0, page_token: PageToken = "") -> AttributionPage:
        """The recorded answers of the key's owner, newest first, without their works; for an admin all."""
        return await use_cases.attributions.listed(PageRequest(page_size, page_token), current_caller.get())

    @app.get("/v1/attributions/{attribution_id}")
    async def attribution(attribution_id: LedgerId) -> RecordedAttribution:
        """A recorded answer as it was served, with marks on works and contributors withdrawn since."""
        return await use_cases.attributions.get(attribution_id, current_caller.get())

    @app.get(
        "/v1/attributions/{attribution_id}/picture",
        response_class=WebpResponse,
        responses={200: {"content": {"image/png": {"schema": {"type": "string"}}}}},
    )
    async def picture(attribution_id: LedgerId) -> Response:
        """The picture of a recorded answer's query: lossless WebP, or PNG in older records."""
        recorded = await use_cases.attributions.picture(attribution_id, current_caller.get())
        return Response(recorded, media_type=media_type(recorded))


def _result(found: Outcome) -> AttributionResult:
    """What became of one request of a batch."""
    if isinstance(found, CreditlineError):
        return AttributionResult(error=problem_body(found))
    return AttributionResult(response=found)


def _add_catalog(app: FastAPI, use_cases: UseCases) -> None:
    @app.get("/v1/works")
    async def works(page_size: PageSize = 0, page_token: PageToken = "") -> WorkPage:
        """The works of the corpus by their ids, and after them those that were added to the live build."""
        return await use_cases.catalog.listed(PageRequest(page_size, page_token))

    async def thumbnail(work_id: WorkId) -> Response:
        """The thumbnail of a work, WebP."""
        return WebpResponse(await use_cases.catalog.thumbnail(work_id), headers=_CACHE_FOR_A_DAY)

    app.router.add_api_route(
        "/v1/works/{work_id:path}/thumbnail",
        thumbnail,
        methods=["GET"],
        response_class=WebpResponse,
        route_class_override=ThumbnailRoute,
    )

    # In this order: the path of a work may hold slashes, and would match the one of its thumbnail.
    @app.get("/v1/works/{work_id:path}")
    async def work(work_id: WorkId) -> WorkAnswer:
        """One work by its id."""
        return await use_cases.catalog.work(work_id)


def _add_audits(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/audits", status_code=202)
    async def submit_audit(submission: AuditSubmission) -> AuditAnswer:
        """Request an audit of an attribution. A repeated request returns the same audit."""
        return await use_cases.audits.submit(submission.attribution_id, current_caller.get())

    @app.get("/v1/audits")
    async def audits(page_size: PageSize = 0, page_token: PageToken = "") -> AuditPage:
        """The audits of the answers of the key's owner, newest first; for an admin all.

        Their verdicts lack the scored works, which the audit itself has.
        """
        return await use_cases.audits.listed(PageRequest(page_size, page_token), current_caller.get())

    @app.get("/v1/audits/{audit_id}")
    async def audit(audit_id: LedgerId) -> AuditAnswer:
        """The current state of an audit."""
        return await use_cases.audits.get(audit_id, current_caller.get())


def _add_releases(app: FastAPI, use_cases: UseCases) -> None:
    @app.get("/v1/releases/{name:path}")
    async def release(name: str) -> ReleaseAnswer:
        """A release with its audited accuracy; the name `live` means the live release."""
        requested = "" if name == _LIVE else name
        return await use_cases.releases.answer(requested)


def _add_withdrawals(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/withdrawals", responses=accepted(WithdrawalStatus))
    async def withdraw(submission: WithdrawalSubmission, response: Response) -> WithdrawalStatus:
        """Withdraw a work or a contributor from all later answers, or revoke a withdrawal.

        Status 202 until it is carried out in the index; answers leave the works out even before that.
        """
        withdrawals, request = use_cases.withdrawals, submission.request()
        act = withdrawals.revoke if submission.action == "REVOKED" else withdrawals.withdraw
        status = await act(request, current_caller.get())
        response.status_code = 200 if status.carried_out else 202
        return status

    @app.get("/v1/withdrawals")
    async def withdrawals(
        history: History = False, after: After = 0, limit: Limit = MOST_LISTED
    ) -> tuple[WithdrawalAnswer, ...]:
        """The withdrawals in force, oldest first; with `history`, all requests ever made."""
        return await use_cases.withdrawals.listed(
            current_caller.get(), history=history, after=after, limit=limit
        )


def _add_contributors(app: FastAPI, use_cases: UseCases) -> None:
    @app.post("/v1/contributors/merges", responses=accepted(MergeStatus))
    async def merge(submission: MergeSubmission, response: Response) -> MergeStatus:
        """Record that two names or ids are one person, or revoke that.

        Status 202 until the index agrees; answers follow even before that.
        """
        contributors, request = use_cases.contributors, submission.request()
        act = contributors.revoke if submission.action == "REVOKED" else contributors.merge
        status = await act(request, current_caller.get())
        response.status_code = 200 if status.carried_out else 202
        return status

    @app.get("/v1/contributors")
    async def contributors(page_size: PageSize = 0, page_token: PageToken = "") -> ContributorPage:
        """The contributors and rights holders of the corpus, each person once, in a fixed order."""
        return await use_cases.contributors.people(PageRequest(page_size, page_token))

    @app.get("/v1/contributors/merges")
    async def merges(
        history: History = False, after: After = 0, limit: Limit = MOST_LISTED
    ) -> tuple[MergeAnswer, ...]:
        """The merges in force, oldest first; with `history`, all records ever made."""
        return await use_cases.contributors.listed(
            current_caller.get(), history=history, after=after, limit=limit
        )


def _add_health(app: FastAPI, use_cases: UseCases) -> None:
    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """Status 200 while the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"model": Readiness, "description": "Some service is down."}})
    async def ready(response: Response) -> Readiness:
        """The state of each service; status 200 when attributions can be answered, else 503."""
        readiness = await use_cases.readiness()
        response.status_code = 200 if readiness.ready else 503
        return readiness

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        """The OpenAPI document."""
        return JSONResponse(app.openapi())


def _add_reference(app: FastAPI) -> None:
    # A tenth of a second, for callers who need no key.
    page = cache(lambda: reference_page(app.openapi()))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The reference as a page, without anything from elsewhere."""
        content = await asyncio.to_thread(page)
        return HTMLResponse(content, headers={"Content-Security-Policy": _OWN_STYLE})


def _add_metrics(app: FastAPI, metrics: GatewayMetrics) -> None:
    @app.get("/metrics", response_class=MetricsResponse)
    async def exposition(request: Request) -> Response:
        """Metrics in Prometheus' text format, or in that of OpenMetrics, with exemplars, on request."""
        exposed = metrics.exposition(request.headers.get("accept", ""))
        return Response(exposed.body, media_type=exposed.content_type)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(CreditlineError)
    async def refused(_request: Request, error: CreditlineError) -> JSONResponse:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        located = [{**each, "loc": each["loc"][1:]} for each in error.errors()]
        return problem_response(invalid_input(located))

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        # Nobody receives this answer; its status is counted.
        return Response(status_code=GONE)

    @app.exception_handler(HTTPException)
    async def refused_by_http(request: Request, error: HTTPException) -> Response:
        # FastAPI wraps an error that was raised while it read the body, such as the size limit.
        if isinstance(error.__cause__, CreditlineError):
            return problem_response(error.__cause__)
        if isinstance(error.__cause__, ClientDisconnect):
            return await gone(request, error.__cause__)
        return _plain_response(request, error)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> JSONResponse:
        # The front logs the error, which is raised again after this answer.
        return _plain_response(_request, HTTPException(500, INTERNAL_MESSAGE))


def _plain_response(request: Request, error: HTTPException) -> JSONResponse:
    """The response to an error of HTTP itself."""
    headers, detail = dict(error.headers or {}), error.detail
    if error.status_code == 404:
        detail = f"there is no route {quoted(request.url.path)}; /openapi.json lists all"
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed_methods(request))
        detail = f"this route has no method {quoted(request.method)}; it has {headers['Allow']}"
    body = plain_problem(error.status_code, detail) | {"request_id": current_request_id.get()}
    return JSONResponse(body, status_code=error.status_code, headers=headers, media_type=PROBLEM_TYPE)


def _allowed_methods(request: Request) -> list[str]:
    """The methods of all routes that have the request's path."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE:
            methods.update(route.methods or ())
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)
