"""Shares of works and contributors in an answer, with their intervals."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from creditline.api.answers import CreditedContributor, CreditedHolder, CreditedWork
from creditline.calibration import Calibration
from creditline.calibration.holders import Holders, summed, whole
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.remainder import NOTHING_WITHHELD, CorpusSample, Withheld
from creditline.calibration.reranking import Reranking, with_candidates
from creditline.calibration.shares import (
    ContributorShare,
    CreditLine,
    Group,
    ScoredWork,
    WorkShare,
    credit_line,
)
from creditline.corpus.identity import (
    NamedHolder,
    People,
    PersonReference,
    key_of,
    keyed_holders,
    named_holders,
)
from creditline.gateway.use_cases.answers.reranking import Candidates
from creditline.gateway.use_cases.prompts.shares import NOT_DIVIDED, SharesByHalf
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.index import Hit

# Two numbers, or neither.
Ends = tuple[float | None, float | None]
# Name and id of a person.
Named = tuple[str, str]
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
        people: Which names and ids are one person; the works' holders are its keys.
    """
    influences = calibration.expected_influence([hit.score for hit in hits])
    return [
        ScoredWork(hit.work_id, _holders(hit, people), hit.duplicate_group, hit.score, float(influence))
        for hit, influence in zip(hits, influences, strict=True)
    ]


def _holders(hit: Hit, people: People) -> Holders:
    """The people with a part of a work, each once."""
    if not hit.rights_holders:
        return whole(_contributor(hit, people))
    keyed = keyed_holders(hit.contributor, hit.contributor_id, hit.rights_holders)
    return summed((people.person(key), fraction) for key, fraction in keyed if fraction > 0.0)


def _contributor(hit: Hit, people: People) -> str:
    return people.person(key_of(hit.contributor, hit.contributor_id))


# Depends only on the corpus and the merges, which seldom change.
@lru_cache(maxsize=2)
def sample_of_people(sample: CorpusSample, people: People) -> CorpusSample:
    """The sample with one key for all names and ids of a person."""
    return sample.of_people(people.person)


def line_of(
    listed: Sequence[Group],
    vector: NDArray[np.float32],
    release: ServedRelease,
    withheld: Withheld = NOTHING_WITHHELD,
    *,
    works: int | None = None,
    people: People = EVERY_KEY,
    candidates: Candidates | None = None,
    cosines: NDArray[np.float32] | None = None,
) -> CreditLine:
    """Share the credit of a query between the listed groups and all other works.

    Args:
        listed: Duplicate groups that the answer lists.
        vector: (D,) float32, the query's vector, L2-normalised.
        release: The release, with calibration, intervals and a sample of its works.
        withheld: Withdrawn works and contributors.
        works: Number of works of the build that was searched; None: that of the release.
        people: Which names and ids are one person.
        candidates: The works that were re-ranked, of which `listed` are the first groups; None: none were.
        cosines: (M,) float32, of the query with the works of the release's sample; None: they are computed.
    """
    known = listed if candidates is None else candidates.groups
    holders = {member.work_id: member.holders for group in known for member in group.members}
    sample = sample_of_people(release.sample, people)
    others = sample.others(vector, release.calibration, holders, withheld, works=works, cosines=cosines)
    if candidates is not None:
        others = with_candidates(others, known[len(listed) :], candidates.positive)
    return credit_line(listed, others)


