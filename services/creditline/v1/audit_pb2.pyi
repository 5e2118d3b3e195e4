import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIT_STATE_UNSPECIFIED: _ClassVar[AuditState]
    AUDIT_STATE_QUEUED: _ClassVar[AuditState]
    AUDIT_STATE_RUNNING: _ClassVar[AuditState]
    AUDIT_STATE_DONE: _ClassVar[AuditState]
    AUDIT_STATE_FAILED: _ClassVar[AuditState]
AUDIT_STATE_UNSPECIFIED: AuditState
AUDIT_STATE_QUEUED: AuditState
AUDIT_STATE_RUNNING: AuditState
AUDIT_STATE_DONE: AuditState
AUDIT_STATE_FAILED: AuditState

class SubmitAuditRequest(_message.Message):
    __slots__ = ("attribution_id",)
    ATTRIBUTION_ID_FIELD_NUMBER: _ClassVar[int]
    attribution_id: str
    def __init__(self, attribution_id: _Optional[str] = ...) -> None: ...

class SubmitAuditResponse(_message.Message):
    __slots__ = ("audit",)
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    audit: Audit
    def __init__(self, audit: _Optional[_Union[Audit, _Mapping]] = ...) -> None: ...

class GetAuditRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetAuditResponse(_message.Message):
    __slots__ = ("audit",)
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    audit: Audit
    def __init__(self, audit: _Optional[_Union[Audit, _Mapping]] = ...) -> None: ...

class ListAuditsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditsResponse(_message.Message):
    __slots__ = ("audits", "next_page_token")
    AUDITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    audits: _containers.RepeatedCompositeFieldContainer[Audit]
    next_page_token: str
    def __init__(self, audits: _Optional[_Iterable[_Union[Audit, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("query_rise", "recall", "missed_influence", "ndcg", "rank_correlation", "listed_works", "sampled_works", "seconds", "works")
    QUERY_RISE_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    MISSED_INFLUENCE_FIELD_NUMBER: _ClassVar[int]
    NDCG_FIELD_NUMBER: _ClassVar[int]
    RANK_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    LISTED_WORKS_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_WORKS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    query_rise: float
    recall: Estimate
    missed_influence: Estimate
    ndcg: Estimate
    rank_correlation: Estimate
    listed_works: int
    sampled_works: int
    seconds: float
    works: _containers.RepeatedCompositeFieldContainer[AuditedWork]
    def __init__(self, query_rise: _Optional[float] = ..., recall: _Optional[_Union[Estimate, _Mapping]] = ..., missed_influence: _Optional[_Union[Estimate, _Mapping]] = ..., ndcg: _Optional[_Union[Estimate, _Mapping]] = ..., rank_correlation: _Optional[_Union[Estimate, _Mapping]] = ..., listed_works: _Optional[int] = ..., sampled_works: _Optional[int] = ..., seconds: _Optional[float] = ..., works: _Optional[_Iterable[_Union[AuditedWork, _Mapping]]] = ...) -> None: ...

class AuditedWork(_message.Message):
    __slots__ = ("id", "influence", "listed")
    ID_FIELD_NUMBER: _ClassVar[int]
    INFLUENCE_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    influence: float
    listed: bool
    def __init__(self, id: _Optional[str] = ..., influence: _Optional[float] = ..., listed: _Optional[bool] = ...) -> None: ...

class Audit(_message.Message):
    __slots__ = ("id", "attribution_id", "state", "created", "finished", "verdict", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    attribution_id: str
    state: AuditState
    created: _timestamp_pb2.Timestamp
    finished: _timestamp_pb2.Timestamp
    verdict: Verdict
    error: str
    def __init__(self, id: _Optional[str] = ..., attribution_id: _Optional[str] = ..., state: _Optional[_Union[AuditState, str]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...
