from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_QUERY: _ClassVar[Side]
    SIDE_WORK: _ClassVar[Side]
SIDE_UNSPECIFIED: Side
SIDE_QUERY: Side
SIDE_WORK: Side

class Pixels(_message.Message):
    __slots__ = ("width", "height", "rgb")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    rgb: bytes
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., rgb: _Optional[bytes] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("items", "side", "release", "report_faults", "halves")
    class Item(_message.Message):
        __slots__ = ("image", "text", "pixels")
        IMAGE_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        PIXELS_FIELD_NUMBER: _ClassVar[int]
        image: bytes
        text: str
        pixels: Pixels
        def __init__(self, image: _Optional[bytes] = ..., text: _Optional[str] = ..., pixels: _Optional[_Union[Pixels, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FAULTS_FIELD_NUMBER: _ClassVar[int]
    HALVES_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[EmbedRequest.Item]
    side: Side
    release: str
    report_faults: bool
    halves: bool
    def __init__(self, items: _Optional[_Iterable[_Union[EmbedRequest.Item, _Mapping]]] = ..., side: _Optional[_Union[Side, str]] = ..., release: _Optional[str] = ..., report_faults: _Optional[bool] = ..., halves: _Optional[bool] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("vectors", "release", "tower_ms", "head_ms")
    class Vector(_message.Message):
        __slots__ = ("values", "ood_score", "prompt_agreement", "fault", "picture_alone", "prompt_alone")
        VALUES_FIELD_NUMBER: _ClassVar[int]
        OOD_SCORE_FIELD_NUMBER: _ClassVar[int]
        PROMPT_AGREEMENT_FIELD_NUMBER: _ClassVar[int]
        FAULT_FIELD_NUMBER: _ClassVar[int]
        PICTURE_ALONE_FIELD_NUMBER: _ClassVar[int]
        PROMPT_ALONE_FIELD_NUMBER: _ClassVar[int]
        values: _containers.RepeatedScalarFieldContainer[float]
        ood_score: float
        prompt_agreement: float
        fault: str
        picture_alone: _containers.RepeatedScalarFieldContainer[float]
        prompt_alone: _containers.RepeatedScalarFieldContainer[float]
        def __init__(self, values: _Optional[_Iterable[float]] = ..., ood_score: _Optional[float] = ..., prompt_agreement: _Optional[float] = ..., fault: _Optional[str] = ..., picture_alone: _Optional[_Iterable[float]] = ..., prompt_alone: _Optional[_Iterable[float]] = ...) -> None: ...
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    TOWER_MS_FIELD_NUMBER: _ClassVar[int]
    HEAD_MS_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[EmbedResponse.Vector]
    release: str
    tower_ms: float
    head_ms: float
    def __init__(self, vectors: _Optional[_Iterable[_Union[EmbedResponse.Vector, _Mapping]]] = ..., release: _Optional[str] = ..., tower_ms: _Optional[float] = ..., head_ms: _Optional[float] = ...) -> None: ...

class GetEncoderRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetEncoderResponse(_message.Message):
    __slots__ = ("release", "dimension", "towers_fingerprint", "max_batch", "device")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    TOWERS_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    release: str
    dimension: int
    towers_fingerprint: str
    max_batch: int
    device: str
    def __init__(self, release: _Optional[str] = ..., dimension: _Optional[int] = ..., towers_fingerprint: _Optional[str] = ..., max_batch: _Optional[int] = ..., device: _Optional[str] = ...) -> None: ...
