"""Pages of attributions and audits: complete, in order, and unmoved by what is added meanwhile."""

from __future__ import annotations

from creditline.ledger import Ledger
from tests.ledger.conftest import MovableClock, record


def _attributions(ledger: Ledger, limit: int, owner: str | None = None) -> list[str]:
    """Ids of all attributions, read page by page while one more is recorded after each."""
    ids: list[str] = []
    last = None
    while page := ledger.attributions_before(last, limit=limit, owner=owner):
        ids += [each.id for each in page]
        last = page[-1].sequence
        record(ledger, "recorded meanwhile")
    return ids


def test_attributions_are_listed_newest_first_however_long_the_pages_are(ledger: Ledger) -> None:
    recorded = [record(ledger, f"prompt {number}") for number in range(7)]
    assert _attributions(ledger, limit=3) == recorded[::-1]
    assert _attributions(ledger, limit=100)[-7:] == recorded[::-1]


def test_only_the_owners_attributions_are_listed(ledger: Ledger) -> None:
    record(ledger)
    assert ledger.attributions_before(None, limit=10, owner="museum") == ()
    (listed,) = ledger.attributions_before(None, limit=10, owner="")
    assert (listed.prompt, listed.release, listed.k) == ("a red ladybug", "r1", 10)


def test_audits_are_listed_newest_first_also_those_of_one_moment(ledger: Ledger, clock: MovableClock) -> None:
    queued = []
    for number in range(6):
        audit = ledger.submit_audit(record(ledger))
        queued.append((audit.created, audit.id))
        if number == 2:
            clock.pass_seconds(1)
    listed: list[tuple[object, str]] = []
    last = None
    while page := ledger.audits_before(last, limit=2):
        last = page[-1].created, page[-1].id
        listed += [(each.created, each.id) for each in page]
    assert listed == sorted(queued, reverse=True)
    assert ledger.audits_before(None, limit=10, owner="museum") == ()
    assert len(ledger.audits_before(None, limit=10, owner="")) == 6
