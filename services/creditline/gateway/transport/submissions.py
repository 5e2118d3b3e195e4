"""Bodies of requests: their schemas, and the reading of pictures from a form or from JSON."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)
from starlette.datastructures import FormData, UploadFile

from creditline.api.answers import AnswerForm, Person, WorkFilter
from creditline.api.vectors import MOST_VALUES as MOST_VECTOR_VALUES
from creditline.api.vectors import QueryVector
from creditline.corpus.consent.uses import Permission, Use
from creditline.corpus.names import VISIBLE
from creditline.corpus.texts import LONGEST_PROMPT
from creditline.errors import InvalidInput
from creditline.gateway.use_cases.calls.batch import MOST_IN_BATCH
from creditline.gateway.use_cases.calls.repeats import REQUEST_ID
from creditline.gateway.use_cases.contributors import MergeRequest
from creditline.gateway.use_cases.filters import LONGEST_VALUE, MOST_VALUES
from creditline.gateway.use_cases.requests import (
    DEFAULT_K,
    FINGERPRINT,
    LEDGER_ID,
    MOST_WORKS,
    AttributionRequest,
    quoted,
)
from creditline.gateway.use_cases.withdrawals import WithdrawalRequest
from creditline.ledger.requests import (
    MOST_REASON_CHARACTERS,
    MOST_REQUESTER_CHARACTERS,
    MOST_SUBJECT_CHARACTERS,
)

FORM = "multipart/form-data"
JSON = "application/json"
_LONGEST_PART_BYTES = 64 << 10
# One more than there may be, so that the error can name the part that is too much.
_MOST_FILES = 2
_REPEATED = ("contributor", "contributor_id", "licence", "consent")
_IMAGE = "image"


def stated(**schema: Any) -> Any:
    """A field whose bounds the contract states, and the use case checks, with a better message."""
    return Field(json_schema_extra=schema)


# Text that the ledger can store, and text of which something can be seen.
_STORABLE = "^[^\\u0000]*$"
_LEGIBLE = f"^[^\\u0000]*{VISIBLE}[^\\u0000]*$"
_TERM = f"^({'|'.join(Use)})=({'|'.join(Permission)})$"
_Prompt = Annotated[str, stated(minLength=1, maxLength=LONGEST_PROMPT, pattern=_LEGIBLE)]
_Reason = Annotated[str, stated(maxLength=MOST_REASON_CHARACTERS, pattern=_STORABLE)]
_Requester = Annotated[str, stated(maxLength=MOST_REQUESTER_CHARACTERS, pattern=_STORABLE)]
_Subject = Annotated[str, stated(minLength=1, maxLength=MOST_SUBJECT_CHARACTERS, pattern=_LEGIBLE)]
_Values = Annotated[
    list[Annotated[str, stated(minLength=1, maxLength=LONGEST_VALUE, pattern=VISIBLE)]],
    stated(maxItems=MOST_VALUES),
]
_Terms = Annotated[list[Annotated[str, stated(pattern=_TERM)]], stated(maxItems=MOST_VALUES)]


def _whole(value: Any) -> Any:
    """A whole number as JSON may write it: 3.0 is an integer there too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Submission(BaseModel):
    """A body in JSON: unknown fields are refused, and no value is converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _AttributionOptions(_Submission):
    """What both bodies of `POST /v1/attributions` may say beside the query."""

    generator: Annotated[str, stated(pattern=f"^({FINGERPRINT})?$")] = Field(
        "",
        description="Fingerprint of the generator that made the picture; empty for the only one served.",
    )
    k: Annotated[int, BeforeValidator(_whole), stated(minimum=1, maximum=MOST_WORKS)] = Field(
        DEFAULT_K, description="Number of works to list."
    )
    release: str = Field("", description="Release to answer with; empty for the live one.")
    contributor: _Values = Field([], description="List only works of these contributors, by name.")
    contributor_id: _Values = Field([], description="List only works of these contributors, by id.")
    licence: _Values = Field([], description="List only works under these licences.")
    created_since: datetime | None = Field(None, description="List only works created at this time or later.")
    created_until: datetime | None = Field(None, description="List only works created before this time.")
    consent: _Terms = Field(
        [], description="List only works of which this holds, such as generative_training=prohibited."
    )
    request_id: Annotated[str, stated(pattern=f"^({REQUEST_ID})?$")] = Field(
        "",
        description="Makes the request safe to repeat: for 24 hours, the same request under the same id gets"
        " the first answer, and another one 409. Preferably a UUID4; empty for none.",
    )
    form: Literal["FAST", "RERANKED"] = Field(
        "FAST",
        description="FAST, or RERANKED: the nearest works are ordered by a gradient of the generator. Not in"
        " private mode.",
    )

    def asked(self, query: AttributionRequest) -> AttributionRequest:
        """The request that the use case accepts, for a query without options."""
        works = WorkFilter(
            tuple(self.contributor),
            tuple(self.contributor_id),
            tuple(self.licence),
            self.created_since,
            self.created_until,
            tuple(self.consent),
        )
        return replace(
            query,
            generator=self.generator,
            k=self.k,
            release=self.release,
            filter=works if works.narrows else None,
            request_id=self.request_id,
            form=AnswerForm(self.form),
        )


class AttributionSubmission(_AttributionOptions):
    """The body of `POST /v1/attributions`."""

    image: Annotated[bytes, Field(description="The picture: PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF.")]
    prompt: _Prompt = Field(description="The prompt that the picture was made from.")

    def request(self) -> AttributionRequest:
        """The request that the use case accepts."""
        return self.asked(AttributionRequest(self.image, self.prompt, ""))


class VectorSubmission(_Submission):
    """A query that its caller embedded with the release's own towers and encoder."""

    values: Annotated[list[float], Field(max_length=MOST_VECTOR_VALUES)] = Field(
        description="As many finite values as the release's vectors have; their length is 1, within 0.001."
    )
    release: str = Field(description="Name of the release whose encoder made it.")
    encoder: Annotated[str, stated(pattern=f"^{FINGERPRINT}$")] = Field(
        description="Fingerprint of that release's towers and encoder."
    )


