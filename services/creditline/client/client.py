"""`CreditlineClient`: the gateway's gRPC API in Python, blocking and typed.

Example:
    with CreditlineClient("127.0.0.1:7100") as client:
        answer = client.attribute(picture, prompt="a red ladybug", generator=fingerprint)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

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
from creditline.api.pages import AttributionSummary, Contributor
from creditline.client import calls
from creditline.client.audits import AUDIT_SECONDS, FINAL_STATES, POLL_SECONDS, audit_is_late
from creditline.client.blocking import BlockingGateway
from creditline.client.calls import CONTRIBUTOR, CONTRIBUTOR_ID, WORK, AttributionQuery, Picture
from creditline.client.options import RETRIES, STREAM_SECONDS, CallOptions
from creditline.client.private import EmbedsQueries, PrivateMode
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import CreditlineError
from creditline.retries import RetryPolicy


class CreditlineClient:
    """A connection to the gateway, safe to use from several threads.

    Every call has a deadline, and is repeated within it where that is safe and its failure may pass
    (`options.CallOptions`). It raises the CreditlineError that the gateway raised, with the field that it
    names; Unavailable when the gateway does not answer; DeadlineExceeded when the call's time is over.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        tls: TlsFiles | None = None,
        timeout_seconds: float = 10.0,
        retries: RetryPolicy = RETRIES,
        hedge_after_seconds: float | None = None,
        keepalive_seconds: float = 30.0,
        encoder: EmbedsQueries | Path | None = None,
    ) -> None:
        """
        Args:
            target: Address of the gateway, `host:port`.
            api_key: Key that is sent with every call; None sends none.
            tls: Authorities of the gateway's certificate, and the client's own certificate where the gateway
                requires one; `TlsFiles()` trusts public authorities. None: no TLS.
            timeout_seconds: Longest duration of a call with all its retries. Withdrawal requests have 30
                seconds.
            retries: Number of attempts, and the delays between them; `options.NO_RETRIES` sends calls once.
            hedge_after_seconds: Time without an answer after which a call is sent a second time; None: never.
            keepalive_seconds: Interval, at least 10 seconds, at which the connection is checked while a call
                waits.
            encoder: What embeds queries in private mode: a directory, that of the release that the gateway
                serves; or a `creditline.encoder.queries.QueryEncoder`, which several clients can share. None:
                the release of CREDITLINE_RELEASE_DIRECTORY, by default the one in the package.

        Raises:
            InvalidInput: A time is out of range, the key cannot be sent, or a file of TLS holds something
                else.
            NotReady: A file of TLS cannot be read, or its certificate is not valid now.
        """
        options = CallOptions(timeout_seconds, retries, hedge_after_seconds, keepalive_seconds)
        self._gateway = BlockingGateway(target, options, api_key, tls)
        self._private = PrivateMode(encoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._gateway.close()

    def attribute(
        self,
        image: Picture,
        *,
        prompt: str,
        generator: str = "",
        k: int = 10,
        release: str = "",
        filter: WorkFilter | None = None,
        private: bool = False,
        request_id: str | None = None,
        form: AnswerForm | str = AnswerForm.FAST,
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
            private: Embed the query in this process, and send its vector instead of picture and prompt. It
                needs `pip install creditline[encoder]`. The first query waits for the encoder; the first one
                on a machine also until the towers are compiled, about a minute. The answer is marked, never
                audited, and counts in no statement.
            request_id: Id under which the request is answered and recorded once, however often it is sent: 1
                to 128 visible ASCII characters; None for a random one. With an empty one the call is not
                repeated when it fails.
            form: FAST, or RERANKED: the nearest works are ordered by a gradient of the generator, which takes
                longer. The release needs gradient rows; private queries cannot be re-ranked.
            timeout_seconds: Longest duration of this call, without the embedding; None for the client's.

        Raises:
            InvalidInput: The picture, the prompt, the fingerprint or `k` cannot be used.
            FingerprintMismatch: The release was made for another generator, or the query was embedded with
                another release.
            NotFound: The gateway does not serve the release.
            Conflict: The id was used for another request.
            FailedPrecondition: The release has no gradient rows, which a re-ranked answer needs.
            NotReady: What private mode, or a re-ranked answer, needs is missing.
        """
        query = AttributionQuery(image, prompt, generator, k, release, filter, private, request_id, form)
        return self._gateway.call(calls.attribute(self._private.message(query), timeout_seconds))

    def attribute_batch(
        self, queries: Sequence[AttributionQuery], *, timeout_seconds: float | None = None
    ) -> list[AttributionAnswer | CreditlineError]:
        """The answers to several queries, in their order; in place of an answer the error of its query.

        Args:
            queries: 1 to 32 queries, whose pictures have at most 21 MB together.
            timeout_seconds: Longest duration of the call; None for the client's.

        Raises:
            InvalidInput: There are too few or too many queries, or the `k` of one fits in no message.
        """
        requests = [self._private.message(query) for query in queries]
        return self._gateway.call(calls.attribute_batch(requests, timeout_seconds))

    def attribute_stream(
        self, queries: Iterable[AttributionQuery], *, timeout_seconds: float = STREAM_SECONDS
    ) -> Iterator[tuple[int, AttributionAnswer | CreditlineError]]:
        """The answers to queries that are sent as they come, each as it is ready: in any order.

        The gateway takes only few more than it has answered, so that `queries` may be endless. Nothing is
        sent again; in place of an answer comes the error of its query, and the call goes on.

        Args:
            queries: The queries; a thread of the connection takes them.
            timeout_seconds: Longest duration of the whole call.

        Yields:
            The number of a query, from 0, and its answer.

        Raises:
            CreditlineError: The call ended; or the error with which `queries` ended.
        """
        requests = (
            calls.numbered(number, self._private.message(query)) for number, query in enumerate(queries)
        )
        return self._gateway.streamed(calls.attribute_stream(timeout_seconds), requests)

    def attributions(self) -> Iterator[AttributionSummary]:
        """The recorded answers of the key's owner, newest first, read in pages.

        With an admin's key they are those of all owners.
        """
        return self._gateway.listed(calls.attributions())

    def attribution(self, attribution_id: str) -> RecordedAttribution:
        """A recorded answer, with marks on what has been withdrawn since. Raises NotFound."""
        return self._gateway.call(calls.attribution(attribution_id))

    def attributed_picture(self, attribution_id: str) -> bytes:
        """The picture of a recorded answer's query, as a file: WebP or PNG.

        Raises:
            NotFound: There is no such answer, or it was asked for in private mode.
        """
        return self._gateway.call(calls.attributed_picture(attribution_id))

    def work(self, work_id: str) -> WorkAnswer:
        """One work of the corpus, or one that was added to the release. Raises NotFound."""
        return self._gateway.call(calls.work(work_id))

    def works(self) -> Iterator[WorkAnswer]:
        """The works of the corpus by their ids, then those added to the live build; read in pages."""
        return self._gateway.listed(calls.works())

    def thumbnail(self, work_id: str) -> bytes:
        """The thumbnail of a work, as a WebP file; empty if the gateway has no picture of it.

        Raises:
            NotFound: There is no such work, or it is withdrawn.
        """
        return self._gateway.call(calls.thumbnail(work_id))

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
        return self._gateway.call(calls.withdraw(WORK, work_id, reason, requested_by, allow_unknown))

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
        return self._gateway.call(calls.withdraw(CONTRIBUTOR, name, reason, requested_by, allow_unknown))

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
        return self._gateway.call(
            calls.withdraw(CONTRIBUTOR_ID, contributor_id, reason, requested_by, allow_unknown)
        )

    def revoke_work(self, work_id: str, *, reason: str = "", requested_by: str = "") -> WithdrawalStatus:
        """Revoke a work's withdrawal.

        Args:
            work_id: Id of the work.
            reason: Reason for the revocation; it is kept permanently.
            requested_by: The requester; kept permanently.

        Raises:
            NotFound: The work was never withdrawn.
        """
        return self._gateway.call(calls.revoke(WORK, work_id, reason, requested_by))

    def revoke_contributor(self, name: str, *, reason: str = "", requested_by: str = "") -> WithdrawalStatus:
        """Revoke a contributor's withdrawal; works that were withdrawn by id stay withdrawn.

        Args:
            name: Name of the contributor.
            reason: Reason for the revocation; it is kept permanently.
            requested_by: The requester; kept permanently.

        Raises:
            NotFound: The contributor was never withdrawn.
        """
        return self._gateway.call(calls.revoke(CONTRIBUTOR, name, reason, requested_by))

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
        return self._gateway.call(calls.revoke(CONTRIBUTOR_ID, contributor_id, reason, requested_by))

    def withdrawals(self, *, history: bool = False) -> Iterator[WithdrawalAnswer]:
        """The withdrawals in force, or with `history` all requests ever made; oldest first, read in pages."""
        return self._gateway.listed(calls.withdrawals(history))

    def contributors(self) -> Iterator[Contributor]:
        """The contributors and rights holders of the corpus, each person once, read in pages."""
        return self._gateway.listed(calls.contributors())

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
        return self._gateway.call(calls.merge(person, other, reason, requested_by, allow_unknown))

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
        return self._gateway.call(calls.revoke_merge(person, other, reason, requested_by))

    def merges(self, *, history: bool = False) -> Iterator[MergeAnswer]:
        """The merges in force, or with `history` all records ever made; oldest first, read in pages."""
        return self._gateway.listed(calls.merges(history))

    def release(self, name: str = "") -> ReleaseAnswer:
        """The live release, or a named one, with its audited accuracy. Raises NotFound."""
        return self._gateway.call(calls.release(name))

    def submit_audit(self, attribution_id: str) -> AuditAnswer:
        """Request an audit of an attribution; a repeated request returns the same audit. Raises NotFound."""
        return self._gateway.call(calls.submit_audit(attribution_id))

    def audit(self, audit_id: str) -> AuditAnswer:
        """The current state of an audit. Raises NotFound."""
        return self._gateway.call(calls.audit(audit_id))

    def audits(self) -> Iterator[AuditAnswer]:
        """The audits of answers of the key's owner, newest first, read in pages; of all owners for an admin.

        Their verdicts lack the scored works, which `audit` reads.
        """
        return self._gateway.listed(calls.audits())

    def wait_for_audit(
        self, audit_id: str, *, timeout_seconds: float = AUDIT_SECONDS, poll_seconds: float = POLL_SECONDS
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
            if audit.state in FINAL_STATES:
                return audit
        raise audit_is_late(audit, timeout_seconds)
