"""The forms by name, and filling of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from creditline.corpus.report import california, eu
from creditline.corpus.report.counts import CorpusCounts
from creditline.corpus.report.form import Section

TEMPLATES: Mapping[str, tuple[str, Callable[[CorpusCounts], tuple[Section, ...]]]] = MappingProxyType(
    {"eu": (eu.TITLE, eu.eu_sections), "ab2013": (california.TITLE, california.california_sections)}
)
"""Titles of the forms and their fillers, by name."""


@dataclass(frozen=True)
class Report:
    """A filled form."""

    template: str
    """Name of the template."""
    title: str
    """Title of the form."""
    sections: tuple[Section, ...]
    """Its sections."""
    counts: CorpusCounts
    """The counts that it was filled from."""

    @property
    def left_to_operator(self) -> tuple[str, ...]:
        """Names of the fields that only the operator can fill."""
        fields = (field for section in self.sections for field in section.fields)
        return tuple(field.question for field in fields if field.answer is None)


def filled(template: str, counts: CorpusCounts) -> Report:
    """Fill a form.

    Args:
        template: A key of `TEMPLATES`.
        counts: Counts of the corpus.
    """
    title, sections = TEMPLATES[template]
    return Report(template, title, sections(counts), counts)