class PrivateSubmission(_AttributionOptions):
    """The body of `POST /v1/attributions` in private mode: a vector instead of picture and prompt."""

    vector: VectorSubmission

    def request(self) -> AttributionRequest:
        """The request that the use case accepts."""
        given = QueryVector(tuple(self.vector.values), self.vector.release, self.vector.encoder)
        return self.asked(AttributionRequest(b"", "", "", vector=given))


class AuditSubmission(_Submission):
    """The body of `POST /v1/audits`."""

    attribution_id: Annotated[str, stated(pattern=f"^{LEDGER_ID}$")]
    """Id of the attribution to audit."""


class WithdrawalSubmission(_Submission):
    """The body of `POST /v1/withdrawals`. Reason and requester are kept permanently: no personal data."""

    kind: Annotated[str, stated(enum=["WORK", "CONTRIBUTOR", "CONTRIBUTOR_ID"])]
    """WORK, CONTRIBUTOR or CONTRIBUTOR_ID."""
    subject: _Subject
    """Id of the work, or name or id of the contributor."""
    action: Literal["WITHDRAWN", "REVOKED"] = "WITHDRAWN"
    """WITHDRAWN to withdraw the subject, REVOKED to revoke its withdrawal."""
    reason: _Reason = ""
    """Reason for the request."""
    requested_by: _Requester = ""
    """The requester."""
    allow_unknown: bool = False
    """Accept a subject that neither the corpus nor the live build holds."""

    def request(self) -> WithdrawalRequest:
        """The request that the use case accepts."""
        return WithdrawalRequest(self.kind, self.subject, self.reason, self.requested_by, self.allow_unknown)


def _one_of_two(schema: dict[str, Any]) -> None:
    """Let one property be given; the other may be there, but empty."""
    given = schema.pop("properties")
    for part in given.values():
        part.pop("default")
    empty = {"type": "string", "maxLength": 0}
    schema.pop("additionalProperties")
    schema["oneOf"] = [
        {
            "properties": {other: part if other == name else empty for other, part in given.items()},
            "required": [name],
            "additionalProperties": False,
        }
        for name in given
    ]


class PersonSubmission(_Submission):
    """A person by name or by id: one of the two."""

    model_config = ConfigDict(json_schema_extra=_one_of_two)
    name: _Subject = ""
    """Name of the person."""
    id: _Subject = ""
    """Id of the person (ORCID, ISNI, account)."""

    def person(self) -> Person:
        """The person that the use case accepts."""
        return Person(name=self.name, id=self.id)


class MergeSubmission(_Submission):
    """The body of `POST /v1/contributors/merges`. Reason and requester are kept permanently."""

    person: PersonSubmission
    """The one under whom the works of both are credited: `{"name": …}` or `{"id": …}`."""
    other: PersonSubmission
    """The other name or id."""
    action: Literal["MERGED", "REVOKED"] = "MERGED"
    """MERGED to merge the two, REVOKED to revoke their merge."""
    reason: _Reason = ""
    """Reason for the request."""
    requested_by: _Requester = ""
    """The requester."""
    allow_unknown: bool = False
    """Accept people whom neither the corpus nor the live build names."""

    def request(self) -> MergeRequest:
        """The request that the use case accepts."""
        return MergeRequest(
            self.person.person(), self.other.person(), self.reason, self.requested_by, self.allow_unknown
        )


