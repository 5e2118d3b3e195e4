"""`CreditlineClient`: the gateway's gRPC API in Python, synchronous and typed.

Example:
    with CreditlineClient("127.0.0.1:7100") as client:
        answer = client.attribute(picture, prompt="a red ladybug", generator=fingerprint)
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from PIL import Image

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
from creditline.api.attributions import filter_message, read_attribution, read_recorded
from creditline.api.audits import read_audit
from creditline.api.contributors import person_message, read_merge, read_merge_status
from creditline.api.releases import read_release_response
from creditline.api.withdrawals import read_withdrawal, read_withdrawal_status
from creditline.api.works import read_work
from creditline.client.errors import translate_errors
from creditline.errors import DeadlineExceeded, InvalidInput, NotFound
from creditline.retries import RetryPolicy
from creditline.v1 import (
    attribution_pb2,
    audit_pb2,
    catalog_pb2,
    contributor_pb2,
    release_pb2,
    withdrawal_pb2,
)
from creditline.v1.attribution_pb2_grpc import AttributionStub
from creditline.v1.audit_pb2_grpc import AuditsStub
from creditline.v1.catalog_pb2_grpc import CatalogStub
from creditline.v1.contributor_pb2_grpc import ContributorsStub
from creditline.v1.release_pb2_grpc import ReleasesStub
from creditline.v1.withdrawal_pb2_grpc import WithdrawalsStub

_CALL_SECONDS = 10.0
_AUDIT_SECONDS = 900.0
_POLL_SECONDS = 0.5
# The largest value of the message's field; the gateway's limit is far lower.
_LARGEST_K = (1 << 32) - 1
_MOST_MESSAGE_BYTES = 64 << 20
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", _MOST_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
)
# A withdrawal request waits until every collection of the index is changed.
_WITHDRAWAL_SECONDS = 30.0
_FINAL_STATES = ("DONE", "FAILED")
_WORK = withdrawal_pb2.WITHDRAWAL_KIND_WORK
_CONTRIBUTOR = withdrawal_pb2.WITHDRAWAL_KIND_CONTRIBUTOR
_CONTRIBUTOR_ID = withdrawal_pb2.WITHDRAWAL_KIND_CONTRIBUTOR_ID


class CreditlineClient:
    """A connection to the gateway, safe to use from several threads.

    Every call raises the CreditlineError that the gateway raised, with the field that it names; Unavailable
    when the gateway does not answer; DeadlineExceeded when the call's time is over.
    """

    def __init__(
        self, target: str, *, api_key: str | None = None, timeout_seconds: float = _CALL_SECONDS
    ) -> None:
        """
        Args:
            target: Address of the gateway, `host:port`.
            api_key: Key that is sent with every call; None sends none.
            timeout_seconds: Longest duration of a call. Withdrawal requests have 30 seconds.
        """
        self._target = target
        self._timeout = timeout_seconds
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._channel = grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._attribution = AttributionStub(self._channel)
        self._catalog = CatalogStub(self._channel)
        self._audits = AuditsStub(self._channel)
        self._releases = ReleasesStub(self._channel)
        self._withdrawals = WithdrawalsStub(self._channel)
        self._contributors = ContributorsStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def attribute(
        self,
        image: bytes | Path | Image.Image,
        *,
        prompt: str,
        generator: str = "",
        k: int = 10,
        release: str = "",
        filter: WorkFilter | None = None,
        timeout_seconds: float | None = None,
    ) -> AttributionAnswer:
        """The works that a picture owes, how much to each, and their contributors.

        Args:
            image: The picture: a file's content, its path, or a decoded picture.
            prompt: The prompt that the picture was made from.
            generator: Fingerprint of the generator that made the picture, 64 hex digits; empty for the only
                one that the gateway serves.
            k: Number of works to list, 1 to 1,000.
            release: Name of the release to answer with; empty for the live one.
            filter: Restriction of the listed works; None lists all. Shares stay parts of the influence of
                all works.
            timeout_seconds: Longest duration of this call; None for the client's.

        Raises:
            InvalidInput: The picture, the prompt, the fingerprint or `k` cannot be used.
            FingerprintMismatch: The release was made for another generator.
            NotFound: The gateway does not serve the release.
        """
        if not 0 <= k <= _LARGEST_K:
            raise InvalidInput(f"k is {k}; ask for 1 or more works", field="k")
        request = attribution_pb2.AttributeRequest(
            image=_file_bytes(image),
            prompt=prompt,
            generator=generator,
            k=k,
            release=release,
            filter=filter_message(filter),
        )
        with translate_errors(self._target):
            response = self._attribution.Attribute(
                request, timeout=timeout_seconds or self._timeout, metadata=self._metadata
            )
        return read_attribution(response)

    def attribution(self, attribution_id: str) -> RecordedAttribution:
        """A recorded answer, with marks on what has been withdrawn since. Raises NotFound."""
        return read_recorded(self._get_attribution(attribution_id))

    def attributed_picture(self, attribution_id: str) -> bytes:
        """The picture of a recorded answer's query, as a file: WebP or PNG. Raises NotFound."""
        return bytes(self._get_attribution(attribution_id).image)

    def _get_attribution(self, attribution_id: str) -> attribution_pb2.GetAttributionResponse:
        with translate_errors(self._target):
            response: attribution_pb2.GetAttributionResponse = self._attribution.GetAttribution(
                attribution_pb2.GetAttributionRequest(id=attribution_id),
                timeout=self._timeout,
                metadata=self._metadata,
            )
        return response

    def work(self, work_id: str) -> WorkAnswer:
        """One work of the corpus, or one that was added to the release. Raises NotFound."""
        return read_work(self._get_work(work_id))

    def thumbnail(self, work_id: str) -> bytes:
        """The thumbnail of a work, as a WebP file; empty if the gateway has no picture of it.

        Raises:
            NotFound: There is no such work, or it is withdrawn.
        """
        work = self._get_work(work_id)
        if work.withdrawn:
            raise NotFound(f"work {work_id!r} is withdrawn, and its picture is not shown", field="id")
        return bytes(work.thumbnail)

    def _get_work(self, work_id: str) -> catalog_pb2.Work:
        with translate_errors(self._target):
            response: catalog_pb2.GetWorkResponse = self._catalog.GetWork(
                catalog_pb2.GetWorkRequest(id=work_id), timeout=self._timeout, metadata=self._metadata
            )
        return response.work

    def withdraw_work(
        self, work_id: str, *, reason: str = "", requested_by: str = "", allow_unknown: bool = False
    ) -> WithdrawalStatus:
        """Withdraw a work: leave it out of all later answers, of this and of later releases.

        A repeated request changes nothing.

        Args:
            work_id: Id of the work.
            reason: Reason for the withdrawal; it is kept permanently.
            requested_by: The requester; kept permanently.
            allow_unknown: Accept a work that neither the gateway's corpus nor its live build holds.

        Raises:
            NotFound: Neither holds the work, and `allow_unknown` is not set.
        """
        return self._withdraw(_WORK, work_id, reason, requested_by, allow_unknown)

    def withdraw_contributor(
        self, name: str, *, reason: str = "", requested_by: str = "", allow_unknown: bool = False
    ) -> WithdrawalStatus:
        """Withdraw every work that a contributor is a rights holder of; see `withdraw_work`.

        Args:
            name: Name of the contributor.
            reason: Reason for the withdrawal; it is kept permanently.
            requested_by: The requester; kept permanently.
            allow_unknown: Accept a contributor that neither the gateway's corpus nor its live build names.

        Raises:
            NotFound: Neither names the contributor, and `allow_unknown` is not set.
        """
        return self._withdraw(_CONTRIBUTOR, name, reason, requested_by, allow_unknown)

    def withdraw_contributor_id(
        self, contributor_id: str, *, reason: str = "", requested_by: str = "", allow_unknown: bool = False
    ) -> WithdrawalStatus:
        """Withdraw every work of the contributor with an id, under all names; see `withdraw_work`.

        Args:
            contributor_id: ORCID, ISNI, or the account of a platform.
            reason: Reason for the withdrawal; it is kept permanently.
            requested_by: The requester; kept permanently.
            allow_unknown: Accept an id that neither the gateway's corpus nor its live build has.

        Raises:
            NotFound: Neither has the id, and `allow_unknown` is not set.
        """
        return self._withdraw(_CONTRIBUTOR_ID, contributor_id, reason, requested_by, allow_unknown)

    def _withdraw(
        self,
        kind: withdrawal_pb2.WithdrawalKind,
        subject: str,
        reason: str,
        requested_by: str,
        allow_unknown: bool,
    ) -> WithdrawalStatus:
        request = withdrawal_pb2.WithdrawRequest(
            kind=kind, subject=subject, reason=reason, requested_by=requested_by, allow_unknown=allow_unknown
        )
        with translate_errors(self._target):
            response = self._withdrawals.Withdraw(
                request, timeout=_WITHDRAWAL_SECONDS, metadata=self._metadata
            )
        return read_withdrawal_status(response.status)

    def revoke_work(self, work_id: str, *, reason: str = "", requested_by: str = "") -> WithdrawalStatus:
        """Revoke a work's withdrawal.

        Args:
            work_id: Id of the work.
            reason: Reason for the revocation; it is kept permanently.
            requested_by: The requester; kept permanently.

        Raises:
            NotFound: The work was never withdrawn.
        """
        return self._revoke(_WORK, work_id, reason, requested_by)

    def revoke_contributor(self, name: str, *, reason: str = "", requested_by: str = "") -> WithdrawalStatus:
        """Revoke a contributor's withdrawal; works that were withdrawn by id stay withdrawn.

        Args:
            name: Name of the contributor.
            reason: Reason for the revocation; it is kept permanently.
            requested_by: The requester; kept permanently.

        Raises:
            NotFound: The contributor was never withdrawn.
        """
        return self._revoke(_CONTRIBUTOR, name, reason, requested_by)

    def revoke_contributor_id(
        self, contributor_id: str, *, reason: str = "", requested_by: str = ""
    ) -> WithdrawalStatus:
        """Revoke the withdrawal of the contributor with an id; see `revoke_contributor`.

        Args:
            contributor_id: ORCID, ISNI, or the account of a platform.
            reason: Reason for the revocation; it is kept permanently.
            requested_by: The requester; kept permanently.

        Raises:
            NotFound: The contributor was never withdrawn.
        """
        return self._revoke(_CONTRIBUTOR_ID, contributor_id, reason, requested_by)

    def _revoke(
        self, kind: withdrawal_pb2.WithdrawalKind, subject: str, reason: str, requested_by: str
    ) -> WithdrawalStatus:
        request = withdrawal_pb2.RevokeRequest(
            kind=kind, subject=subject, reason=reason, requested_by=requested_by
        )
        with translate_errors(self._target):
            response = self._withdrawals.Revoke(request, timeout=_WITHDRAWAL_SECONDS, metadata=self._metadata)
        return read_withdrawal_status(response.status)

    def withdrawals(self, *, history: bool = False) -> Iterator[WithdrawalAnswer]:
        """The withdrawals in force, or with `history` all requests ever made; oldest first, read in pages."""
        after = 0
        while True:
            request = withdrawal_pb2.ListWithdrawalsRequest(history=history, after=after)
            with translate_errors(self._target):
                page = self._withdrawals.ListWithdrawals(
                    request, timeout=self._timeout, metadata=self._metadata
                ).withdrawals
            if not page:
                return
            yield from (read_withdrawal(each) for each in page)
            after = page[-1].sequence

    def merge_contributors(
        self,
        person: Person,
        other: Person,
        *,
        reason: str = "",
        requested_by: str = "",
        allow_unknown: bool = False,
    ) -> MergeStatus:
        """Record that two names or ids are one person; a repeated request changes nothing.

        Args:
            person: The one under whom the works of both are credited.
            other: The other name or id.
            reason: Reason for the record; it is kept permanently.
            requested_by: The requester; kept permanently.
            allow_unknown: Accept people whom neither the gateway's corpus nor its live build names.

        Raises:
            NotFound: One of them is unknown, and `allow_unknown` is not set.
        """
        request = contributor_pb2.MergeRequest(
            person=person_message(person),
            other=person_message(other),
            reason=reason,
            requested_by=requested_by,
            allow_unknown=allow_unknown,
        )
        with translate_errors(self._target):
            response = self._contributors.Merge(request, timeout=_WITHDRAWAL_SECONDS, metadata=self._metadata)
        return read_merge_status(response.status)

    def revoke_merge(
        self, person: Person, other: Person, *, reason: str = "", requested_by: str = ""
    ) -> MergeStatus:
        """Revoke a merge, in either order of the two; see `merge_contributors`.

        Args:
            person: One of the two.
            other: The other.
            reason: Reason for the revocation; it is kept permanently.
            requested_by: The requester; kept permanently.

        Raises:
            NotFound: The two were never merged with each other.
        """
        request = contributor_pb2.RevokeMergeRequest(
            person=person_message(person),
            other=person_message(other),
            reason=reason,
            requested_by=requested_by,
        )
        with translate_errors(self._target):
            response = self._contributors.RevokeMerge(
                request, timeout=_WITHDRAWAL_SECONDS, metadata=self._metadata
            )
        return read_merge_status(response.status)

    def merges(self, *, history: bool = False) -> Iterator[MergeAnswer]:
        """The merges in force, or with `history` all records ever made; oldest first, read in pages."""
        after = 0
        while True:
            request = contributor_pb2.ListMergesRequest(history=history, after=after)
            with translate_errors(self._target):
                page = self._contributors.ListMerges(
                    request, timeout=self._timeout, metadata=self._metadata
                ).merges
            if not page:
                return
            yield from map(read_merge, page)
            after = page[-1].sequence

    def release(self, name: str = "") -> ReleaseAnswer:
        """The live release, or a named one, with its audited accuracy. Raises NotFound."""
        with translate_errors(self._target):
            response = self._releases.GetRelease(
                release_pb2.GetReleaseRequest(name=name), timeout=self._timeout, metadata=self._metadata
            )
        return read_release_response(response)

    def submit_audit(self, attribution_id: str) -> AuditAnswer:
        """Request an audit of an attribution; a repeated request returns the same audit. Raises NotFound."""
        with translate_errors(self._target):
            response = self._audits.SubmitAudit(
                audit_pb2.SubmitAuditRequest(attribution_id=attribution_id),
                timeout=self._timeout,
                metadata=self._metadata,
            )
        return read_audit(response.audit)

    def audit(self, audit_id: str) -> AuditAnswer:
        """The current state of an audit. Raises NotFound."""
        with translate_errors(self._target):
            response = self._audits.GetAudit(
                audit_pb2.GetAuditRequest(id=audit_id), timeout=self._timeout, metadata=self._metadata
            )
        return read_audit(response.audit)

    def wait_for_audit(
        self, audit_id: str, *, timeout_seconds: float = _AUDIT_SECONDS, poll_seconds: float = _POLL_SECONDS
    ) -> AuditAnswer:
        """Wait until an audit is DONE or FAILED, and return it.

        Args:
            audit_id: Id of the audit.
            timeout_seconds: Longest time to wait.
            poll_seconds: Time between two calls of the gateway.

        Raises:
            DeadlineExceeded: The audit is neither DONE nor FAILED after that time.
            NotFound: There is no such audit.
        """
        for _ in RetryPolicy.polling(poll_seconds, for_seconds=timeout_seconds).attempts():
            audit = self.audit(audit_id)
            if audit.state in _FINAL_STATES:
                return audit
        raise DeadlineExceeded(
            f"audit {audit_id} is still {audit.state} after {timeout_seconds:.3g} s; wait longer, or "
            "check that a teacher runs (`creditline local up` starts one)"
        )


def _file_bytes(image: bytes | Path | Image.Image) -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, Path):
        return image.read_bytes()
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
