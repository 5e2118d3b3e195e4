"""Works added to a release: statements and what became of them, in a chain of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from creditline.errors import InvalidInput, NotFound
from creditline.ledger import AdditionKind, Ledger, ledger_exists

_BASE, _TUNED = "a" * 64, "b" * 64


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


def _check(ledger: Ledger, addition: str, holds: str) -> None:
    ledger.record_addition(
        AdditionKind.CHECKED, release="mine", generator=_TUNED, addition=addition, content={"holds": holds}
    )


def test_statements_are_read_with_their_generator_and_what_became_of_them(ledger: Ledger) -> None:
    first = ledger.record_addition(
        AdditionKind.STATED, release="mine", generator=_TUNED, content={"works": 3}, requested_by="Ann"
    )
    ledger.record_addition(AdditionKind.STATED, release="other", generator=_BASE, content={})
    before = ledger.additions("mine")
    ledger.record_addition(
        AdditionKind.ADDED, release="mine", generator=_TUNED, addition=first.id, content={"written": 3}
    )
    found = ledger.additions("mine")
    assert found.statement(first.id) == first
    assert (first.content, first.requested_by, first.addition) == ({"works": 3}, "Ann", first.id)
    assert found.generators == {_TUNED}
    assert (before.is_added(first.id), found.is_added(first.id)) == (False, True)
    assert found.until(before.sequence) == before
    assert found.of_generator(_BASE).records == ()
    with pytest.raises(NotFound, match="no addition 'missing'"):
        found.statement("missing")


def test_a_calibration_that_does_not_hold_stays_so_until_a_check_says_that_it_does(ledger: Ledger) -> None:
    stated = ledger.record_addition(AdditionKind.STATED, release="mine", generator=_TUNED, content={})
    assert ledger.additions("mine").calibration_holds is None
    outcomes = []
    for holds in ("unknown", "no", "unknown", "yes"):
        _check(ledger, stated.id, holds)
        outcomes.append(ledger.additions("mine").calibration_holds)
    assert outcomes == ["unknown", "no", "no", "yes"]


def test_a_changed_statement_is_found(ledger: Ledger, tmp_path: Path) -> None:
    stated = ledger.record_addition(AdditionKind.STATED, release="mine", generator=_TUNED, content={})
    _check(ledger, stated.id, "no")
    report = ledger.verify_chain()
    assert (report.intact, report.additions) == (True, 2)
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE additions SET generator = :base WHERE sequence = 1"), {"base": _BASE})
    engine.dispose()
    report = ledger.verify_chain()
    assert (report.broken_at, report.additions) == (stated.id, 0)


@pytest.mark.parametrize(
    ("generator", "requested_by", "why"),
    [("mine", "", "not the fingerprint of a generator"), (_BASE, "x" * 201, "at most 200 characters")],
)
def test_a_statement_that_names_no_generator_is_refused(
    ledger: Ledger, generator: str, requested_by: str, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        ledger.record_addition(
            AdditionKind.STATED, release="mine", generator=generator, content={}, requested_by=requested_by
        )


def test_whether_a_ledger_exists_is_known_without_making_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/somewhere/ledger.db"
    assert not ledger_exists(url)
    assert not (tmp_path / "somewhere").exists()
    Ledger.open(url).close()
    assert ledger_exists(url)
