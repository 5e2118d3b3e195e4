"""The calls of the gateway's API: each function makes the request of one, and says how its answer is read.

Both clients send these calls, so that neither knows anything about messages.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from PIL import Image

from creditline.api.answers import (
    AnswerForm,
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
from creditline.api.attributions import filter_message, form_message, read_attribution, read_recorded
from creditline.api.audits import read_audit
from creditline.api.contributors import person_message, read_merge, read_merge_status
from creditline.api.error_metadata import read_status
from creditline.api.pages import (
    AttributionSummary,
    Contributor,
    read_attribution_page,
    read_audit_page,
    read_contributor_page,
    read_work_page,
)
from creditline.api.releases import read_release_response
from creditline.api.vectors import QueryVector, vector_message
from creditline.api.withdrawals import read_withdrawal, read_withdrawal_status
from creditline.api.works import read_work
from creditline.errors import CreditlineError, InvalidInput, NotFound
from creditline.v1 import (
    attribution_pb2,
    audit_pb2,
    catalog_pb2,
    contributor_pb2,
    release_pb2,
    withdrawal_pb2,
)

Answer = TypeVar("Answer")
Listed = TypeVar("Listed")
Picture = bytes | Path | Image.Image

WORK = withdrawal_pb2.WITHDRAWAL_KIND_WORK
CONTRIBUTOR = withdrawal_pb2.WITHDRAWAL_KIND_CONTRIBUTOR
CONTRIBUTOR_ID = withdrawal_pb2.WITHDRAWAL_KIND_CONTRIBUTOR_ID
# The largest value of the message's field; the gateway's limit is far lower.
_LARGEST_K = (1 << 32) - 1
# A withdrawal request waits until every collection of the index is changed.
_WITHDRAWAL_SECONDS = 30.0


@dataclass(frozen=True)
class AttributionQuery:
    """A generated picture whose works are asked for."""

    image: Picture
    """The picture: a file's content, its path, or a decoded picture."""
    prompt: str
    """The prompt that the picture was made from."""
    generator: str = ""
    """Fingerprint of the generator that made the picture; empty for the only one that the gateway serves."""
    k: int = 10
    """Number of works to list, 1 to 1,000."""
    release: str = ""
    """Name of the release to answer with; empty for the live one."""
    filter: WorkFilter | None = None
    """Restriction of the listed works; None lists all."""
    private: bool = False
    """Embed the query in this process, and send its vector instead of picture and prompt."""
    request_id: str | None = None
    """Id under which the query is answered and recorded once, however often it is sent; None for a random
    one, empty for none."""
    form: AnswerForm | str = AnswerForm.FAST
    """Form of the answer: FAST, or RERANKED."""


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One call that can be sent."""

    method: str
    """Service and method, such as `Attribution/Attribute`."""
    request: Message
    """The request."""
    response: type[Message]
    """Type of the response."""
    read: Callable[[Any], Answer]
    """Reads the response."""
    seconds: float | None = None
    """Longest duration; None for the client's."""
    repeatable: bool = True
    """Whether sending it twice has the effect of sending it once."""
    hedgeable: bool = True
    """Whether a second one may be sent while the first is being answered."""


@dataclass(frozen=True)
class Stream(Generic[Answer]):
    """A call to which requests are sent as they come, and which answers each as it is ready."""

    method: str
    """Service and method."""
    request: type[Message]
    """Type of the requests."""
    response: type[Message]
    """Type of the responses."""
    read: Callable[[Any], Answer]
    """Reads a response."""
    seconds: float
    """Longest duration of the whole call."""


@dataclass(frozen=True)
class Page(Generic[Listed]):
    """A page of a list."""

    items: Sequence[Listed]
    """The items, in order."""
    following: Call[Page[Listed]] | None
    """The call for the next page; None after the last one."""


def attribute_message(
    query: AttributionQuery, vector: QueryVector | None
) -> attribution_pb2.AttributeRequest:
    """The request of a query.

    Args:
        query: The query.
        vector: Its vector, which is then sent instead of picture and prompt; None sends those.

    Raises:
        InvalidInput: No message can carry `k`, or there is no such form.
    """
    if not 0 <= query.k <= _LARGEST_K:
        raise InvalidInput(f"k is {query.k}; ask for 1 or more works", field="k")
    return attribution_pb2.AttributeRequest(
        image=file_bytes(query.image) if vector is None else b"",
        prompt=query.prompt if vector is None else "",
        generator=query.generator,
        k=query.k,
        release=query.release,
        filter=filter_message(query.filter),
        vector=vector_message(vector),
        request_id=str(uuid.uuid4()) if query.request_id is None else query.request_id,
        form=form_message(_form(query.form)),
    )


def _form(form: AnswerForm | str) -> AnswerForm:
    """The form of a query. Raises InvalidInput for a name that is none."""
    try:
        return AnswerForm(form)
    except ValueError as error:
        names = " or ".join(AnswerForm)
        raise InvalidInput(f"form is {form!r}; ask for {names}", field="form") from error


