"""Extension of a record of removals: what a plan has and the record lacks, and the union of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.lab.removal.removals import Removal, RemovalRecord


def missing_removals(record: RemovalRecord, planned: Sequence[Removal]) -> list[Removal]:
    """The planned removals that a record lacks, in the plan's order.

    Args:
        record: Record of finished removals.
        planned: Removals of the plan.

    Raises:
        FingerprintMismatch: A removal of the record has the name of a planned one, but other works or seed.
    """
    known = {removal.name: removal for removal in record.removals}
    for removal in planned:
        if removal.name in known and known[removal.name] != removal:
            raise FingerprintMismatch(
                f"the record's removal {removal.name!r} leaves out other works, or has another seed, than the"
                " plan's; write a new record, without --known",
                field="known",
            )
    return [removal for removal in planned if removal.name not in known]


def extended(record: RemovalRecord, added: RemovalRecord) -> RemovalRecord:
    """A record with the removals of another one after its own.

    Args:
        record: The record to extend; its removals keep their losses.
        added: The other record.

    Raises:
        InvalidInput: A removal is in both records, or their losses have different shapes.
    """
    shared = {removal.name for removal in record.removals} & {removal.name for removal in added.removals}
    if shared:
        raise InvalidInput(f"removal {min(shared)!r} is in both records; leave it out of one")
    if record.losses.shape[1:] != added.losses.shape[1:]:
        raise InvalidInput(
            f"losses of {record.losses.shape[1:]} and of {added.losses.shape[1:]} queries and timesteps"
            " cannot stand in one record; both must be of one lab"
        )
    return RemovalRecord(
        record.removals + added.removals,
        np.concatenate([record.losses, added.losses]),
        record.pictures + added.pictures,
    )
