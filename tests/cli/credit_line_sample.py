"""A credit line made of real works of the corpus, for looking at and for the tests of its renderings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime

from PIL import Image

from creditline.api.answers import (
    AttributionAnswer,
    AuditAnswer,
    AuditedAccuracy,
    CreditedContributor,
    CreditedWork,
    Estimate,
    ReleaseSummary,
    Timings,
    Verdict,
)
from creditline.calibration.concentration import equal_parts
from creditline.cli.credit_line.line import CreditLine, Query
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Work

ATTRIBUTION = "01936b5e-7c1a-7b52-9d7e-3f8a60d1c2aa"
CREATED = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
_WORKS = 1776
SHARES = (0.121, 0.083, 0.071, 0.043, 0.038, 0.0295, 0.021, 0.0142, 0.0081, 0.0003)


def sample_works(subject: str = "ladybug") -> list[Work]:
    """Ten works, those about the subject first."""
    works = embedded_corpus().works
    about = [work for work in works if subject in work.caption.lower()]
    return [*about, *(work for work in works if subject not in work.caption.lower())][: len(SHARES)]


def sample_picture(work: Work, side: int = 64) -> bytes:
    """A work at the generator's resolution, as a PNG file."""
    buffer = io.BytesIO()
    work.picture().resize((side, side), Image.Resampling.LANCZOS).save(buffer, format="PNG")
    return buffer.getvalue()


def sample_verdict() -> Verdict:
    return Verdict(
        query_rise=1.12,
        recall=Estimate(0.4, 0.2, 0.6),
        missed_influence=Estimate(0.55, 0.47, 0.63),
        ndcg=Estimate(0.71, 0.6, 0.8),
        rank_correlation=Estimate(0.33, 0.2, 0.45),
        listed_works=10,
        sampled_works=200,
        seconds=41.0,
        works=(),
    )


def sample_audit(
    state: str = "DONE", verdict: Verdict | None = None, error: str | None = None
) -> AuditAnswer:
    """An audit that is done, unless another state is asked for."""
    return AuditAnswer(
        id="audit-7",
        attribution_id=ATTRIBUTION,
        state=state,
        created=CREATED,
        finished=CREATED if state in ("DONE", "FAILED") else None,
        verdict=sample_verdict() if state == "DONE" and verdict is None else verdict,
        error=error,
    )


def sample_answer(
    shares: Sequence[float] = SHARES, ood_score: float = 0.7, concentration: float = 0.02
) -> AttributionAnswer:
    credited = tuple(
        CreditedWork(
            id=work.id,
            title=work.title,
            caption=work.caption,
            contributor=work.contributor,
            licence=work.licence,
            score=0.9 - 0.03 * rank,
            expected_influence=share / 1000,
            share=share,
            rank=rank,
            copies=("oca-copy-a", "oca-copy-b") if rank == 2 else (),
            share_low=share / 5,
            share_high=2.5 * share,
        )
        for rank, (work, share) in enumerate(zip(sample_works(), shares, strict=False), start=1)
    )
    return AttributionAnswer(
        attribution_id=ATTRIBUTION,
        works=credited,
        contributors=_contributors(credited),
        remainder=1.0 - sum(work.share for work in credited),
        release=ReleaseSummary(
            name="openclipart-reference-1a2b3c4d",
            created=CREATED,
            generator_fingerprint="3f" * 32,
            corpus_fingerprint="a7" * 32,
            towers_fingerprint="5c" * 32,
            dimension=256,
            works=_WORKS,
            collection="works-openclipart-reference-1a2b3c4d",
        ),
        timings=Timings(93.4, 3.0, 71.0, 2.1, 0.4, 5.0),
        accuracy=AuditedAccuracy(0, None, None, None, None),
        concentration=concentration,
        corpus_works=_WORKS,
        equal_parts=equal_parts(concentration, _WORKS),
        remainder_low=0.48,
        remainder_high=0.66,
        coverage=0.9,
        ood_score=ood_score,
    )


def sample_credit_line(
    prompt: str = "a red ladybug on a leaf",
    shares: Sequence[float] = SHARES,
    audit: AuditAnswer | None = None,
    ood_score: float = 0.7,
    concentration: float = 0.02,
) -> CreditLine:
    works = sample_works()
    return CreditLine(
        query=Query(sample_picture(works[0]), prompt, "3f" * 32, seed=7),
        answer=sample_answer(shares, ood_score, concentration),
        thumbnails={work.id: work.thumbnail for work in works},
        accuracy=AuditedAccuracy(12, 0.43, 0.35, 0.51, 0.52),
        audit=audit,
    )


def _contributors(works: Sequence[CreditedWork]) -> tuple[CreditedContributor, ...]:
    names = dict.fromkeys(work.contributor for work in works)
    summed = [
        CreditedContributor(
            name,
            sum(work.share for work in works if work.contributor == name),
            sum(work.contributor == name for work in works),
            listed_share=sum(work.share for work in works if work.contributor == name),
        )
        for name in names
    ]
    return tuple(sorted(summed, key=lambda person: -person.share))
