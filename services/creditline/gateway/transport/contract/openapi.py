"""The OpenAPI document of the REST API, made true: security, all statuses, and required fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from creditline.api.answers import AttributionAnswer
from creditline.gateway.transport.problems import PROBLEM_TYPE
from creditline.gateway.transport.request_ids import REQUEST_ID
from creditline.gateway.transport.routes import PROTECTED_PREFIX
from creditline.gateway.transport.submissions import FORM, JSON, AttributionSubmission, PrivateSubmission
from creditline.gateway.use_cases.calls.batch import MOST_IN_BATCH

_SCHEME = "apiKey"
_PROBLEM = "Problem"
_ALWAYS = {
    400: "The request is no valid HTTP, or a part of it is invalid, which `field` names.",
    408: "The request did not arrive in time.",
    429: "Too many requests, or beyond the key's quota.",
    431: "The request's head is too large.",
    500: "The gateway failed.",
}
_PROTECTED_STATUSES = {
    401: "No valid API key.",
    403: "The API key has not the scope that the route needs.",
    413: "The request is larger than any may be.",
    503: "A service that the gateway needs does not answer, or is not ready.",
}
_BODY_STATUSES = {
    409: "The request contradicts the stored state.",
    415: "The body has another media type.",
}
_NOT_FOUND = {404: "What the request names does not exist."}
_BOUNDS = {"pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}
_LATE = {504: "The time for the answer passed."}
_ATTRIBUTIONS = "/v1/attributions"
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "A problem (RFC 9457).",
    "properties": {
        "type": {"type": "string", "description": "urn:creditline:error:CLASS, or about:blank."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What was wrong, and what to do."},
        "field": {"type": "string", "description": "The part of the request that was wrong."},
        "service": {"type": "string", "description": "The service that does not answer."},
        "request_id": {"type": "string", "description": "Id of the request, also in the header."},
    },
    "required": ["type", "title", "status", "detail"],
}


@dataclass(frozen=True)
class AttributionResult:
    """What became of one request of a batch: one of the two, the other is null."""

    response: AttributionAnswer | None = None
    """The answer."""
    error: dict[str, Any] | None = None
    """Why there is none."""


@dataclass(frozen=True)
class AttributionBatch:
    """What became of the requests of a batch, in their order."""

    results: tuple[AttributionResult, ...]
    """The results."""


def attribution_body() -> dict[str, Any]:
    """The request body of `POST /v1/attributions`: a form with a file, or JSON with the picture in base64.

    In private mode it is JSON with a vector.
    """
    schema = AttributionSubmission.model_json_schema()
    as_form, as_json = dict(schema), dict(schema)
    described = {"type": "string", "description": schema["properties"]["image"]["description"]}
    # A part of a form is a text: one that is not given is left out, not null.
    properties = {name: _without_null(part) for name, part in schema["properties"].items()}
    as_form["properties"] = {**properties, "image": {**described, "format": "binary"}}
    as_json["properties"] = {
        **schema["properties"],
        "image": {**described, "format": "byte", "contentEncoding": "base64"},
    }
    bodies = {"anyOf": [as_json, _inlined(PrivateSubmission.model_json_schema())]}
    return {"required": True, "content": {FORM: {"schema": as_form}, JSON: {"schema": bodies}}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is left out where it is not given."""
    either = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(either) != 1:
        return schema
    return {**{name: part for name, part in schema.items() if name not in ("anyOf", "default")}, **either[0]}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a submission with the definitions of its fields in their place."""
    definitions = schema.pop("$defs")
    named = {f"#/$defs/{name}": definition for name, definition in definitions.items()}
    properties = {name: named.get(part.get("$ref"), part) for name, part in schema["properties"].items()}
    return {**schema, "properties": properties}


def batch_body() -> dict[str, Any]:
    """The request body of `POST /v1/attributions:batch`.

    A request of the right types that passes a bound has an error of its own, and the others are answered.
    """
    as_json = _without_bounds(attribution_body()["content"][JSON]["schema"])
    schema = {
        "type": "object",
        "properties": {
            "requests": {"type": "array", "items": as_json, "minItems": 1, "maxItems": MOST_IN_BATCH}
        },
        "required": ["requests"],
        "additionalProperties": False,
    }
    return {"required": True, "content": {JSON: {"schema": schema}}}


def _without_bounds(schema: Any) -> Any:
    """The schema of a value of which only the types are stated."""
    if isinstance(schema, list):
        return [_without_bounds(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    is_value = isinstance(schema.get("type"), str)
    kept = {name: part for name, part in schema.items() if not (is_value and name in _BOUNDS)}
    return {name: _without_bounds(part) for name, part in kept.items()}


def accepted(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    """The response of a request that is recorded, and still being carried out in the index."""
    return {202: {"model": model, "description": "Recorded; the index follows."}}


def state_openapi(app: FastAPI) -> None:
    """Let the application serve the completed document at /openapi.json."""
    generate = app.openapi
    document: dict[str, Any] = {}

    def completed() -> dict[str, Any]:
        if not document:
            document.update(_completed(generate()))
        return document

    app.openapi = completed  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        _SCHEME: {"type": "http", "scheme": "bearer", "description": "An API key from the operator."}
    }
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, schema in schemas.items():
        if "properties" in schema and not name.endswith("Submission"):
            # Answers are sent whole, also fields that have a default.
            schema["required"] = list(schema["properties"])
    schemas[_PROBLEM] = _PROBLEM_SCHEMA
    either = [{"$ref": f"#/components/schemas/{_PROBLEM}"}, {"type": "null"}]
    schemas[AttributionResult.__name__]["properties"]["error"] = {"anyOf": either}
    for path, method, operation in _operations(document):
        _complete(operation, path, method)
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _complete(operation: dict[str, Any], path: str, method: str) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    responses = operation["responses"]
    responses.pop("422", None)
    for status, description in _statuses(path, method).items():
        responses.setdefault(str(status), _problem(status, description))
    for response in responses.values():
        response.setdefault("headers", {})[REQUEST_ID] = {
            "description": "Id of the request: the caller's, or a random one.",
            "schema": {"type": "string"},
        }
    if path.startswith(PROTECTED_PREFIX):
        operation["security"] = [{_SCHEME: []}]


def _statuses(path: str, method: str) -> dict[int, str]:
    statuses = dict(_ALWAYS)
    if path.startswith(PROTECTED_PREFIX):
        statuses |= _PROTECTED_STATUSES
        if method == "post":
            statuses |= _BODY_STATUSES
        if method == "post" or "{" in path:
            statuses |= _NOT_FOUND
        if method == "post" and path.startswith(_ATTRIBUTIONS):
            statuses |= _LATE
    return statuses


def _problem(status: int, description: str) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if status in (429, 503):
        headers["Retry-After"] = {
            "description": "Seconds after which the request can be sent again.",
            "schema": {"type": "integer", "minimum": 1},
        }
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    schema = {"$ref": f"#/components/schemas/{_PROBLEM}"}
    return {"description": description, "headers": headers, "content": {PROBLEM_TYPE: {"schema": schema}}}
