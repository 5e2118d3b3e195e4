"""Pages of lists, and their conversion to and from protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from creditline.api.answers import AuditAnswer, WorkAnswer
from creditline.api.audits import audit_message, read_audit
from creditline.api.presence import present_moment
from creditline.api.timestamps import read_timestamp, timestamp_message
from creditline.api.works import read_work, work_message
from creditline.v1 import attribution_pb2, audit_pb2, catalog_pb2, contributor_pb2


@dataclass(frozen=True)
class AttributionSummary:
    """A recorded answer without its works."""

    id: str
    """Id of the answer."""
    created: datetime
    """Time at which it was recorded."""
    release: str
    """Name of the release that answered."""
    generator: str
    """Fingerprint of the generator that made the picture."""
    prompt: str
    """Prompt of the query."""
    k: int
    """Number of works that were asked for."""
    undelivered: bool = False
    """Whether its caller left before the answer was sent, and no repeat of the request has got it since."""


@dataclass(frozen=True)
class AttributionPage:
    """A page of recorded answers, newest first."""

    attributions: tuple[AttributionSummary, ...]
    """The answers."""
    next_page_token: str
    """For the next page; empty on the last one."""


@dataclass(frozen=True)
class AuditPage:
    """A page of audits, newest first; their verdicts lack the scored works."""

    audits: tuple[AuditAnswer, ...]
    """The audits."""
    next_page_token: str
    """For the next page; empty on the last one."""


@dataclass(frozen=True)
class WorkPage:
    """A page of works by their ids."""

    works: tuple[WorkAnswer, ...]
    """The works."""
    next_page_token: str
    """For the next page; empty on the last one. A page that is not the last may have few works, or none."""


@dataclass(frozen=True)
class Contributor:
    """A person who has a part of the credit of works of the corpus."""

    name: str
    """The name under which they are credited."""
    contributor_id: str
    """Id of the person (ORCID, ISNI, account); empty where the corpus has none."""
    works: int
    """Number of works of the corpus of whose credit they have a part, withdrawn ones included."""
    withdrawn: bool = False
    """Whether the contributor is withdrawn now."""
    withdrawn_since: datetime | None = None
    """Start of the withdrawal; None when the contributor is not withdrawn."""


@dataclass(frozen=True)
class ContributorPage:
    """A page of contributors, each person once, in a fixed order."""

    contributors: tuple[Contributor, ...]
    """The contributors."""
    next_page_token: str
    """For the next page; empty on the last one."""


def attribution_page_message(page: AttributionPage) -> attribution_pb2.ListAttributionsResponse:
    """Convert a page of answers to `creditline.v1.ListAttributionsResponse`."""
    return attribution_pb2.ListAttributionsResponse(
        attributions=[
            attribution_pb2.AttributionSummary(**{**vars(each), "created": timestamp_message(each.created)})
            for each in page.attributions
        ],
        next_page_token=page.next_page_token,
    )


def read_attribution_page(message: attribution_pb2.ListAttributionsResponse) -> AttributionPage:
    """Convert `creditline.v1.ListAttributionsResponse` to a page of answers."""
    read = (
        AttributionSummary(
            each.id,
            read_timestamp(each.created),
            each.release,
            each.generator,
            each.prompt,
            each.k,
            each.undelivered,
        )
        for each in message.attributions
    )
    return AttributionPage(tuple(read), message.next_page_token)


def audit_page_message(page: AuditPage) -> audit_pb2.ListAuditsResponse:
    """Convert a page of audits to `creditline.v1.ListAuditsResponse`."""
    return audit_pb2.ListAuditsResponse(
        audits=[audit_message(audit) for audit in page.audits], next_page_token=page.next_page_token
    )


def read_audit_page(message: audit_pb2.ListAuditsResponse) -> AuditPage:
    """Convert `creditline.v1.ListAuditsResponse` to a page of audits."""
    return AuditPage(tuple(map(read_audit, message.audits)), message.next_page_token)


def work_page_message(page: WorkPage) -> catalog_pb2.ListWorksResponse:
    """Convert a page of works to `creditline.v1.ListWorksResponse`, without thumbnails."""
    return catalog_pb2.ListWorksResponse(
        works=[work_message(work, b"") for work in page.works], next_page_token=page.next_page_token
    )


def read_work_page(message: catalog_pb2.ListWorksResponse) -> WorkPage:
    """Convert `creditline.v1.ListWorksResponse` to a page of works."""
    return WorkPage(tuple(map(read_work, message.works)), message.next_page_token)


def contributor_page_message(page: ContributorPage) -> contributor_pb2.ListContributorsResponse:
    """Convert a page of contributors to `creditline.v1.ListContributorsResponse`."""
    return contributor_pb2.ListContributorsResponse(
        contributors=[
            contributor_pb2.Contributor(
                **{**vars(each), "withdrawn_since": timestamp_message(each.withdrawn_since)}
            )
            for each in page.contributors
        ],
        next_page_token=page.next_page_token,
    )


def read_contributor_page(message: contributor_pb2.ListContributorsResponse) -> ContributorPage:
    """Convert `creditline.v1.ListContributorsResponse` to a page of contributors."""
    read = (
        Contributor(
            each.name,
            each.contributor_id,
            each.works,
            each.withdrawn,
            present_moment(each, "withdrawn_since"),
        )
        for each in message.contributors
    )
    return ContributorPage(tuple(read), message.next_page_token)
