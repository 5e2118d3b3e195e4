import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Release(_message.Message):
    __slots__ = ("name", "created", "generator_fingerprint", "corpus_fingerprint", "towers_fingerprint", "dimension", "works", "collection")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CORPUS_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TOWERS_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    created: _timestamp_pb2.Timestamp
    generator_fingerprint: str
    corpus_fingerprint: str
    towers_fingerprint: str
    dimension: int
    works: int
    collection: str
    def __init__(self, name: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., generator_fingerprint: _Optional[str] = ..., corpus_fingerprint: _Optional[str] = ..., towers_fingerprint: _Optional[str] = ..., dimension: _Optional[int] = ..., works: _Optional[int] = ..., collection: _Optional[str] = ...) -> None: ...

class AuditedAccuracy(_message.Message):
    __slots__ = ("audits", "recall", "recall_low", "recall_high", "missed_influence")
    AUDITS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    RECALL_LOW_FIELD_NUMBER: _ClassVar[int]
    RECALL_HIGH_FIELD_NUMBER: _ClassVar[int]
    MISSED_INFLUENCE_FIELD_NUMBER: _ClassVar[int]
    audits: int
    recall: float
    recall_low: float
    recall_high: float
    missed_influence: float
    def __init__(self, audits: _Optional[int] = ..., recall: _Optional[float] = ..., recall_low: _Optional[float] = ..., recall_high: _Optional[float] = ..., missed_influence: _Optional[float] = ...) -> None: ...

class GetReleaseRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetReleaseResponse(_message.Message):
    __slots__ = ("release", "accuracy")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    release: Release
    accuracy: AuditedAccuracy
    def __init__(self, release: _Optional[_Union[Release, _Mapping]] = ..., accuracy: _Optional[_Union[AuditedAccuracy, _Mapping]] = ...) -> None: ...
