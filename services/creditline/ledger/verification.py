"""Whether the ledger is as it was written: both hash chains, recomputed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select

from creditline.ledger.chain import GENESIS, attribution_hash, withdrawal_hash
from creditline.ledger.records import ChainReport
from creditline.ledger.tables import attributions, withdrawals

_ROWS_AT_ONCE = 100
# In a stored answer: how many withdrawals were known when it was made.
WITHDRAWALS_KNOWN = "withdrawals"


@dataclass(frozen=True)
class _Checked:
    """How many rows fit, the hash of the last of them, and the first row that does not."""

    fitting: int
    head: str
    broken_at: str | None


def verified_chains(connection: Connection) -> ChainReport:
    """Recompute every hash, in order, of each chain up to its first misfit.

    A chain does not show that its end is missing: that the newest answer knew no more withdrawals than there
    are does.
    """
    answers = _checked(connection, attributions, attribution_hash)
    requests = _checked(connection, withdrawals, withdrawal_hash)
    broken_at = answers.broken_at or requests.broken_at
    known = _withdrawals_known(connection)
    if broken_at is None and known > _last_sequence(connection):
        broken_at = f"withdrawal {known}"
    return ChainReport(answers.fitting, answers.head, broken_at, requests.fitting, requests.head)


def _checked(
    connection: Connection, table: Table, hash_of: Callable[[str, Mapping[str, Any]], str]
) -> _Checked:
    previous, count = GENESIS, 0
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(
        select(table).order_by(table.c.sequence)
    )
    for row in rows:
        if row.previous_hash != previous or row.hash != hash_of(previous, dict(row._mapping)):
            return _Checked(count, previous, row.id)
        previous, count = row.hash, count + 1
    return _Checked(count, previous, None)


def _withdrawals_known(connection: Connection) -> int:
    newest = select(attributions.c.answer).order_by(attributions.c.sequence.desc()).limit(1)
    answer = connection.scalar(newest)
    return 0 if answer is None else int(json.loads(answer).get(WITHDRAWALS_KNOWN, 0))


def _last_sequence(connection: Connection) -> int:
    last = select(withdrawals.c.sequence).order_by(withdrawals.c.sequence.desc()).limit(1)
    return connection.scalar(last) or 0
