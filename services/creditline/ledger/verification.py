"""Verification of the ledger: all hash chains are recomputed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select

from creditline.ledger.chain import GENESIS, addition_hash, attribution_hash, merge_hash, withdrawal_hash
from creditline.ledger.records import ChainReport
from creditline.ledger.tables import additions, attributions, contributor_merges, withdrawals

_ROWS_AT_ONCE = 100
# Key in a stored answer: number of withdrawal requests known when the answer was made.
WITHDRAWALS_KNOWN = "withdrawals"
# The same, of records about merged contributors.
MERGES_KNOWN = "merges"
# Key in a stored answer: position in the chain of additions up to which it was made.
ADDITIONS_KNOWN = "additions"


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
    requests and merges it knew, which must not exceed the numbers in the ledger.
    """
    answers = _check_chain(connection, attributions, attribution_hash)
    requests = _check_chain(connection, withdrawals, withdrawal_hash)
    merges = _check_chain(connection, contributor_merges, merge_hash)
    added = _check_chain(connection, additions, addition_hash)
    broken_at = answers.broken_at or requests.broken_at or merges.broken_at or added.broken_at
    if broken_at is None:
        broken_at = _missing_end(connection)
    return ChainReport(
        answers.valid,
        answers.head,
        broken_at,
        requests.valid,
        requests.head,
        merges.valid,
        merges.head,
        added.valid,
    )


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


def _missing_end(connection: Connection) -> str | None:
    """The last row that the newest answer knew, where the ledger ends before it."""
    newest = select(attributions.c.answer).order_by(attributions.c.sequence.desc()).limit(1)
    answer = json.loads(connection.scalar(newest) or "{}")
    for known, table, noun in (
        (WITHDRAWALS_KNOWN, withdrawals, "withdrawal"),
        (MERGES_KNOWN, contributor_merges, "merge"),
        (ADDITIONS_KNOWN, additions, "record about added works"),
    ):
        number = int(answer.get(known, 0))
        if number > _last_sequence(connection, table):
            return f"{noun} {number}"
    return None


def _last_sequence(connection: Connection, table: Table) -> int:
    last = select(table.c.sequence).order_by(table.c.sequence.desc()).limit(1)
    return connection.scalar(last) or 0
