"""Conversion of audits and their verdicts to and from protobuf and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from creditline.api.answers import AuditAnswer, AuditedWork, Estimate, Verdict
from creditline.api.presence import present_moment
from creditline.api.timestamps import read_timestamp, timestamp_message
from creditline.v1 import audit_pb2

_STATE_PREFIX = "AUDIT_STATE_"


def audit_message(audit: AuditAnswer) -> audit_pb2.Audit:
    """Convert an audit to `creditline.v1.Audit`."""
    return audit_pb2.Audit(
        id=audit.id,
        attribution_id=audit.attribution_id,
        state=_STATE_PREFIX + audit.state,
        created=timestamp_message(audit.created),
        finished=timestamp_message(audit.finished),
        verdict=None if audit.verdict is None else verdict_message(audit.verdict),
        error=audit.error or "",
    )


def read_audit(message: audit_pb2.Audit) -> AuditAnswer:
    """Convert `creditline.v1.Audit` to an audit."""
    return AuditAnswer(
        id=message.id,
        attribution_id=message.attribution_id,
        state=audit_pb2.AuditState.Name(message.state).removeprefix(_STATE_PREFIX),
        created=read_timestamp(message.created),
        finished=present_moment(message, "finished"),
        verdict=read_verdict(message.verdict) if message.HasField("verdict") else None,
        error=message.error or None,
    )


def verdict_message(verdict: Verdict) -> audit_pb2.Verdict:
    """Convert a verdict to `creditline.v1.Verdict`."""
    return audit_pb2.Verdict(**verdict_to_json(verdict))


def read_verdict(message: audit_pb2.Verdict) -> Verdict:
    """Convert `creditline.v1.Verdict` to a verdict."""
    return Verdict(
        query_rise=message.query_rise,
        recall=_read_estimate(message.recall),
        missed_influence=_read_estimate(message.missed_influence),
        ndcg=_read_estimate(message.ndcg),
        rank_correlation=_read_estimate(message.rank_correlation),
        listed_works=message.listed_works,
        sampled_works=message.sampled_works,
        seconds=message.seconds,
        works=tuple(AuditedWork(work.id, work.influence, work.listed) for work in message.works),
    )


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Convert a verdict to the ledger's form: protobuf JSON of `creditline.v1.Verdict` in snake_case."""
    fields = asdict(verdict)
    return {**fields, "works": list(fields["works"])}


def verdict_from_json(stored: Mapping[str, Any]) -> Verdict:
    """Convert the ledger's form to a verdict. As in protobuf JSON, a missing number is 0."""
    return Verdict(
        query_rise=float(stored.get("query_rise", 0.0)),
        recall=_estimate_from_json(stored.get("recall", {})),
        missed_influence=_estimate_from_json(stored.get("missed_influence", {})),
        ndcg=_estimate_from_json(stored.get("ndcg", {})),
        rank_correlation=_estimate_from_json(stored.get("rank_correlation", {})),
        listed_works=int(stored.get("listed_works", 0)),
        sampled_works=int(stored.get("sampled_works", 0)),
        seconds=float(stored.get("seconds", 0.0)),
        works=tuple(_work_from_json(work) for work in stored.get("works", ())),
    )


def _read_estimate(message: audit_pb2.Estimate) -> Estimate:
    return Estimate(message.value, message.low, message.high)


def _estimate_from_json(stored: Mapping[str, Any]) -> Estimate:
    value, low, high = (float(stored.get(name, 0.0)) for name in ("value", "low", "high"))
    return Estimate(value, low, high)


def _work_from_json(stored: Mapping[str, Any]) -> AuditedWork:
    influence, listed = float(stored.get("influence", 0.0)), bool(stored.get("listed", False))
    return AuditedWork(str(stored["id"]), influence, listed)
