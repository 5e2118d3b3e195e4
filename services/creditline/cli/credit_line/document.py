"""A credit line as JSON, for programs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from creditline.api.answers import AuditAnswer, CreditedContributor, CreditedWork
from creditline.cli.credit_line.line import CreditLine


def credit_line_json(line: CreditLine) -> dict[str, Any]:
    """The credit line as JSON values; shares and remainder sum to 1."""
    return {
        "attribution_id": line.answer.attribution_id,
        "query": {
            "prompt": line.query.prompt,
            "seed": line.query.seed,
            "generator": line.query.generator,
            "picture": None if line.query.picture is None else "picture.png",
            "picture_sha256": line.query.sha256,
        },
        "works": [_credit_json(work) for work in line.works],
        "contributors": [_credit_json(person) for person in line.contributors],
        "remainder": line.remainder,
        "remainder_low": line.answer.remainder_low,
        "remainder_high": line.answer.remainder_high,
        "coverage": line.answer.coverage,
        "intervals_withheld": line.answer.intervals_withheld,
        "concentration": line.answer.concentration,
        "equal_parts": line.answer.equal_parts,
        "corpus_works": line.corpus_works,
        "ood_score": line.answer.ood_score,
        "prompt_agreement": line.answer.prompt_agreement,
        "private": line.answer.private,
        "share_from_picture": line.answer.share_from_picture,
        "share_from_prompt": line.answer.share_from_prompt,
        "from_picture_alone": line.answer.from_picture_alone,
        "form": line.answer.form.value,
        "reranked_works": line.answer.reranked_works,
        "picture_alone_recall": (
            None
            if line.answer.picture_alone_recall is None
            else dataclasses.asdict(line.answer.picture_alone_recall)
        ),
        "works_newer_than_calibration": line.answer.works_newer_than_calibration,
        "calibration_outdated": line.answer.calibration_outdated,
        "release": {
            **dataclasses.asdict(line.release),
            "created": line.release.created.isoformat(),
            "accuracy": dataclasses.asdict(line.accuracy),
        },
        "timings": dataclasses.asdict(line.answer.timings),
        "audit": _audit_json(line.audit),
        "undelivered": line.undelivered,
    }


def credit_line_document(line: CreditLine) -> str:
    """The credit line as JSON text that ends with a newline."""
    return json.dumps(credit_line_json(line), indent=2, ensure_ascii=False) + "\n"


def _credit_json(credit: CreditedWork | CreditedContributor) -> dict[str, Any]:
    since = credit.withdrawn_since
    return {**dataclasses.asdict(credit), "withdrawn_since": None if since is None else since.isoformat()}


def _audit_json(audit: AuditAnswer | None) -> dict[str, Any] | None:
    if audit is None:
        return None
    return {
        **dataclasses.asdict(audit),
        "created": audit.created.isoformat(),
        "finished": None if audit.finished is None else audit.finished.isoformat(),
    }
