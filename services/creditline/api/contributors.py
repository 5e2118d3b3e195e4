"""Conversion of records about merged contributors to and from protobuf."""

from __future__ import annotations

from creditline.api.answers import MergeAnswer, MergeStatus, Person
from creditline.api.timestamps import read_timestamp, timestamp_message
from creditline.v1 import contributor_pb2

_ACTION_PREFIX = "MERGE_ACTION_"


def person_message(person: Person) -> contributor_pb2.Person:
    """Convert a person to `creditline.v1.Person`."""
    if person.id:
        return contributor_pb2.Person(id=person.id)
    return contributor_pb2.Person(name=person.name)


def read_person(message: contributor_pb2.Person) -> Person:
    """Convert `creditline.v1.Person` to a person."""
    return Person(name=message.name, id=message.id)


def merge_message(merge: MergeAnswer) -> contributor_pb2.Merge:
    """Convert a record to `creditline.v1.Merge`."""
    return contributor_pb2.Merge(
        **{
            **vars(merge),
            "created": timestamp_message(merge.created),
            "person": person_message(merge.person),
            "other": person_message(merge.other),
            "action": _ACTION_PREFIX + merge.action,
        }
    )


def read_merge(message: contributor_pb2.Merge) -> MergeAnswer:
    """Convert `creditline.v1.Merge` to a record."""
    return MergeAnswer(
        sequence=message.sequence,
        id=message.id,
        created=read_timestamp(message.created),
        person=read_person(message.person),
        other=read_person(message.other),
        action=contributor_pb2.MergeAction.Name(message.action).removeprefix(_ACTION_PREFIX),
        reason=message.reason,
        requested_by=message.requested_by,
    )


def merge_status_message(status: MergeStatus) -> contributor_pb2.MergeStatus:
    """Convert a record with its progress to `creditline.v1.MergeStatus`."""
    return contributor_pb2.MergeStatus(**{**vars(status), "merge": merge_message(status.merge)})


def read_merge_status(message: contributor_pb2.MergeStatus) -> MergeStatus:
    """Convert `creditline.v1.MergeStatus` to a record with its progress."""
    return MergeStatus(
        merge=read_merge(message.merge), carried_out=message.carried_out, pending=message.pending
    )
