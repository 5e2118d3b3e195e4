"""A credit line made of real works of the corpus, for looking at and for the tests of its renderings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime

from PIL import Image

from creditline.cli.credit_line.line import (
    Accuracy,
    AuditFinding,
    CreditedContributor,
    CreditedWork,
    CreditLine,
    Estimate,
    Query,
    ReleaseFacts,
    Verdict,
)
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Work

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


def sample_audit() -> AuditFinding:
    verdict = Verdict(
        query_rise=1.12,
        recall=Estimate(0.4, 0.2, 0.6),
        missed_influence=Estimate(0.55, 0.47, 0.63),
        ndcg=Estimate(0.71, 0.6, 0.8),
        rank_correlation=Estimate(0.33, 0.2, 0.45),
        listed_works=10,
        sampled_works=200,
        seconds=41.0,
    )
    return AuditFinding(id="audit-7", state="DONE", verdict=verdict)


def sample_credit_line(
    prompt: str = "a red ladybug on a leaf",
    shares: Sequence[float] = SHARES,
    audit: AuditFinding | None = None,
) -> CreditLine:
    works = sample_works()
    credited = tuple(
        CreditedWork(
            rank=rank,
            id=work.id,
            title=work.title,
            caption=work.caption,
            contributor=work.contributor,
            licence=work.licence,
            score=0.9 - 0.03 * rank,
            share=share,
            thumbnail=work.thumbnail,
            copies=("oca-copy-a", "oca-copy-b") if rank == 2 else (),
        )
        for rank, (work, share) in enumerate(zip(works, shares, strict=False), start=1)
    )
    return CreditLine(
        attribution_id="01936b5e-7c1a-7b52-9d7e-3f8a60d1c2aa",
        query=Query(sample_picture(works[0]), prompt, "3f" * 32, seed=7),
        works=credited,
        contributors=_contributors(credited),
        remainder=1.0 - sum(work.share for work in credited),
        release=ReleaseFacts(
            name="openclipart-reference-1a2b3c4d",
            created=datetime(2026, 11, 24, 3, 0, tzinfo=UTC),
            generator_fingerprint="3f" * 32,
            corpus_fingerprint="a7" * 32,
            towers_fingerprint="5c" * 32,
            width=256,
            works=1776,
            collection="works-openclipart-reference-1a2b3c4d",
        ),
        accuracy=Accuracy(12, 0.43, 0.35, 0.51, 0.52),
        timings={"total_ms": 93.4, "embed_ms": 71.0, "search_ms": 2.1},
        audit=audit,
    )


def _contributors(works: Sequence[CreditedWork]) -> tuple[CreditedContributor, ...]:
    names = dict.fromkeys(work.contributor for work in works)
    summed = [
        CreditedContributor(
            name,
            sum(work.share for work in works if work.contributor == name),
            sum(work.contributor == name for work in works),
        )
        for name in names
    ]
    return tuple(sorted(summed, key=lambda person: -person.share))
