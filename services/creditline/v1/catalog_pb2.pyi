import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetWorkRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Work(_message.Message):
    __slots__ = ("id", "title", "caption", "keywords", "contributor", "licence", "source", "duplicate_group", "thumbnail", "withdrawn", "withdrawn_since", "contributor_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_GROUP_FIELD_NUMBER: _ClassVar[int]
    THUMBNAIL_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_SINCE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    caption: str
    keywords: _containers.RepeatedScalarFieldContainer[str]
    contributor: str
    licence: str
    source: str
    duplicate_group: str
    thumbnail: bytes
    withdrawn: bool
    withdrawn_since: _timestamp_pb2.Timestamp
    contributor_id: str
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., caption: _Optional[str] = ..., keywords: _Optional[_Iterable[str]] = ..., contributor: _Optional[str] = ..., licence: _Optional[str] = ..., source: _Optional[str] = ..., duplicate_group: _Optional[str] = ..., thumbnail: _Optional[bytes] = ..., withdrawn: _Optional[bool] = ..., withdrawn_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., contributor_id: _Optional[str] = ...) -> None: ...

class GetWorkResponse(_message.Message):
    __slots__ = ("work",)
    WORK_FIELD_NUMBER: _ClassVar[int]
    work: Work
    def __init__(self, work: _Optional[_Union[Work, _Mapping]] = ...) -> None: ...

class ListWorksRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListWorksResponse(_message.Message):
    __slots__ = ("works", "next_page_token")
    WORKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    works: _containers.RepeatedCompositeFieldContainer[Work]
    next_page_token: str
    def __init__(self, works: _Optional[_Iterable[_Union[Work, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