def _decoded(image: Any) -> Any:
    if not isinstance(image, str):
        raise ValueError("not a text; send the file's bytes in base64")
    try:
        return b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not valid base64; send the file's bytes in base64") from None


class _JsonAttribution(AttributionSubmission):
    """The body in JSON, with the picture in base64: the usual alphabet, not the URL's as in pydantic."""

    image: Annotated[bytes, BeforeValidator(_decoded)]


def _kind_of_body(body: Any) -> str:
    return _PRIVATE if isinstance(body, dict) and "vector" in body else _PICTURE


_PICTURE, _PRIVATE = "picture", "private"
_JsonBody = Annotated[
    Annotated[_JsonAttribution, Tag(_PICTURE)] | Annotated[PrivateSubmission, Tag(_PRIVATE)],
    Discriminator(_kind_of_body),
]
_JSON_BODY: TypeAdapter[_JsonAttribution | PrivateSubmission] = TypeAdapter(_JsonBody)


class BatchSubmission(_Submission):
    """The body of `POST /v1/attributions:batch`."""

    requests: Annotated[list[_JsonBody], stated(minItems=1, maxItems=MOST_IN_BATCH)]
    """The requests, each as the body of `POST /v1/attributions` in JSON."""


async def read_batch(request: Request) -> list[AttributionRequest]:
    """The requests in the body of `POST /v1/attributions:batch`. Raises InvalidInput."""
    try:
        submission = BatchSubmission.model_validate_json(await request.body())
    except ValidationError as error:
        raise invalid_input(error.errors(include_url=False)) from error
    return [each.request() for each in submission.requests]


async def read_attribution(request: Request, idempotency_key: str | None = None) -> AttributionRequest:
    """The request in the body of `POST /v1/attributions`, whose media type is one of `FORM` and `JSON`.

    Args:
        request: The request.
        idempotency_key: Its header `Idempotency-Key`, another place for `request_id`; None: it has none.

    Raises:
        InvalidInput: A field is missing, unknown, sent more often than once or of the wrong type.
    """
    asked = (await _submitted(request)).request()
    return asked if idempotency_key is None else replace(asked, request_id=_one_id(asked, idempotency_key))


async def _submitted(request: Request) -> AttributionSubmission | PrivateSubmission:
    is_json = media_type(request) == JSON
    try:
        if is_json:
            return _JSON_BODY.validate_json(await request.body())
        async with request.form(max_files=_MOST_FILES, max_part_size=_LONGEST_PART_BYTES) as form:
            return AttributionSubmission.model_validate(await _form_values(form), strict=False)
    except ValidationError as error:
        # In JSON, the place of an error begins with the kind of body.
        located = [{**each, "loc": each["loc"][is_json:]} for each in error.errors(include_url=False)]
        raise invalid_input(located) from error


def _one_id(asked: AttributionRequest, header: str) -> str:
    """The id of a request: its field goes before the header, which may be quoted as in RFC 9651."""
    if not header:
        raise InvalidInput(
            "Idempotency-Key is empty; send a UUID4, or no such header", field="Idempotency-Key"
        )
    in_quotes = re.fullmatch(f'"({REQUEST_ID})"', header)
    return asked.request_id or (in_quotes[1] if in_quotes else header)


def media_type(request: Request) -> str:
    """Media type of a request's body, in lower case and without parameters; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _form_values(form: FormData) -> dict[str, Any]:
    """The form's fields by name. Raises InvalidInput for one that is sent twice or in the wrong way."""
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) != (name == _IMAGE):
            kind = "a file: send a file part" if name == _IMAGE else "a text: send it without a file name"
            raise InvalidInput(f"{quoted(name)} must be {kind}", field=name)
        if name in _REPEATED:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InvalidInput(f"{quoted(name)} is sent more than once; send it once", field=name)
        else:
            values[name] = await value.read() if isinstance(value, UploadFile) else value
    return values


def invalid_input(errors: Sequence[Mapping[str, Any]]) -> InvalidInput:
    """The error for the first invalid field of a request.

    Args:
        errors: The errors as pydantic lists them.
    """
    first = errors[0]
    names = [str(part) for part in first["loc"] if isinstance(part, str)]
    field = names[-1] if names else "body"
    value = first.get("input")
    given = f" is {quoted(value)}" if isinstance(value, str) and field != _IMAGE else ""
    reason = first["msg"].removeprefix("Value error, ")
    return InvalidInput(f"{field}{given}: {reason}; see /openapi.json for what is expected", field=field)
