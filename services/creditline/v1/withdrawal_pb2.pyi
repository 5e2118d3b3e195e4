import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WithdrawalKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WITHDRAWAL_KIND_UNSPECIFIED: _ClassVar[WithdrawalKind]
    WITHDRAWAL_KIND_WORK: _ClassVar[WithdrawalKind]
    WITHDRAWAL_KIND_CONTRIBUTOR: _ClassVar[WithdrawalKind]
    WITHDRAWAL_KIND_CONTRIBUTOR_ID: _ClassVar[WithdrawalKind]

class WithdrawalAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WITHDRAWAL_ACTION_UNSPECIFIED: _ClassVar[WithdrawalAction]
    WITHDRAWAL_ACTION_WITHDRAWN: _ClassVar[WithdrawalAction]
    WITHDRAWAL_ACTION_REVOKED: _ClassVar[WithdrawalAction]
WITHDRAWAL_KIND_UNSPECIFIED: WithdrawalKind
WITHDRAWAL_KIND_WORK: WithdrawalKind
WITHDRAWAL_KIND_CONTRIBUTOR: WithdrawalKind
WITHDRAWAL_KIND_CONTRIBUTOR_ID: WithdrawalKind
WITHDRAWAL_ACTION_UNSPECIFIED: WithdrawalAction
WITHDRAWAL_ACTION_WITHDRAWN: WithdrawalAction
WITHDRAWAL_ACTION_REVOKED: WithdrawalAction

class Withdrawal(_message.Message):
    __slots__ = ("sequence", "id", "created", "kind", "subject", "action", "reason", "requested_by")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    id: str
    created: _timestamp_pb2.Timestamp
    kind: WithdrawalKind
    subject: str
    action: WithdrawalAction
    reason: str
    requested_by: str
    def __init__(self, sequence: _Optional[int] = ..., id: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[WithdrawalKind, str]] = ..., subject: _Optional[str] = ..., action: _Optional[_Union[WithdrawalAction, str]] = ..., reason: _Optional[str] = ..., requested_by: _Optional[str] = ...) -> None: ...

class WithdrawRequest(_message.Message):
    __slots__ = ("kind", "subject", "reason", "requested_by", "allow_unknown")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    ALLOW_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    kind: WithdrawalKind
    subject: str
    reason: str
    requested_by: str
    allow_unknown: bool
    def __init__(self, kind: _Optional[_Union[WithdrawalKind, str]] = ..., subject: _Optional[str] = ..., reason: _Optional[str] = ..., requested_by: _Optional[str] = ..., allow_unknown: _Optional[bool] = ...) -> None: ...

class WithdrawResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: WithdrawalStatus
    def __init__(self, status: _Optional[_Union[WithdrawalStatus, _Mapping]] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("kind", "subject", "reason", "requested_by")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    kind: WithdrawalKind
    subject: str
    reason: str
    requested_by: str
    def __init__(self, kind: _Optional[_Union[WithdrawalKind, str]] = ..., subject: _Optional[str] = ..., reason: _Optional[str] = ..., requested_by: _Optional[str] = ...) -> None: ...

class RevokeResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: WithdrawalStatus
    def __init__(self, status: _Optional[_Union[WithdrawalStatus, _Mapping]] = ...) -> None: ...

class WithdrawalStatus(_message.Message):
    __slots__ = ("withdrawal", "works", "carried_out", "pending")
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    CARRIED_OUT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    works: int
    carried_out: bool
    pending: str
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ..., works: _Optional[int] = ..., carried_out: _Optional[bool] = ..., pending: _Optional[str] = ...) -> None: ...

class ListWithdrawalsRequest(_message.Message):
    __slots__ = ("history", "after", "limit")
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    history: bool
    after: int
    limit: int
    def __init__(self, history: _Optional[bool] = ..., after: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListWithdrawalsResponse(_message.Message):
    __slots__ = ("withdrawals",)
    WITHDRAWALS_FIELD_NUMBER: _ClassVar[int]
    withdrawals: _containers.RepeatedCompositeFieldContainer[Withdrawal]
    def __init__(self, withdrawals: _Optional[_Iterable[_Union[Withdrawal, _Mapping]]] = ...) -> None: ...