def attribute(
    request: attribution_pb2.AttributeRequest, seconds: float | None = None
) -> Call[AttributionAnswer]:
    """Attribution of one query."""
    return Call(
        "Attribution/Attribute",
        request,
        attribution_pb2.AttributeResponse,
        read_attribution,
        seconds,
        # Under one id, the answer is recorded once.
        repeatable=bool(request.request_id),
    )


def attribute_batch(
    requests: Sequence[attribution_pb2.AttributeRequest], seconds: float | None = None
) -> Call[list[AttributionAnswer | CreditlineError]]:
    """Attribution of several queries: the answer to each, or its error, in their order."""

    def read(response: attribution_pb2.BatchAttributeResponse) -> list[AttributionAnswer | CreditlineError]:
        return [
            read_status(each.error) if each.HasField("error") else read_attribution(each.response)
            for each in response.results
        ]

    return Call(
        "Attribution/BatchAttribute",
        attribution_pb2.BatchAttributeRequest(requests=requests),
        attribution_pb2.BatchAttributeResponse,
        read,
        seconds,
        repeatable=all(request.request_id for request in requests),
        hedgeable=False,
    )


def attribute_stream(seconds: float) -> Stream[tuple[int, AttributionAnswer | CreditlineError]]:
    """Attribution of queries as they come: to the number of each its answer, or its error."""

    def read(
        response: attribution_pb2.StreamAttributeResponse,
    ) -> tuple[int, AttributionAnswer | CreditlineError]:
        if response.HasField("error"):
            return int(response.id), read_status(response.error)
        return int(response.id), read_attribution(response.response)

    return Stream(
        "Attribution/StreamAttribute",
        attribution_pb2.StreamAttributeRequest,
        attribution_pb2.StreamAttributeResponse,
        read,
        seconds,
    )


def numbered(
    number: int, request: attribution_pb2.AttributeRequest
) -> attribution_pb2.StreamAttributeRequest:
    """A request of `attribute_stream`."""
    return attribution_pb2.StreamAttributeRequest(id=str(number), request=request)


def attributions(page_token: str = "") -> Call[Page[AttributionSummary]]:
    """A page of recorded answers, newest first."""

    def read(response: attribution_pb2.ListAttributionsResponse) -> Page[AttributionSummary]:
        page = read_attribution_page(response)
        return Page(page.attributions, _next(attributions, page.next_page_token))

    request = attribution_pb2.ListAttributionsRequest(page_token=page_token)
    return Call("Attribution/ListAttributions", request, attribution_pb2.ListAttributionsResponse, read)


def audits(page_token: str = "") -> Call[Page[AuditAnswer]]:
    """A page of audits, newest first."""

    def read(response: audit_pb2.ListAuditsResponse) -> Page[AuditAnswer]:
        page = read_audit_page(response)
        return Page(page.audits, _next(audits, page.next_page_token))

    request = audit_pb2.ListAuditsRequest(page_token=page_token)
    return Call("Audits/ListAudits", request, audit_pb2.ListAuditsResponse, read)


def works(page_token: str = "") -> Call[Page[WorkAnswer]]:
    """A page of works by their ids."""

    def read(response: catalog_pb2.ListWorksResponse) -> Page[WorkAnswer]:
        page = read_work_page(response)
        return Page(page.works, _next(works, page.next_page_token))

    request = catalog_pb2.ListWorksRequest(page_token=page_token)
    return Call("Catalog/ListWorks", request, catalog_pb2.ListWorksResponse, read)


def contributors(page_token: str = "") -> Call[Page[Contributor]]:
    """A page of contributors, each person once."""

    def read(response: contributor_pb2.ListContributorsResponse) -> Page[Contributor]:
        page = read_contributor_page(response)
        return Page(page.contributors, _next(contributors, page.next_page_token))

    request = contributor_pb2.ListContributorsRequest(page_token=page_token)
    return Call("Contributors/ListContributors", request, contributor_pb2.ListContributorsResponse, read)


def _next(call: Callable[[str], Call[Page[Listed]]], page_token: str) -> Call[Page[Listed]] | None:
    """The call for the page of a token; None for the empty one, which the last page has."""
    return call(page_token) if page_token else None


def attribution(attribution_id: str) -> Call[RecordedAttribution]:
    """A recorded answer."""
    return _recorded(attribution_id, read_recorded)


def attributed_picture(attribution_id: str) -> Call[bytes]:
    """The picture of a recorded answer; reading it raises NotFound for one of private mode."""

    def read(response: attribution_pb2.GetAttributionResponse) -> bytes:
        if response.attribution.private:
            raise NotFound(
                f"answer {attribution_id} was asked for in private mode: the gateway never had its picture",
                field="id",
            )
        return bytes(response.image)

    return _recorded(attribution_id, read)


def _recorded(attribution_id: str, read: Callable[[Any], Answer]) -> Call[Answer]:
    request = attribution_pb2.GetAttributionRequest(id=attribution_id)
    return Call("Attribution/GetAttribution", request, attribution_pb2.GetAttributionResponse, read)


def work(work_id: str) -> Call[WorkAnswer]:
    """One work."""
    return _work(work_id, lambda response: read_work(response.work))


