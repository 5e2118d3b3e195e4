from creditline.v1 import embedder_pb2 as _embedder_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RerankRequest(_message.Message):
    __slots__ = ("pixels", "prompt", "release", "work_ids")
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    WORK_IDS_FIELD_NUMBER: _ClassVar[int]
    pixels: _embedder_pb2.Pixels
    prompt: str
    release: str
    work_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pixels: _Optional[_Union[_embedder_pb2.Pixels, _Mapping]] = ..., prompt: _Optional[str] = ..., release: _Optional[str] = ..., work_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RerankResponse(_message.Message):
    __slots__ = ("works", "release", "rows", "gradient_ms", "kernel_ms")
    class Work(_message.Message):
        __slots__ = ("id", "score")
        ID_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        id: str
        score: float
        def __init__(self, id: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
    WORKS_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_MS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_MS_FIELD_NUMBER: _ClassVar[int]
    works: _containers.RepeatedCompositeFieldContainer[RerankResponse.Work]
    release: str
    rows: str
    gradient_ms: float
    kernel_ms: float
    def __init__(self, works: _Optional[_Iterable[_Union[RerankResponse.Work, _Mapping]]] = ..., release: _Optional[str] = ..., rows: _Optional[str] = ..., gradient_ms: _Optional[float] = ..., kernel_ms: _Optional[float] = ...) -> None: ...
