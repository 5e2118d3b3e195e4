"""Fields and sections of a form, and the answers that several forms share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from creditline.corpus.report.counts import CorpusCounts

_LISTED_LICENCES = 50


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
    first = dict(list(counts.licences.items())[:_LISTED_LICENCES])
    others = len(counts.licences) - len(first)
    return (
        Answer("Licences as stated, by works", listed(first) or "none"),
        *([Answer("Further licences that are not listed", f"{others:,}")] if others else []),
    )


def period(counts: CorpusCounts) -> tuple[Answer, ...]:
    """Dates of the works."""
    span = f"{counts.first_date} to {counts.last_date}" if counts.first_date else "no work is dated"
    return (
        Answer("Period in which the works were made or published", span),
        Answer("Works by year", listed(counts.years) or "none"),
        Answer("Works without a date", f"{counts.undated:,}"),
    )


def consent(counts: CorpusCounts, uses: tuple[str, ...]) -> tuple[Answer, ...]:
    """What is said about some uses of the works."""
    return tuple(
        Answer(f"Statements in the data about {use.replace('_', ' ')}, by works", listed(counts.consent[use]))
        for use in uses
    )


def listed(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Counts as lines of a list."""
    return tuple(f"{name}: {count:,}" for name, count in counts.items())


def operator(*questions: str) -> tuple[Answer, ...]:
    """Fields that only the operator can fill."""
    return tuple(Answer(question, None) for question in questions)
