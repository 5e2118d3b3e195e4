"""Verification of the ledger: both hash chains are recomputed."""

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
# Key in a stored answer: number of withdrawal requests known when the answer was made.
WITHDRAWALS_KNOWN = "withdrawals"


@dataclass(frozen=True)
class _ChainCheck:
    """Result for one chain."""

    valid: int
    """Number of rows before the first mismatch."""
    head: str
    """Hash of the last of them."""
    broken_at: str | None
    """Id of the first row that does not match; None: no mismatch."""


def verified_chains(connection: Connection) -> ChainReport:
    """Recompute the hashes of each chain, in order, up to its first mismatch.

    A chain alone does not show that its end is missing. The newest answer records how many withdrawal
    requests it knew, which must not exceed the number in the ledger.
    """
    answers = _check_chain(connection, attributions, attribution_hash)
    requests = _check_chain(connection, withdrawals, withdrawal_hash)
    broken_at = answers.broken_at or requests.broken_at
    known = _withdrawals_known(connection)
    if broken_at is None and known > _last_sequence(connection):
        broken_at = f"withdrawal {known}"
    return ChainReport(answers.valid, answers.head, broken_at, requests.valid, requests.head)


def _check_chain(
    connection: Connection, table: Table, hash_of: Callable[[str, Mapping[str, Any]], str]
) -> _ChainCheck:
    previous, count = GENESIS, 0
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(
        select(table).order_by(table.c.sequence)
    )
    for row in rows:
        if row.previous_hash != previous or row.hash != hash_of(previous, dict(row._mapping)):
            return _ChainCheck(count, previous, row.id)
        previous, count = row.hash, count + 1
    return _ChainCheck(count, previous, None)


def _withdrawals_known(connection: Connection) -> int:
    newest = select(attributions.c.answer).order_by(attributions.c.sequence.desc()).limit(1)
    answer = connection.scalar(newest)
    return 0 if answer is None else int(json.loads(answer).get(WITHDRAWALS_KNOWN, 0))


def _last_sequence(connection: Connection) -> int:
    last = select(withdrawals.c.sequence).order_by(withdrawals.c.sequence.desc()).limit(1)
    return connection.scalar(last) or 0
