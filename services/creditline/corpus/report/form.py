"""Fields and sections of a form, and the answers that several forms share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from creditline.corpus.report.counts import CorpusCounts

# Entries of a list in a form; the JSON has the counts as a whole.
_LISTED = 50


@dataclass(frozen=True)
class Answer:
    """One field of a form."""

    question: str
    """Name of the field."""
    answer: str | tuple[str, ...] | None
    """What the data say, as a text or as a list; None for a field that only the operator can fill."""


@dataclass(frozen=True)
class Section:
    """A section of a form."""

    title: str
    """Number and title."""
    fields: tuple[Answer, ...]
    """Fields in the order of the form."""


def stated_licences(counts: CorpusCounts) -> tuple[Answer, ...]:
    """The licences that the works state, the most frequent first."""
    return (Answer("Licences as stated, by works", listed(counts.licences)),)


def contributors(counts: CorpusCounts) -> tuple[Answer, ...]:
    """The contributors: how many are named, and who has the most works."""
    return (
        Answer("Contributors who are named", f"{counts.contributors:,}"),
        Answer("Contributors with the most works", listed(counts.largest_contributors)),
        Answer("Works without a named contributor", f"{counts.without_contributor:,}"),
    )


def origins(counts: CorpusCounts) -> tuple[Answer, ...]:
    """The hosts of the works' addresses, the largest by size first."""
    return (Answer("Sources, by works", listed({host: one.works for host, one in counts.origins.items()})),)


def period(counts: CorpusCounts) -> tuple[Answer, ...]:
    """Dates of the works."""
    span = f"{counts.first_date} to {counts.last_date}" if counts.first_date else "no work is dated"
    return (
        Answer("Period in which the works were made or published", span),
        Answer("Works by year", listed(counts.years)),
        Answer("Works without a date", f"{counts.undated:,}"),
    )


def consent(counts: CorpusCounts, uses: tuple[str, ...]) -> tuple[Answer, ...]:
    """What is said about some uses of the works."""
    return tuple(
        Answer(f"Statements in the data about {use.replace('_', ' ')}, by works", listed(counts.consent[use]))
        for use in uses
    )


def listed(counts: Mapping[str, int]) -> tuple[str, ...]:
    """The first fifty counts as lines of a list, and what the others sum to."""
    first = list(counts.items())[:_LISTED]
    lines = [f"{name}: {count:,}" for name, count in first]
    others = len(counts) - len(first)
    if others:
        rest = sum(counts.values()) - sum(count for _, count in first)
        lines.append(f"{others:,} others together: {rest:,}")
    return tuple(lines)


def operator(*questions: str) -> tuple[Answer, ...]:
    """Fields that only the operator can fill."""
    return tuple(Answer(question, None) for question in questions)
