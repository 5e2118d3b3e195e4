"""Counts of works by what is said about their use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from creditline.corpus.consent.uses import Consent, Permission, Use


@dataclass
class ConsentCounts:
    """Running counts of works by use and permission."""

    _counts: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, consent: Consent) -> None:
        """Count one work."""
        self._counts[tuple(consent.by_use.values())] += 1

    def by_use(self) -> dict[str, dict[str, int]]:
        """Number of works by the name of the use and by permission, without permissions that no work has."""
        counts: dict[str, dict[str, int]] = {}
        for position, use in enumerate(Use):
            totals: Counter[str] = Counter()
            for permissions, count in self._counts.items():
                totals[permissions[position]] += count
            counts[use.value] = {name: totals[name] for name in map(str, Permission) if totals[name]}
        return counts
