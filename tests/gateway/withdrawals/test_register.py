"""What the gateway knows of withdrawals, against a real ledger that others write to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from creditline.corpus.withdrawn import Withdrawn
from creditline.gateway.use_cases.withdrawals import nearest
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.ledger import Ledger, WithdrawalKind
from tests.ledger.conftest import MovableClock


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def test_whoever_asks_sees_what_was_written_before_however_many_ask_at_once(url: str) -> None:
    with Ledger.open(url) as ledger, Ledger.open(url) as another:
        register = WithdrawnRegister(ledger)

        async def write_and_ask(number: int) -> bool:
            await asyncio.to_thread(another.withdraw, WithdrawalKind.WORK, f"w{number}")
            return (await register.as_of_now()).covers(f"w{number}")

        async def all_of_them() -> list[bool]:
            return await asyncio.gather(*(write_and_ask(number) for number in range(60)))

        assert asyncio.run(all_of_them()) == [True] * 60
        assert register.now == ledger.withdrawn()


def test_it_follows_wishes_and_knows_since_when_each_stands(url: str) -> None:
    clock = MovableClock()
    with Ledger.open(url, clock=clock) as ledger:
        by_work = ledger.withdraw(WithdrawalKind.WORK, "w1").created
        register = WithdrawnRegister(ledger)
        register.load()
        clock.pass_seconds(60)
        by_name = ledger.withdraw(WithdrawalKind.CONTRIBUTOR, "Ana").created
        asyncio.run(register.as_of_now())
        assert register.since("w1", "Ana") == by_work
        assert register.since("w2", "Bo", "Ana") == register.contributor_since("Ana") == by_name
        assert register.since("w2", "Bo") is register.contributor_since("Bo") is None
        ledger.take_back(WithdrawalKind.CONTRIBUTOR, "Ana")
        asyncio.run(register.as_of_now())
        assert register.since("w2", "Ana") is register.contributor_since("Ana") is None
        assert register.now == Withdrawn(
            works=frozenset({"w1"}), sequence=3, returned_contributors=frozenset({"Ana"})
        )


@pytest.mark.parametrize("slip", ["ana example", "Ana Exmaple", "ANA EXAMPLE "])
def test_the_nearest_name_is_found_whatever_the_case(slip: str) -> None:
    assert nearest(slip, frozenset({"Ana Example", "Bo", "Cleo Sample"}))[0] == "Ana Example"
