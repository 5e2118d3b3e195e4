"""Answers as protobuf messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from creditline.api import answers
from creditline.v1 import attribution_pb2, audit_pb2, catalog_pb2, release_pb2, withdrawal_pb2


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def release_message(release: answers.ReleaseSummary) -> release_pb2.Release:
    """`creditline.v1.Release`."""
    return release_pb2.Release(
        name=release.name,
        created=_timestamp(release.created),
        generator_fingerprint=release.generator_fingerprint,
        corpus_fingerprint=release.corpus_fingerprint,
        towers_fingerprint=release.towers_fingerprint,
        width=release.width,
        works=release.works,
        collection=release.collection,
    )


def accuracy_message(accuracy: answers.AuditedAccuracy) -> release_pb2.AuditedAccuracy:
    """`creditline.v1.AuditedAccuracy`; what is None stays absent."""
    return release_pb2.AuditedAccuracy(**vars(accuracy))


def release_response(answer: answers.ReleaseAnswer) -> release_pb2.GetReleaseResponse:
    """`creditline.v1.GetReleaseResponse`."""
    return release_pb2.GetReleaseResponse(
        release=release_message(answer.release), accuracy=accuracy_message(answer.accuracy)
    )


def attribute_response(answer: answers.AttributionAnswer) -> attribution_pb2.AttributeResponse:
    """`creditline.v1.AttributeResponse`."""
    return attribution_pb2.AttributeResponse(
        attribution_id=answer.attribution_id,
        works=[attribution_pb2.CreditedWork(**_fields(work)) for work in answer.works],
        contributors=[attribution_pb2.CreditedContributor(**_fields(each)) for each in answer.contributors],
        remainder=answer.remainder,
        release=release_message(answer.release),
        timings=attribution_pb2.Timings(**vars(answer.timings)),
        accuracy=accuracy_message(answer.accuracy),
        concentration=answer.concentration,
        corpus_works=answer.corpus_works,
        equal_parts=answer.equal_parts,
        remainder_low=answer.remainder_low,
        remainder_high=answer.remainder_high,
        level=answer.level,
        unfamiliarity=answer.unfamiliarity,
    )


def recorded_response(
    recorded: answers.RecordedAttribution, image: bytes
) -> attribution_pb2.GetAttributionResponse:
    """`creditline.v1.GetAttributionResponse`."""
    return attribution_pb2.GetAttributionResponse(
        attribution=attribute_response(recorded.answer),
        created=_timestamp(recorded.created),
        prompt=recorded.prompt,
        generator=recorded.generator,
        image=image,
        audit=None if recorded.audit is None else audit_message(recorded.audit),
    )


def work_response(work: answers.WorkAnswer, thumbnail: bytes) -> catalog_pb2.GetWorkResponse:
    """`creditline.v1.GetWorkResponse`."""
    return catalog_pb2.GetWorkResponse(work=catalog_pb2.Work(thumbnail=thumbnail, **_fields(work)))


def _fields(
    answer: answers.CreditedWork | answers.CreditedContributor | answers.WorkAnswer,
) -> dict[str, Any]:
    """An answer's fields as its message takes them."""
    return {**vars(answer), "withdrawn_since": _timestamp(answer.withdrawn_since)}


def withdrawal_message(wish: answers.WithdrawalAnswer) -> withdrawal_pb2.Withdrawal:
    """`creditline.v1.Withdrawal`."""
    return withdrawal_pb2.Withdrawal(
        sequence=wish.sequence,
        id=wish.id,
        created=_timestamp(wish.created),
        kind=f"WITHDRAWAL_KIND_{wish.kind}",
        subject=wish.subject,
        action=f"WITHDRAWAL_ACTION_{wish.action}",
        reason=wish.reason,
        requested_by=wish.requested_by,
    )


def wish_message(wish: answers.WishAnswer) -> withdrawal_pb2.Wish:
    """`creditline.v1.Wish`."""
    return withdrawal_pb2.Wish(
        withdrawal=withdrawal_message(wish.withdrawal),
        works=wish.works,
        carried_out=wish.carried_out,
        pending=wish.pending,
    )


def audit_message(audit: answers.AuditAnswer) -> audit_pb2.Audit:
    """`creditline.v1.Audit`."""
    return audit_pb2.Audit(
        id=audit.id,
        attribution_id=audit.attribution_id,
        state=f"AUDIT_STATE_{audit.state}",
        created=_timestamp(audit.created),
        finished=_timestamp(audit.finished),
        verdict=None if audit.verdict is None else _verdict_message(audit.verdict),
        error=audit.error or "",
    )


def _verdict_message(verdict: answers.Verdict) -> audit_pb2.Verdict:
    return audit_pb2.Verdict(
        query_rise=verdict.query_rise,
        recall=_estimate_message(verdict.recall),
        missed_influence=_estimate_message(verdict.missed_influence),
        ndcg=_estimate_message(verdict.ndcg),
        rank_correlation=_estimate_message(verdict.rank_correlation),
        listed_works=verdict.listed_works,
        sampled_works=verdict.sampled_works,
        seconds=verdict.seconds,
        works=[audit_pb2.AuditedWork(**vars(work)) for work in verdict.works],
    )


def _estimate_message(estimate: answers.Estimate) -> audit_pb2.Estimate:
    return audit_pb2.Estimate(**vars(estimate))
