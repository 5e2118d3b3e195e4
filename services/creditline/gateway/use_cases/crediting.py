"""Shares of works and contributors in an answer, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from creditline.api.answers import CreditedContributor, CreditedWork
from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.remainder import NOTHING_WITHHELD, CorpusSample, Withheld
from creditline.calibration.shares import ContributorShare, Group, ScoredWork, WorkShare, credit_line
from creditline.corpus.identity import People, PersonReference, key_of
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.index import Hit

Ends = tuple[float | None, float | None]
_UNKNOWN: Ends = (None, None)
# Every name and every id is a person of its own.
EVERY_KEY = People()


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


def scored(hits: Sequence[Hit], calibration: Calibration, people: People = EVERY_KEY) -> list[ScoredWork]:
    """Hits with their expected influence, calibrated from their cosines.

    Args:
        hits: The hits.
        calibration: Curves from cosine to expected influence.
        people: Which names and ids are one person; the works' contributors are its keys.
    """
    influences = calibration.expected_influence([hit.score for hit in hits])
    return [
        ScoredWork(hit.work_id, _person(hit, people), hit.duplicate_group, hit.score, float(influence))
        for hit, influence in zip(hits, influences, strict=True)
    ]


def _person(hit: Hit, people: People) -> str:
    return people.person(key_of(hit.contributor, hit.contributor_id))


# Depends only on the corpus and the merges, which seldom change.
@lru_cache(maxsize=2)
def sample_of_people(sample: CorpusSample, people: People) -> CorpusSample:
    """The sample with one key for all names and ids of a person."""
    return sample.of_people(people.person)


def credited(
    listed: Sequence[Group],
    hits: Mapping[str, Hit],
    vector: NDArray[np.float32],
    release: ServedRelease,
    withheld: Withheld = NOTHING_WITHHELD,
    *,
    works: int | None = None,
    people: People = EVERY_KEY,
    only_listed: bool = False,
) -> Credited:
    """Share the credit of a query between the listed groups and all other works.

    Args:
        listed: Duplicate groups that the answer lists.
        hits: The search's hits by work id.
        vector: (D,) float32, the query's vector, L2-normalised.
        release: The release, with calibration, intervals and a sample of its works.
        withheld: Withdrawn works and contributors.
        works: Number of works of the build that was searched; None: that of the release.
        people: Which names and ids are one person.
        only_listed: Credit only contributors of listed works, because a filter restricts these.
    """
    makers = {member.work_id: member.contributor for group in listed for member in group.members}
    sample = sample_of_people(release.sample, people)
    others = sample.others(vector, release.calibration, makers, withheld, works=works)
    line = credit_line(listed, others)
    intervals = release.intervals
    shares = zip(line.works, listed, strict=True)
    return Credited(
        works=tuple(
            _credited_work(share, hits[share.work.work_id], _ends_of_work(share, group, intervals), people)
            for share, group in shares
        ),
        contributors=tuple(
            _credited_contributor(person, intervals, _shown_as(person.name, hits, makers, people))
            for person in line.contributors
            if person.works or not only_listed
        ),
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


def _shown_as(
    person: str, hits: Mapping[str, Hit], makers: Mapping[str, str], people: People
) -> PersonReference:
    """Name and id under which a person is credited: those of the corpus, else those of the best work."""
    hit = next((hits[work_id] for work_id, maker in makers.items() if maker == person), None)
    name, contributor_id = ("", "") if hit is None else (hit.contributor, hit.contributor_id)
    return PersonReference(people.shown(person, name), people.shown_id(person) or contributor_id)


def _credited_work(share: WorkShare, hit: Hit, ends: Ends, people: People) -> CreditedWork:
    return CreditedWork(
        id=hit.work_id,
        title=hit.title,
        caption=hit.caption,
        contributor=people.shown(share.work.contributor, hit.contributor),
        licence=hit.licence,
        score=hit.score,
        expected_influence=share.work.expected_influence,
        share=share.share,
        rank=share.rank,
        copies=share.copies,
        share_low=ends[0],
        share_high=ends[1],
        contributor_id=hit.contributor_id,
    )


def _credited_contributor(
    person: ContributorShare, intervals: AnswerIntervals | None, shown: PersonReference
) -> CreditedContributor:
    low, high = intervals.contributors.of(person.share, error=person.error) if intervals else _UNKNOWN
    return CreditedContributor(
        shown.name, person.share, person.works, low, high, person.listed, contributor_id=shown.id
    )
