"""Shares of works and contributors in an answer, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.api.answers import CreditedContributor, CreditedWork
from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.remainder import NOTHING_WITHHELD, Withheld
from creditline.calibration.shares import ContributorShare, Group, ScoredWork, WorkShare, credit_line
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.index import Hit

Ends = tuple[float | None, float | None]
_UNKNOWN: Ends = (None, None)


@dataclass(frozen=True)
class Credited:
    """The part of an answer that is about works and contributors."""

    works: tuple[CreditedWork, ...]
    """The listed works, largest share first."""
    contributors: tuple[CreditedContributor, ...]
    """The listed contributors, largest share first."""
    remainder: float
    """Share of all works that are not listed."""
    remainder_ends: Ends
    """Interval of the remainder; None where the release has no intervals."""
    concentration: float
    """How unevenly the influence is spread: 0 evenly over all works, 1 where one work has it all."""
    corpus_works: int
    """Number of works that share the influence, listed or not."""
    equal_parts: float
    """The number of works that would be as concentrated if they had equal parts."""
    coverage: float | None
    """Coverage of the intervals; None where the release has none."""


def scored(hits: Sequence[Hit], calibration: Calibration) -> list[ScoredWork]:
    """Hits with their expected influence, calibrated from their cosines."""
    influences = calibration.expected_influence([hit.score for hit in hits])
    return [
        ScoredWork(hit.work_id, hit.contributor, hit.duplicate_group, hit.score, float(influence))
        for hit, influence in zip(hits, influences, strict=True)
    ]


def credited(
    listed: Sequence[Group],
    hits: Mapping[str, Hit],
    vector: NDArray[np.float32],
    release: ServedRelease,
    withheld: Withheld = NOTHING_WITHHELD,
    *,
    works: int | None = None,
) -> Credited:
    """Share the credit of a query between the listed groups and all other works.

    Args:
        listed: Duplicate groups that the answer lists.
        hits: The search's hits by work id.
        vector: (D,) float32, the query's vector, L2-normalised.
        release: The release, with calibration, intervals and a sample of its works.
        withheld: Withdrawn works and contributors.
        works: Number of works of the build that was searched; None: that of the release.
    """
    people = {member.work_id: member.contributor for group in listed for member in group.members}
    others = release.sample.others(vector, release.calibration, people, withheld, works=works)
    line = credit_line(listed, others)
    intervals = release.intervals
    shares = zip(line.works, listed, strict=True)
    return Credited(
        works=tuple(
            _credited_work(share, hits[share.work.work_id], _ends_of_work(share, group, intervals))
            for share, group in shares
        ),
        contributors=tuple(_credited_contributor(person, intervals) for person in line.contributors),
        remainder=line.remainder,
        remainder_ends=intervals.remainder.of(line.remainder) if intervals else _UNKNOWN,
        concentration=line.concentration,
        corpus_works=line.population,
        equal_parts=line.equal_parts,
        coverage=intervals.coverage if intervals else None,
    )


def _ends_of_work(share: WorkShare, group: Group, intervals: AnswerIntervals | None) -> Ends:
    """Sum of the copies' intervals, widened to include the share, which a long tail can move outside."""
    if intervals is None:
        return _UNKNOWN
    low, high = intervals.works.of([member.score for member in group.members])
    return min(max(float(low.sum()), 0.0), share.share), min(max(float(high.sum()), share.share), 1.0)


def _credited_work(share: WorkShare, hit: Hit, ends: Ends) -> CreditedWork:
    return CreditedWork(
        id=hit.work_id,
        title=hit.title,
        caption=hit.caption,
        contributor=hit.contributor,
        licence=hit.licence,
        score=hit.score,
        expected_influence=share.work.expected_influence,
        share=share.share,
        rank=share.rank,
        copies=share.copies,
        share_low=ends[0],
        share_high=ends[1],
    )


def _credited_contributor(person: ContributorShare, intervals: AnswerIntervals | None) -> CreditedContributor:
    low, high = intervals.contributors.of(person.share, error=person.error) if intervals else _UNKNOWN
    return CreditedContributor(person.name, person.share, person.works, low, high, person.listed)
