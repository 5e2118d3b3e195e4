"""Re-ranked answers: which requests can have one, and the order and influence of their candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from creditline.calibration import Calibration
from creditline.calibration.reranking import Reranking
from creditline.calibration.shares import Group, ScoredWork, duplicate_groups
from creditline.errors import FailedPrecondition, InvalidInput
from creditline.gateway.use_cases.prompts.policy import Reading
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.gateway.use_cases.requests import AttributionRequest


@dataclass(frozen=True, eq=False)
class Candidates:
    """The works that were re-ranked for a query, and their influence."""

    reranking: Reranking
    """Calibration of re-ranked answers."""
    groups: tuple[Group, ...]
    """Their duplicate groups, best first."""
    positive: Mapping[str, float]
    """Expected positive influence of each work, by id."""
    reranked: int
    """Number of works that the kernel scored; the others keep the influence of their cosine."""
    expected: Mapping[str, float] = field(default_factory=dict)
    """Expected influence of each work, by id."""


def check_reranking(request: AttributionRequest, release: ServedRelease, *, candidates: int) -> Reranking:
    """Check that a request can have a re-ranked answer.

    Args:
        request: The request, with the fingerprint of its generator.
        release: The release that answers.
        candidates: Number of works that are re-ranked.

    Returns:
        The calibration of re-ranked answers.

    Raises:
        FailedPrecondition: The release has no gradient rows, or is of another generator.
        InvalidInput: More works are to be listed than are re-ranked.
    """
    name = release.summary.name
    if release.reranking is None:
        raise FailedPrecondition(
            f"release {name!r} has no gradient rows, so that its answers cannot be re-ranked; ask for a fast"
            " answer, or make the rows with `creditline release rerank`",
            field="form",
        )
    if request.generator != release.summary.generator_fingerprint:
        raise FailedPrecondition(
            f"release {name!r} has gradient rows of generator {release.summary.generator_fingerprint}, but"
            f" the picture was made by {request.generator}; ask for a fast answer",
            field="form",
        )
    if request.k > candidates:
        raise InvalidInput(
            f"k is {request.k}, but {candidates} works are re-ranked; ask for at most {candidates}, or for a"
            " fast answer",
            field="k",
        )
    return release.reranking


def check_reading(reading: Reading) -> None:
    """Raise InvalidInput where a query is read by its picture alone: its gradient needs the prompt."""
    if reading.picture_alone is not None:
        raise InvalidInput(
            "picture and prompt agree so little that this gateway answers from the picture alone, which"
            " cannot be re-ranked; send the prompt that the picture was made from, or ask for a fast answer",
            field="form",
        )


def reranked(
    works: Sequence[ScoredWork], scores: Mapping[str, float], reranking: Reranking, calibration: Calibration
) -> Candidates:
    """Order works by the kernel.

    Args:
        works: The works with their cosines, and their influence by these.
        scores: The kernel's scores by work id; works without one keep the influence of their cosine.
        reranking: Calibration of re-ranked answers.
        calibration: Calibration of cosines.
    """
    known = [work for work in works if work.work_id in scores]
    kernel = [scores[work.work_id] for work in known]
    orders = reranking.order_of(kernel, [work.score for work in known])
    influences = reranking.calibration.expected_influence(orders)
    changed = {
        work.work_id: replace(work, expected_influence=influence, kernel_score=score, order=order)
        for work, influence, score, order in zip(
            known, influences.tolist(), kernel, orders.tolist(), strict=True
        )
    }
    others = [work for work in works if work.work_id not in scores]
    positive = dict(zip(changed, reranking.calibration.expected_positive(orders).tolist(), strict=True))
    positive |= {
        work.work_id: part
        for work, part in zip(
            others, calibration.expected_positive([work.score for work in others]).tolist(), strict=True
        )
    }
    ordered = [changed.get(work.work_id, work) for work in works]
    return Candidates(
        reranking,
        duplicate_groups(ordered),
        positive,
        len(known),
        {work.work_id: work.expected_influence for work in ordered},
    )
