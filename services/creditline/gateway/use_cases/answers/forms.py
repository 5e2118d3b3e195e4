"""The two forms of an answer: as it is served, and as the ledger stores it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from creditline.api.answers import AnswerForm, AttributionAnswer, AuditedAccuracy, Timings
from creditline.corpus.withdrawn import Withdrawn
from creditline.embedder_client.queries import EmbeddedQuery
from creditline.gateway.use_cases.added_works import Owed
from creditline.gateway.use_cases.answers.crediting import Credited
from creditline.gateway.use_cases.answers.reranking import Candidates
from creditline.gateway.use_cases.attributions import stored_contributor, stored_release, stored_work
from creditline.gateway.use_cases.filters import stored_filter
from creditline.gateway.use_cases.prompts.policy import Reading
from creditline.gateway.use_cases.prompts.shares import SharesByHalf
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.gateway.use_cases.requests import AttributionRequest
from creditline.ledger import EXPECTED, FORM, FROM_PICTURE_ALONE, PRIVATE, RERANKED_WORKS
from creditline.ledger.verification import ADDITIONS_KNOWN, MERGES_KNOWN, WITHDRAWALS_KNOWN

# Significant digits of stored expectations.
_DIGITS = 6
_NO_ACCURACY = AuditedAccuracy(0, None, None, None, None)


@dataclass(frozen=True, eq=False)
class Shared:
    """An answer whose shares are known, and all that it was made of."""

    request: AttributionRequest
    """The request, with the fingerprint of its generator."""
    release: ServedRelease
    """The release that answers."""
    query: EmbeddedQuery
    """The query as the encoder sees it."""
    reading: Reading
    """How the query was read."""
    withdrawn: Withdrawn
    """The withdrawals in force."""
    owed: Owed
    """What may be owed of the build that was searched."""
    line: Credited
    """Works and contributors with their shares."""
    by_half: SharesByHalf
    """What of the shares rests on the picture and on the prompt."""
    is_filtered: bool
    """Whether a filter restricts the listed works."""
    candidates: Candidates | None = None
    """The works that were re-ranked; None: the answer is a fast one."""


def served_form(shared: Shared, timings: Timings) -> AttributionAnswer:
    """The answer before it is recorded, without its id and its accuracy."""
    line, query, owed = shared.line, shared.query, shared.owed
    return AttributionAnswer(
        "",
        line.works,
        line.contributors,
        line.remainder,
        shared.release.summary,
        timings,
        _NO_ACCURACY,
        concentration=line.concentration,
        remainder_low=line.remainder_ends[0],
        remainder_high=line.remainder_ends[1],
        coverage=line.coverage,
        ood_score=query.ood_score,
        corpus_works=line.corpus_works,
        equal_parts=line.equal_parts,
        works_newer_than_calibration=owed.newer,
        calibration_outdated=owed.outdated,
        prompt_agreement=query.prompt_agreement,
        share_from_picture=shared.by_half.from_picture,
        share_from_prompt=shared.by_half.from_prompt,
        from_picture_alone=shared.reading.picture_alone is not None,
        picture_alone_recall=shared.reading.picture_alone,
        intervals_withheld=shared.reading.intervals_withheld,
        filter=shared.request.filter if shared.is_filtered else None,
        private=shared.request.vector is not None,
        form=shared.request.form,
        reranked_works=shared.candidates.reranked if shared.candidates else 0,
    )


def stored_form(shared: Shared, timings: Timings) -> dict[str, Any]:
    """The answer in the form that the ledger stores, with all that an audit needs to know."""
    line, query, owed = shared.line, shared.query, shared.owed
    return {
        "works": [stored_work(work) for work in line.works],
        "contributors": [stored_contributor(person) for person in line.contributors],
        "remainder": line.remainder,
        "remainder_low": line.remainder_ends[0],
        "remainder_high": line.remainder_ends[1],
        "coverage": line.coverage,
        "intervals_withheld": shared.reading.intervals_withheld,
        "concentration": line.concentration,
        "corpus_works": line.corpus_works,
        "equal_parts": line.equal_parts,
        "ood_score": query.ood_score,
        "prompt_agreement": query.prompt_agreement,
        "release": stored_release(shared.release.summary),
        "timings": dict(vars(timings)),
        "filter": stored_filter(shared.request.filter),
        "works_newer_than_calibration": owed.newer,
        "calibration_outdated": owed.outdated,
        ADDITIONS_KNOWN: owed.sequence,
        WITHDRAWALS_KNOWN: shared.withdrawn.sequence,
        MERGES_KNOWN: shared.withdrawn.merges,
        **_stored_query(shared.reading, shared.request),
        **_stored_halves(shared.by_half, shared.reading),
        **_stored_candidates(shared.candidates),
    }


def _stored_query(reading: Reading, request: AttributionRequest) -> dict[str, Any]:
    """What is kept of the query beside picture and prompt; of a private one, only that it was one."""
    if request.vector is not None:
        return {PRIVATE: True}
    # For audits: the scores of works that were not listed can be computed from it.
    return {PRIVATE: False, "vector": reading.vector.tolist()}


def _stored_candidates(candidates: Candidates | None) -> dict[str, Any]:
    """What is kept of a re-ranked answer: its form, and the influence of the works that were not listed too.

    An audit compares all of it with the teacher, and cannot compute it without the generator.
    """
    if candidates is None:
        return {}
    expected = {work_id: float(f"{value:.{_DIGITS}g}") for work_id, value in candidates.expected.items()}
    return {FORM: AnswerForm.RERANKED.value, RERANKED_WORKS: candidates.reranked, EXPECTED: expected}


def _stored_halves(by_half: SharesByHalf, reading: Reading) -> dict[str, Any]:
    recall = reading.picture_alone
    return {
        "share_from_picture": by_half.from_picture,
        "share_from_prompt": by_half.from_prompt,
        FROM_PICTURE_ALONE: recall is not None,
        "picture_alone_recall": None if recall is None else asdict(recall),
    }
