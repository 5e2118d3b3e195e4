"""What the gateway knows of withdrawals, against a real ledger that others write to."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import Unavailable
from creditline.gateway.use_cases.subjects import similar_names
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.ledger import Ledger, WithdrawalKind
from creditline.ledger.database.threads import LedgerThreads
from tests.gateway.stepped_threads import SteppedThreads
from tests.ledger.conftest import MovableClock

_NUMBERS = itertools.count()
# One event, and how many turns of the loop follow it.
Step = tuple[str, int]
EVENTS = ("ask", "read", "fail", "hand over", "cancel first", "cancel last")
# A play that has not ended after so many reads of the ledger never ends.
_MOST_READS = 100


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


@contextmanager
def _failing_database() -> Iterator[None]:
    """Every statement of this process fails as it does when the disk is gone."""

    def fail(*_: Any) -> None:
        raise OperationalError("SELECT", None, Exception("disk I/O error"))

    event.listen(Engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", fail)


class _Play:
    """Callers of one register on one loop; each asks right after a withdrawal of its own was acknowledged."""

    def __init__(self, ledger: Ledger, another: Ledger) -> None:
        # Names of its own, so that a withdrawal of an earlier play proves nothing.
        self.number = next(_NUMBERS)
        self.register = WithdrawnRegister(ledger)
        self.register.load()
        self.threads = SteppedThreads()
        ledger.threads = LedgerThreads(readers=self.threads)
        self.another = another
        self.callers: list[asyncio.Task[Withdrawn]] = []
        self.acknowledged: list[frozenset[str]] = []
        self.cancelled: set[int] = set()
        self.failures = 0

    async def run(self, steps: Sequence[Step]) -> None:
        """Play the steps, then let every read succeed until all callers have an end."""
        for name, turns in steps:
            self._do(name)
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(_MOST_READS):
            for _ in range(4):
                await asyncio.sleep(0)
            if not self._unfinished():
                return
            self._do("read")
            self._do("hand over")
        raise AssertionError(f"{len(self._unfinished())} callers wait for ever")

    def check(self) -> None:
        """Who was answered knows all that was acknowledged before; who was not, was cancelled or failed."""
        failed = 0
        for number, (caller, known) in enumerate(zip(self.callers, self.acknowledged, strict=True)):
            if caller.cancelled():
                assert number in self.cancelled
            elif caller.exception() is not None:
                assert isinstance(caller.exception(), Unavailable)
                failed += 1
            else:
                assert known <= caller.result().works, f"caller {number} does not know all of {sorted(known)}"
        assert failed <= self.failures, "a failed read is its own caller's only"

    def _unfinished(self) -> list[int]:
        return [number for number, caller in enumerate(self.callers) if not caller.done()]

    def _do(self, name: str) -> None:
        unfinished = self._unfinished()
        if name == "ask":
            subject = f"work {len(self.callers)} of play {self.number}"
            self.another.withdraw(WithdrawalKind.WORK, subject)
            self.acknowledged.append(frozenset((subject,)).union(*self.acknowledged[-1:]))
            self.callers.append(asyncio.ensure_future(self.register.as_of_now()))
        elif name == "read" and self.threads.waiting:
            self.threads.do_oldest()
        elif name == "hand over" and self.threads.done:
            self.threads.hand_over()
        elif name == "fail" and self.threads.waiting:
            self.failures += 1
            with _failing_database():
                self.threads.do_oldest()
        elif name.startswith("cancel") and unfinished:
            number = unfinished[0 if name == "cancel first" else -1]
            self.cancelled.add(number)
            self.callers[number].cancel()


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Ledger]]:
    """One ledger, opened by the gateway and by another."""
    url = f"sqlite:///{tmp_path_factory.mktemp('plays')}/ledger.db"
    with Ledger.open(url) as ledger, Ledger.open(url) as another:
        yield ledger, another


def _play(steps: Sequence[Step], ledgers: tuple[Ledger, Ledger]) -> None:
    play = _Play(*ledgers)
    asyncio.run(play.run(steps))
    play.check()


# The first caller's read of the ledger is older than the other two callers. The second caller begins the read
# that the third waits for.
_TWO_WAIT: tuple[Step, ...] = (("ask", 2), ("read", 0), ("ask", 2), ("ask", 2), ("hand over", 3))


@pytest.mark.parametrize("end", [[("fail", 0), ("hand over", 3)], [("cancel first", 3)]])
def test_who_waited_for_a_reader_that_failed_or_was_cancelled_reads_again(
    ledgers: tuple[Ledger, Ledger], end: list[Step]
) -> None:
    _play([*_TWO_WAIT, *end], ledgers)


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_an_acknowledged_withdrawal_holds_whoever_fails_or_is_cancelled_at_whichever_await(
    ledgers: tuple[Ledger, Ledger], turns: int
) -> None:
    for two in itertools.product(EVENTS, repeat=2):
        _play([*_TWO_WAIT, *((name, turns) for name in two)], ledgers)
        _play([*_TWO_WAIT[:4], *((name, turns) for name in ("hand over", *two))], ledgers)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 3)), max_size=30))
def test_an_acknowledged_withdrawal_holds_in_every_order_of_events(
    ledgers: tuple[Ledger, Ledger], steps: list[Step]
) -> None:
    _play(steps, ledgers)


def test_of_many_at_once_those_that_are_not_cancelled_know_all_that_was_acknowledged(url: str) -> None:
    chance = random.Random(7)
    with Ledger.open(url) as ledger, Ledger.open(url) as another:
        register = WithdrawnRegister(ledger)

        async def write_and_ask(number: int, patience_seconds: float) -> bool | None:
            await asyncio.to_thread(another.withdraw, WithdrawalKind.WORK, f"w{number}")
            try:
                async with asyncio.timeout(patience_seconds):
                    return (await register.as_of_now()).covers(f"w{number}")
            except TimeoutError:
                return None

        async def all_of_them() -> list[bool | None]:
            patience = [chance.choice([0.0, 0.001, 0.01, 60.0]) for _ in range(200)]
            return await asyncio.gather(*(write_and_ask(*each) for each in enumerate(patience)))

        answers = asyncio.run(all_of_them())
        assert False not in answers
        assert answers.count(True) >= 30, "those with a minute's patience are answered"


def test_it_follows_withdrawals_and_knows_the_start_of_each(url: str) -> None:
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
        ledger.revoke(WithdrawalKind.CONTRIBUTOR, "Ana")
        asyncio.run(register.as_of_now())
        assert register.since("w2", "Ana") is register.contributor_since("Ana") is None
        assert register.now == Withdrawn(
            works=frozenset({"w1"}), sequence=3, revoked_contributors=frozenset({"Ana"})
        )


@pytest.mark.parametrize("slip", ["ana example", "Ana Exmaple", "ANA EXAMPLE "])
def test_the_nearest_name_is_found_whatever_the_case(slip: str) -> None:
    assert similar_names(slip, frozenset({"Ana Example", "Bo", "Cleo Sample"}))[0] == "Ana Example"
