"""A ledger on a real SQLite file, and a clock that tests can advance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from creditline.api.answers import AuditedWork, Estimate, Verdict
from creditline.ledger import Ledger


class MovableClock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state/ledger.db"


@pytest.fixture
def ledger(ledger_url: str, clock: MovableClock) -> Iterator[Ledger]:
    with Ledger.open(ledger_url, clock=clock) as opened:
        yield opened


def record(
    ledger: Ledger,
    prompt: str = "a red ladybug",
    *,
    release: str = "r1",
    with_audit: bool = False,
    awaits_delivery: bool = False,
) -> str:
    """Record one attribution with plausible content."""
    return ledger.record_attribution(
        release=release,
        generator="a" * 64,
        corpus="b" * 64,
        prompt=prompt,
        image=b"\x89PNG...",
        k=10,
        answer={"works": [{"id": "w1", "share": 0.5}], "remainder": 0.5},
        with_audit=with_audit,
        awaits_delivery=awaits_delivery,
    )


def verdict(recall: float, missed: float = 0.25) -> Verdict:
    """A verdict with a given recall and missed influence."""
    return Verdict(
        query_rise=1.1,
        recall=Estimate(recall, recall, recall),
        missed_influence=Estimate(missed, missed, missed),
        ndcg=Estimate(0.5, 0.4, 0.6),
        rank_correlation=Estimate(0.3, 0.1, 0.5),
        listed_works=10,
        sampled_works=2,
        seconds=1.5,
        works=(AuditedWork("a", 0.25, True), AuditedWork("b", -0.125, False)),
    )
