"""The gateway's messages as frozen dataclasses of `creditline.api.answers`."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from creditline.api import answers
from creditline.v1 import attribution_pb2, audit_pb2, catalog_pb2, release_pb2, withdrawal_pb2


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def read_release(message: release_pb2.Release) -> answers.ReleaseSummary:
    """A release's names and fingerprints."""
    return answers.ReleaseSummary(
        name=message.name,
        created=_moment(message.created),
        generator_fingerprint=message.generator_fingerprint,
        corpus_fingerprint=message.corpus_fingerprint,
        towers_fingerprint=message.towers_fingerprint,
        width=message.width,
        works=message.works,
        collection=message.collection,
    )


def read_accuracy(message: release_pb2.AuditedAccuracy) -> answers.AuditedAccuracy:
    """Audited accuracy; what is absent is None."""
    means = ("recall", "recall_low", "recall_high", "missed_influence")
    present = {name: _present(message, name) for name in means}
    return answers.AuditedAccuracy(audits=message.audits, **present)


def read_release_response(message: release_pb2.GetReleaseResponse) -> answers.ReleaseAnswer:
    """A release with its accuracy."""
    return answers.ReleaseAnswer(read_release(message.release), read_accuracy(message.accuracy))


def read_attribution(message: attribution_pb2.AttributeResponse) -> answers.AttributionAnswer:
    """A whole answer."""
    timings = message.timings
    return answers.AttributionAnswer(
        attribution_id=message.attribution_id,
        works=tuple(_credited_work(work) for work in message.works),
        contributors=tuple(_contributor(each) for each in message.contributors),
        remainder=message.remainder,
        release=read_release(message.release),
        timings=answers.Timings(
            total_ms=timings.total_ms,
            check_ms=timings.check_ms,
            embed_ms=timings.embed_ms,
            search_ms=timings.search_ms,
            share_ms=timings.share_ms,
            record_ms=timings.record_ms,
        ),
        accuracy=read_accuracy(message.accuracy),
        concentration=message.concentration,
        corpus_works=message.corpus_works,
        equal_parts=_present(message, "equal_parts"),
        remainder_low=_present(message, "remainder_low"),
        remainder_high=_present(message, "remainder_high"),
        level=_present(message, "level"),
        unfamiliarity=_present(message, "unfamiliarity"),
    )


def read_recorded(message: attribution_pb2.GetAttributionResponse) -> answers.RecordedAttribution:
    """An answer from the past, without its picture."""
    return answers.RecordedAttribution(
        answer=read_attribution(message.attribution),
        created=_moment(message.created),
        prompt=message.prompt,
        generator=message.generator,
        audit=read_audit(message.audit) if message.HasField("audit") else None,
    )


def _present(message: Message, field: str) -> float | None:
    """A number that may be absent."""
    return getattr(message, field) if message.HasField(field) else None


def _contributor(message: attribution_pb2.CreditedContributor) -> answers.CreditedContributor:
    return answers.CreditedContributor(
        name=message.name,
        share=message.share,
        works=message.works,
        share_low=_present(message, "share_low"),
        share_high=_present(message, "share_high"),
        listed_share=message.listed_share,
        withdrawn=message.withdrawn,
        withdrawn_since=_since(message),
    )


def _credited_work(message: attribution_pb2.CreditedWork) -> answers.CreditedWork:
    return answers.CreditedWork(
        id=message.id,
        title=message.title,
        caption=message.caption,
        contributor=message.contributor,
        licence=message.licence,
        score=message.score,
        expected_influence=message.expected_influence,
        share=message.share,
        rank=message.rank,
        copies=tuple(message.copies),
        share_low=_present(message, "share_low"),
        share_high=_present(message, "share_high"),
        withdrawn=message.withdrawn,
        withdrawn_since=_since(message),
        withdrawn_copies=tuple(message.withdrawn_copies),
    )


def _since(
    message: attribution_pb2.CreditedWork | attribution_pb2.CreditedContributor | catalog_pb2.Work,
) -> datetime | None:
    return _moment(message.withdrawn_since) if message.HasField("withdrawn_since") else None


def read_work(message: catalog_pb2.Work) -> answers.WorkAnswer:
    """A work, without its thumbnail."""
    return answers.WorkAnswer(
        id=message.id,
        title=message.title,
        caption=message.caption,
        keywords=tuple(message.keywords),
        contributor=message.contributor,
        licence=message.licence,
        source=message.source,
        duplicate_group=message.duplicate_group,
        withdrawn=message.withdrawn,
        withdrawn_since=_since(message),
    )


def read_withdrawal(message: withdrawal_pb2.Withdrawal) -> answers.WithdrawalAnswer:
    """One wish about one subject."""
    return answers.WithdrawalAnswer(
        sequence=message.sequence,
        id=message.id,
        created=_moment(message.created),
        kind=withdrawal_pb2.WithdrawalKind.Name(message.kind).removeprefix("WITHDRAWAL_KIND_"),
        subject=message.subject,
        action=withdrawal_pb2.WithdrawalAction.Name(message.action).removeprefix("WITHDRAWAL_ACTION_"),
        reason=message.reason,
        requested_by=message.requested_by,
    )


def read_wish(message: withdrawal_pb2.Wish) -> answers.WishAnswer:
    """A wish, and how far it has come."""
    return answers.WishAnswer(
        withdrawal=read_withdrawal(message.withdrawal),
        works=message.works,
        carried_out=message.carried_out,
        pending=message.pending,
    )


def read_audit(message: audit_pb2.Audit) -> answers.AuditAnswer:
    """An audit as it stands."""
    return answers.AuditAnswer(
        id=message.id,
        attribution_id=message.attribution_id,
        state=audit_pb2.AuditState.Name(message.state).removeprefix("AUDIT_STATE_"),
        created=_moment(message.created),
        finished=_moment(message.finished) if message.HasField("finished") else None,
        verdict=_verdict(message.verdict) if message.HasField("verdict") else None,
        error=message.error or None,
    )


def _verdict(message: audit_pb2.Verdict) -> answers.Verdict:
    return answers.Verdict(
        query_rise=message.query_rise,
        recall=_estimate(message.recall),
        missed_influence=_estimate(message.missed_influence),
        ndcg=_estimate(message.ndcg),
        rank_correlation=_estimate(message.rank_correlation),
        listed_works=message.listed_works,
        sampled_works=message.sampled_works,
        seconds=message.seconds,
        works=tuple(answers.AuditedWork(work.id, work.influence, work.listed) for work in message.works),
    )


def _estimate(message: audit_pb2.Estimate) -> answers.Estimate:
    return answers.Estimate(message.value, message.low, message.high)
