"""Requests that may be repeated: one row however often they are sent, and the first reply for a day."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from creditline.errors import Conflict
from creditline.ledger import Ledger
from creditline.ledger.api.replies import ReplyOnce, RequestKey
from tests.ledger.conftest import MovableClock

_DAY = 24 * 60 * 60
_KEY = RequestKey("museum", "one", "d" * 64)


def _record(
    ledger: Ledger, key: RequestKey, reply: Callable[[str], bytes] = lambda own: f"first {own}".encode()
) -> str:
    return ledger.record_attribution(
        release="r1",
        generator="a" * 64,
        corpus="b" * 64,
        prompt="a kite",
        image=b"\x89PNG...",
        k=10,
        answer={"works": [], "remainder": 1.0},
        owner=key.owner,
        once=ReplyOnce(key, reply),
    )


def test_a_repeated_request_is_recorded_once_and_keeps_its_first_reply(ledger: Ledger) -> None:
    assert ledger.kept_reply(_KEY) is None
    first = _record(ledger, _KEY)
    assert _record(ledger, _KEY, lambda own: b"second") == first
    assert ledger.kept_reply(_KEY) == f"first {first}".encode()
    assert ledger.verify_chain().attributions == 1


def test_another_request_under_the_same_id_is_a_conflict_that_names_the_id(ledger: Ledger) -> None:
    _record(ledger, _KEY)
    other = RequestKey("museum", "one", "e" * 64)
    for ask in (ledger.kept_reply, lambda key: _record(ledger, key)):
        with pytest.raises(Conflict, match="'one' was used for another request") as refused:
            ask(other)
        assert refused.value.field == "request_id"
    assert ledger.verify_chain().attributions == 1


def test_ids_of_two_owners_have_nothing_to_do_with_each_other(ledger: Ledger) -> None:
    _record(ledger, _KEY)
    _record(ledger, RequestKey("archive", "one", "e" * 64))
    assert ledger.verify_chain().attributions == 2


def test_after_a_day_an_id_is_free_again_and_its_reply_is_removed(
    ledger: Ledger, clock: MovableClock, ledger_url: str
) -> None:
    first = _record(ledger, _KEY)
    _record(ledger, RequestKey("museum", "two", "e" * 64))
    clock.pass_seconds(_DAY - 1)
    assert ledger.kept_reply(_KEY) is not None
    clock.pass_seconds(1)
    assert ledger.kept_reply(_KEY) is None
    assert _record(ledger, RequestKey("museum", "one", "f" * 64)) != first
    with create_engine(ledger_url).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM request_ids")) == 1
    assert ledger.verify_chain().attributions == 3


def test_a_reply_that_cannot_be_made_leaves_no_row(ledger: Ledger) -> None:
    def failing(_attribution_id: str) -> bytes:
        raise ValueError("no reply")

    with pytest.raises(ValueError, match="no reply"):
        _record(ledger, _KEY, failing)
    assert ledger.verify_chain().attributions == 0
    _record(ledger, _KEY)


def test_ledgers_that_record_one_request_at_once_write_one_row(
    ledger: Ledger, clock: MovableClock, ledger_url: str
) -> None:
    with Ledger.open(ledger_url, clock=clock) as other, ThreadPoolExecutor(8) as threads:
        recorded = list(threads.map(lambda number: _record((ledger, other)[number % 2], _KEY), range(16)))
    assert len(set(recorded)) == 1
    assert ledger.verify_chain().attributions == 1