def thumbnail(work_id: str) -> Call[bytes]:
    """The thumbnail of a work; reading it raises NotFound for a withdrawn one."""

    def read(response: catalog_pb2.GetWorkResponse) -> bytes:
        if response.work.withdrawn:
            raise NotFound(f"work {work_id!r} is withdrawn, and its picture is not shown", field="id")
        return bytes(response.work.thumbnail)

    return _work(work_id, read)


def _work(work_id: str, read: Callable[[Any], Answer]) -> Call[Answer]:
    request = catalog_pb2.GetWorkRequest(id=work_id)
    return Call("Catalog/GetWork", request, catalog_pb2.GetWorkResponse, read)


def withdraw(
    kind: withdrawal_pb2.WithdrawalKind, subject: str, reason: str, requested_by: str, allow_unknown: bool
) -> Call[WithdrawalStatus]:
    """A withdrawal of a work or of a contributor."""
    request = withdrawal_pb2.WithdrawRequest(
        kind=kind, subject=subject, reason=reason, requested_by=requested_by, allow_unknown=allow_unknown
    )
    return _request("Withdrawals/Withdraw", request, withdrawal_pb2.WithdrawResponse, read_withdrawal_status)


def revoke(
    kind: withdrawal_pb2.WithdrawalKind, subject: str, reason: str, requested_by: str
) -> Call[WithdrawalStatus]:
    """The revocation of a withdrawal."""
    request = withdrawal_pb2.RevokeRequest(
        kind=kind, subject=subject, reason=reason, requested_by=requested_by
    )
    return _request("Withdrawals/Revoke", request, withdrawal_pb2.RevokeResponse, read_withdrawal_status)


def merge(
    person: Person, other: Person, reason: str, requested_by: str, allow_unknown: bool
) -> Call[MergeStatus]:
    """The record that two names or ids are one person."""
    request = contributor_pb2.MergeRequest(
        person=person_message(person),
        other=person_message(other),
        reason=reason,
        requested_by=requested_by,
        allow_unknown=allow_unknown,
    )
    return _request("Contributors/Merge", request, contributor_pb2.MergeResponse, read_merge_status)


def revoke_merge(person: Person, other: Person, reason: str, requested_by: str) -> Call[MergeStatus]:
    """The revocation of a merge."""
    request = contributor_pb2.RevokeMergeRequest(
        person=person_message(person),
        other=person_message(other),
        reason=reason,
        requested_by=requested_by,
    )
    return _request(
        "Contributors/RevokeMerge", request, contributor_pb2.RevokeMergeResponse, read_merge_status
    )


def _request(
    method: str, request: Message, response: type[Message], read_status: Callable[[Any], Answer]
) -> Call[Answer]:
    """A request that the ledger keeps; a repeated one changes nothing."""
    return Call(
        method,
        request,
        response,
        lambda answer: read_status(answer.status),
        _WITHDRAWAL_SECONDS,
        hedgeable=False,
    )


def withdrawals(history: bool, after: int = 0) -> Call[Page[WithdrawalAnswer]]:
    """A page of the withdrawals in force, or of all requests, after a position among all of them."""

    def read(response: withdrawal_pb2.ListWithdrawalsResponse) -> Page[WithdrawalAnswer]:
        items = [read_withdrawal(each) for each in response.withdrawals]
        return Page(items, withdrawals(history, items[-1].sequence) if items else None)

    request = withdrawal_pb2.ListWithdrawalsRequest(history=history, after=after)
    return Call("Withdrawals/ListWithdrawals", request, withdrawal_pb2.ListWithdrawalsResponse, read)


def merges(history: bool, after: int = 0) -> Call[Page[MergeAnswer]]:
    """A page of the merges in force, or of all records, after a position among all of them."""

    def read(response: contributor_pb2.ListMergesResponse) -> Page[MergeAnswer]:
        items = [read_merge(each) for each in response.merges]
        return Page(items, merges(history, items[-1].sequence) if items else None)

    request = contributor_pb2.ListMergesRequest(history=history, after=after)
    return Call("Contributors/ListMerges", request, contributor_pb2.ListMergesResponse, read)


def release(name: str) -> Call[ReleaseAnswer]:
    """The live release, or a named one."""
    request = release_pb2.GetReleaseRequest(name=name)
    return Call("Releases/GetRelease", request, release_pb2.GetReleaseResponse, read_release_response)


def submit_audit(attribution_id: str) -> Call[AuditAnswer]:
    """The request of an audit; a repeated one returns the same audit."""
    request = audit_pb2.SubmitAuditRequest(attribution_id=attribution_id)
    return Call(
        "Audits/SubmitAudit",
        request,
        audit_pb2.SubmitAuditResponse,
        lambda response: read_audit(response.audit),
        hedgeable=False,
    )


def audit(audit_id: str) -> Call[AuditAnswer]:
    """The state of an audit."""
    request = audit_pb2.GetAuditRequest(id=audit_id)
    return Call(
        "Audits/GetAudit", request, audit_pb2.GetAuditResponse, lambda response: read_audit(response.audit)
    )


def file_bytes(image: Picture) -> bytes:
    """A picture as the content of a file."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, Path):
        return image.read_bytes()
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