def credited(
    line: CreditLine,
    listed: Sequence[Group],
    hits: Mapping[str, Hit],
    release: ServedRelease,
    *,
    by_half: SharesByHalf = NOT_DIVIDED,
    people: People = EVERY_KEY,
    only_listed: bool = False,
    reranking: Reranking | None = None,
) -> Credited:
    """Describe the works and people of a credit line, with the intervals of their shares.

    Args:
        line: The shares.
        listed: Duplicate groups that the answer lists.
        hits: The search's hits by work id.
        release: The release, with intervals.
        by_half: What of the works' shares rests on picture and on prompt.
        people: Which names and ids are one person.
        only_listed: Credit only contributors of listed works, because a filter restricts these.
        reranking: Calibration of re-ranked answers where this is one, for their intervals; None for the
            release's, and where these are withheld.
    """
    named = ChainMap(_named(listed, hits, people), release.names)
    by_order = reranking.intervals if reranking is not None else None
    intervals = by_order or release.intervals
    ends = _ends_of_works(line.works, listed, release.intervals or by_order, by_order)
    divided: list[Ends] = list(zip(by_half.pictures, by_half.prompts, strict=True))
    parts = divided or [_UNKNOWN] * len(line.works)
    return Credited(
        works=tuple(
            _credited_work(share, hits[share.work.work_id], between, part, people)
            for share, between, part in zip(line.works, ends, parts, strict=True)
        ),
        contributors=tuple(
            _credited_contributor(person, intervals, _shown_as(person.name, named, people))
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


def _ends_of_works(
    shares: Sequence[WorkShare],
    listed: Sequence[Group],
    by_cosine: AnswerIntervals | None,
    by_order: AnswerIntervals | None,
) -> list[Ends]:
    """Sums of the copies' intervals, widened to include the share, which a long tail can move outside.

    Args:
        shares: Shares of the listed works.
        listed: Their duplicate groups, in the same order.
        by_cosine: Intervals of works that were not re-ranked; None: there are no intervals at all.
        by_order: Intervals of works that were; None: none were, or theirs are withheld.
    """
    if not listed or by_cosine is None:
        return [_UNKNOWN] * len(listed)
    starts = np.cumsum([0, *(len(group.members) for group in listed[:-1])])
    members = [member for group in listed for member in group.members]
    of_members = _ends_of_members(members, by_cosine, by_order)
    lows, highs = (np.add.reduceat(ends, starts).tolist() for ends in of_members)
    return [
        (min(max(low, 0.0), share.share), min(max(high, share.share), 1.0))
        for share, low, high in zip(shares, lows, highs, strict=True)
    ]


def _ends_of_members(
    members: Sequence[ScoredWork], by_cosine: AnswerIntervals, by_order: AnswerIntervals | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals of works by their order where they were re-ranked, else by their cosine: (M,), (M,)."""
    low, high = by_cosine.works.of([member.score for member in members])
    orders = [(row, member.order) for row, member in enumerate(members) if member.order is not None]
    if by_order is not None and orders:
        rows = [row for row, _ in orders]
        low[rows], high[rows] = by_order.works.of([order for _, order in orders])
    return low, high


def _named(listed: Sequence[Group], hits: Mapping[str, Hit], people: People) -> dict[str, Named]:
    """Names and ids of the people as the best work of each names them."""
    named: dict[str, Named] = {}
    for member in (member for group in listed for member in group.members):
        hit = hits[member.work_id]
        if not hit.rights_holders:
            named.setdefault(member.holders[0][0], (hit.contributor, hit.contributor_id))
            continue
        for holder in _named_holders(hit):
            named.setdefault(people.person(holder.key), (holder.name, holder.id))
    return named


def _named_holders(hit: Hit) -> Iterator[NamedHolder]:
    return named_holders(hit.contributor, hit.contributor_id, hit.rights_holders)


def _shown_as(person: str, named: Mapping[str, Named], people: People) -> PersonReference:
    """Name and id under which a person is credited: those of the corpus, else those of a work."""
    name, contributor_id = named.get(person, ("", ""))
    return PersonReference(people.shown(person, name), people.shown_id(person) or contributor_id)


def _credited_holders(hit: Hit, people: People) -> tuple[CreditedHolder, ...]:
    """The rights holders of a work, each person once; empty where the contributor has the whole credit."""
    percents: dict[str, float] = {}
    named: dict[str, Named] = {}
    for holder in _named_holders(hit):
        person = people.person(holder.key)
        percents[person] = percents.get(person, 0.0) + holder.percent
        named.setdefault(person, (holder.name, holder.id))
    if list(percents) == [_contributor(hit, people)]:
        return ()
    shown = ((_shown_as(person, named, people), percent) for person, percent in percents.items())
    return tuple(CreditedHolder(each.name, percent, each.id) for each, percent in shown)


def _credited_work(share: WorkShare, hit: Hit, ends: Ends, parts: Ends, people: People) -> CreditedWork:
    holders = share.work.holders
    contributor = _contributor(hit, people) if hit.rights_holders else holders[0][0]
    return CreditedWork(
        id=hit.work_id,
        title=hit.title,
        caption=hit.caption,
        contributor=people.shown(contributor, hit.contributor),
        licence=hit.licence,
        score=hit.score,
        expected_influence=share.work.expected_influence,
        share=share.share,
        rank=share.rank,
        copies=share.copies,
        share_low=ends[0],
        share_high=ends[1],
        contributor_id=hit.contributor_id,
        holders=_credited_holders(hit, people) if hit.rights_holders else (),
        share_from_picture=parts[0],
        share_from_prompt=parts[1],
        kernel_score=share.work.kernel_score,
    )


def _credited_contributor(
    person: ContributorShare, intervals: AnswerIntervals | None, shown: PersonReference
) -> CreditedContributor:
    low, high = intervals.contributors.of(person.share, error=person.error) if intervals else _UNKNOWN
    return CreditedContributor(
        shown.name, person.share, person.works, low, high, person.listed, contributor_id=shown.id
    )
