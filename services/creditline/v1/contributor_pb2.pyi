import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MergeAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MERGE_ACTION_UNSPECIFIED: _ClassVar[MergeAction]
    MERGE_ACTION_MERGED: _ClassVar[MergeAction]
    MERGE_ACTION_REVOKED: _ClassVar[MergeAction]
MERGE_ACTION_UNSPECIFIED: MergeAction
MERGE_ACTION_MERGED: MergeAction
MERGE_ACTION_REVOKED: MergeAction

class Person(_message.Message):
    __slots__ = ("name", "id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    id: str
    def __init__(self, name: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class Merge(_message.Message):
    __slots__ = ("sequence", "id", "created", "person", "other", "action", "reason", "requested_by")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    id: str
    created: _timestamp_pb2.Timestamp
    person: Person
    other: Person
    action: MergeAction
    reason: str
    requested_by: str
    def __init__(self, sequence: _Optional[int] = ..., id: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., person: _Optional[_Union[Person, _Mapping]] = ..., other: _Optional[_Union[Person, _Mapping]] = ..., action: _Optional[_Union[MergeAction, str]] = ..., reason: _Optional[str] = ..., requested_by: _Optional[str] = ...) -> None: ...

class MergeRequest(_message.Message):
    __slots__ = ("person", "other", "reason", "requested_by", "allow_unknown")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    ALLOW_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    person: Person
    other: Person
    reason: str
    requested_by: str
    allow_unknown: bool
    def __init__(self, person: _Optional[_Union[Person, _Mapping]] = ..., other: _Optional[_Union[Person, _Mapping]] = ..., reason: _Optional[str] = ..., requested_by: _Optional[str] = ..., allow_unknown: _Optional[bool] = ...) -> None: ...

class MergeResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: MergeStatus
    def __init__(self, status: _Optional[_Union[MergeStatus, _Mapping]] = ...) -> None: ...

class RevokeMergeRequest(_message.Message):
    __slots__ = ("person", "other", "reason", "requested_by")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    person: Person
    other: Person
    reason: str
    requested_by: str
    def __init__(self, person: _Optional[_Union[Person, _Mapping]] = ..., other: _Optional[_Union[Person, _Mapping]] = ..., reason: _Optional[str] = ..., requested_by: _Optional[str] = ...) -> None: ...

class RevokeMergeResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: MergeStatus
    def __init__(self, status: _Optional[_Union[MergeStatus, _Mapping]] = ...) -> None: ...

class MergeStatus(_message.Message):
    __slots__ = ("merge", "carried_out", "pending")
    MERGE_FIELD_NUMBER: _ClassVar[int]
    CARRIED_OUT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    merge: Merge
    carried_out: bool
    pending: str
    def __init__(self, merge: _Optional[_Union[Merge, _Mapping]] = ..., carried_out: _Optional[bool] = ..., pending: _Optional[str] = ...) -> None: ...

class ListMergesRequest(_message.Message):
    __slots__ = ("history", "after", "limit")
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    history: bool
    after: int
    limit: int
    def __init__(self, history: _Optional[bool] = ..., after: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListMergesResponse(_message.Message):
    __slots__ = ("merges",)
    MERGES_FIELD_NUMBER: _ClassVar[int]
    merges: _containers.RepeatedCompositeFieldContainer[Merge]
    def __init__(self, merges: _Optional[_Iterable[_Union[Merge, _Mapping]]] = ...) -> None: ...

class ListContributorsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListContributorsResponse(_message.Message):
    __slots__ = ("contributors", "next_page_token")
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    contributors: _containers.RepeatedCompositeFieldContainer[Contributor]
    next_page_token: str
    def __init__(self, contributors: _Optional[_Iterable[_Union[Contributor, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Contributor(_message.Message):
    __slots__ = ("name", "contributor_id", "works", "withdrawn", "withdrawn_since")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_SINCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    contributor_id: str
    works: int
    withdrawn: bool
    withdrawn_since: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., contributor_id: _Optional[str] = ..., works: _Optional[int] = ..., withdrawn: _Optional[bool] = ..., withdrawn_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
