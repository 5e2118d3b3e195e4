import datetime

from creditline.v1 import audit_pb2 as _audit_pb2
from creditline.v1 import release_pb2 as _release_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnswerForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANSWER_FORM_UNSPECIFIED: _ClassVar[AnswerForm]
    ANSWER_FORM_FAST: _ClassVar[AnswerForm]
    ANSWER_FORM_RERANKED: _ClassVar[AnswerForm]
ANSWER_FORM_UNSPECIFIED: AnswerForm
ANSWER_FORM_FAST: AnswerForm
ANSWER_FORM_RERANKED: AnswerForm

class AttributeRequest(_message.Message):
    __slots__ = ("image", "prompt", "generator", "release", "k", "filter", "request_id", "vector", "form")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    prompt: str
    generator: str
    release: str
    k: int
    filter: WorkFilter
    request_id: str
    vector: QueryVector
    form: AnswerForm
    def __init__(self, image: _Optional[bytes] = ..., prompt: _Optional[str] = ..., generator: _Optional[str] = ..., release: _Optional[str] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[WorkFilter, _Mapping]] = ..., request_id: _Optional[str] = ..., vector: _Optional[_Union[QueryVector, _Mapping]] = ..., form: _Optional[_Union[AnswerForm, str]] = ...) -> None: ...

class QueryVector(_message.Message):
    __slots__ = ("values", "release", "encoder")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    release: str
    encoder: str
    def __init__(self, values: _Optional[_Iterable[float]] = ..., release: _Optional[str] = ..., encoder: _Optional[str] = ...) -> None: ...

class WorkFilter(_message.Message):
    __slots__ = ("contributors", "contributor_ids", "licences", "created_since", "created_until", "consent")
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_IDS_FIELD_NUMBER: _ClassVar[int]
    LICENCES_FIELD_NUMBER: _ClassVar[int]
    CREATED_SINCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    CONSENT_FIELD_NUMBER: _ClassVar[int]
    contributors: _containers.RepeatedScalarFieldContainer[str]
    contributor_ids: _containers.RepeatedScalarFieldContainer[str]
    licences: _containers.RepeatedScalarFieldContainer[str]
    created_since: _timestamp_pb2.Timestamp
    created_until: _timestamp_pb2.Timestamp
    consent: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contributors: _Optional[_Iterable[str]] = ..., contributor_ids: _Optional[_Iterable[str]] = ..., licences: _Optional[_Iterable[str]] = ..., created_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., consent: _Optional[_Iterable[str]] = ...) -> None: ...

class CreditedHolder(_message.Message):
    __slots__ = ("name", "percent", "contributor_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    percent: float
    contributor_id: str
    def __init__(self, name: _Optional[str] = ..., percent: _Optional[float] = ..., contributor_id: _Optional[str] = ...) -> None: ...

class CreditedWork(_message.Message):
    __slots__ = ("id", "title", "caption", "contributor", "licence", "score", "expected_influence", "share", "rank", "copies", "share_low", "share_high", "withdrawn", "withdrawn_since", "withdrawn_copies", "contributor_id", "holders", "share_from_picture", "share_from_prompt", "kernel_score")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_INFLUENCE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    SHARE_LOW_FIELD_NUMBER: _ClassVar[int]
    SHARE_HIGH_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_SINCE_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_COPIES_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FROM_PICTURE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FROM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_SCORE_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    caption: str
    contributor: str
    licence: str
    score: float
    expected_influence: float
    share: float
    rank: int
    copies: _containers.RepeatedScalarFieldContainer[str]
    share_low: float
    share_high: float
    withdrawn: bool
    withdrawn_since: _timestamp_pb2.Timestamp
    withdrawn_copies: _containers.RepeatedScalarFieldContainer[str]
    contributor_id: str
    holders: _containers.RepeatedCompositeFieldContainer[CreditedHolder]
    share_from_picture: float
    share_from_prompt: float
    kernel_score: float
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., caption: _Optional[str] = ..., contributor: _Optional[str] = ..., licence: _Optional[str] = ..., score: _Optional[float] = ..., expected_influence: _Optional[float] = ..., share: _Optional[float] = ..., rank: _Optional[int] = ..., copies: _Optional[_Iterable[str]] = ..., share_low: _Optional[float] = ..., share_high: _Optional[float] = ..., withdrawn: _Optional[bool] = ..., withdrawn_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., withdrawn_copies: _Optional[_Iterable[str]] = ..., contributor_id: _Optional[str] = ..., holders: _Optional[_Iterable[_Union[CreditedHolder, _Mapping]]] = ..., share_from_picture: _Optional[float] = ..., share_from_prompt: _Optional[float] = ..., kernel_score: _Optional[float] = ...) -> None: ...

class CreditedContributor(_message.Message):
    __slots__ = ("name", "share", "works", "share_low", "share_high", "listed_share", "withdrawn", "withdrawn_since", "contributor_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    SHARE_LOW_FIELD_NUMBER: _ClassVar[int]
    SHARE_HIGH_FIELD_NUMBER: _ClassVar[int]
    LISTED_SHARE_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_SINCE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    share: float
    works: int
    share_low: float
    share_high: float
    listed_share: float
    withdrawn: bool
    withdrawn_since: _timestamp_pb2.Timestamp
    contributor_id: str
    def __init__(self, name: _Optional[str] = ..., share: _Optional[float] = ..., works: _Optional[int] = ..., share_low: _Optional[float] = ..., share_high: _Optional[float] = ..., listed_share: _Optional[float] = ..., withdrawn: _Optional[bool] = ..., withdrawn_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., contributor_id: _Optional[str] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("total_ms", "check_ms", "embed_ms", "search_ms", "share_ms", "record_ms", "rerank_ms")
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    CHECK_MS_FIELD_NUMBER: _ClassVar[int]
    EMBED_MS_FIELD_NUMBER: _ClassVar[int]
    SEARCH_MS_FIELD_NUMBER: _ClassVar[int]
    SHARE_MS_FIELD_NUMBER: _ClassVar[int]
    RECORD_MS_FIELD_NUMBER: _ClassVar[int]
    RERANK_MS_FIELD_NUMBER: _ClassVar[int]
    total_ms: float
    check_ms: float
    embed_ms: float
    search_ms: float
    share_ms: float
    record_ms: float
    rerank_ms: float
    def __init__(self, total_ms: _Optional[float] = ..., check_ms: _Optional[float] = ..., embed_ms: _Optional[float] = ..., search_ms: _Optional[float] = ..., share_ms: _Optional[float] = ..., record_ms: _Optional[float] = ..., rerank_ms: _Optional[float] = ...) -> None: ...

class AttributeResponse(_message.Message):
    __slots__ = ("attribution_id", "works", "contributors", "remainder", "release", "timings", "accuracy", "concentration", "remainder_low", "remainder_high", "coverage", "ood_score", "corpus_works", "equal_parts", "filter", "works_newer_than_calibration", "calibration_outdated", "prompt_agreement", "private", "share_from_picture", "share_from_prompt", "from_picture_alone", "picture_alone_recall", "intervals_withheld", "form", "reranked_works")
    ATTRIBUTION_ID_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    REMAINDER_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    CONCENTRATION_FIELD_NUMBER: _ClassVar[int]
    REMAINDER_LOW_FIELD_NUMBER: _ClassVar[int]
    REMAINDER_HIGH_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    OOD_SCORE_FIELD_NUMBER: _ClassVar[int]
    CORPUS_WORKS_FIELD_NUMBER: _ClassVar[int]
    EQUAL_PARTS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WORKS_NEWER_THAN_CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_OUTDATED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FROM_PICTURE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FROM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    FROM_PICTURE_ALONE_FIELD_NUMBER: _ClassVar[int]
    PICTURE_ALONE_RECALL_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    RERANKED_WORKS_FIELD_NUMBER: _ClassVar[int]
    attribution_id: str
    works: _containers.RepeatedCompositeFieldContainer[CreditedWork]
    contributors: _containers.RepeatedCompositeFieldContainer[CreditedContributor]
    remainder: float
    release: _release_pb2.Release
    timings: Timings
    accuracy: _release_pb2.AuditedAccuracy
    concentration: float
    remainder_low: float
    remainder_high: float
    coverage: float
    ood_score: float
    corpus_works: int
    equal_parts: float
    filter: WorkFilter
    works_newer_than_calibration: int
    calibration_outdated: bool
    prompt_agreement: float
    private: bool
    share_from_picture: float
    share_from_prompt: float
    from_picture_alone: bool
    picture_alone_recall: PictureAloneRecall
    intervals_withheld: bool
    form: AnswerForm
    reranked_works: int
    def __init__(self, attribution_id: _Optional[str] = ..., works: _Optional[_Iterable[_Union[CreditedWork, _Mapping]]] = ..., contributors: _Optional[_Iterable[_Union[CreditedContributor, _Mapping]]] = ..., remainder: _Optional[float] = ..., release: _Optional[_Union[_release_pb2.Release, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., accuracy: _Optional[_Union[_release_pb2.AuditedAccuracy, _Mapping]] = ..., concentration: _Optional[float] = ..., remainder_low: _Optional[float] = ..., remainder_high: _Optional[float] = ..., coverage: _Optional[float] = ..., ood_score: _Optional[float] = ..., corpus_works: _Optional[int] = ..., equal_parts: _Optional[float] = ..., filter: _Optional[_Union[WorkFilter, _Mapping]] = ..., works_newer_than_calibration: _Optional[int] = ..., calibration_outdated: _Optional[bool] = ..., prompt_agreement: _Optional[float] = ..., private: _Optional[bool] = ..., share_from_picture: _Optional[float] = ..., share_from_prompt: _Optional[float] = ..., from_picture_alone: _Optional[bool] = ..., picture_alone_recall: _Optional[_Union[PictureAloneRecall, _Mapping]] = ..., intervals_withheld: _Optional[bool] = ..., form: _Optional[_Union[AnswerForm, str]] = ..., reranked_works: _Optional[int] = ...) -> None: ...

class PictureAloneRecall(_message.Message):
    __slots__ = ("recall", "low", "high", "with_prompt")
    RECALL_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    WITH_PROMPT_FIELD_NUMBER: _ClassVar[int]
    recall: float
    low: float
    high: float
    with_prompt: float
    def __init__(self, recall: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., with_prompt: _Optional[float] = ...) -> None: ...

class GetAttributionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetAttributionResponse(_message.Message):
    __slots__ = ("attribution", "created", "prompt", "generator", "image", "audit", "undelivered")
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    UNDELIVERED_FIELD_NUMBER: _ClassVar[int]
    attribution: AttributeResponse
    created: _timestamp_pb2.Timestamp
    prompt: str
    generator: str
    image: bytes
    audit: _audit_pb2.Audit
    undelivered: bool
    def __init__(self, attribution: _Optional[_Union[AttributeResponse, _Mapping]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., prompt: _Optional[str] = ..., generator: _Optional[str] = ..., image: _Optional[bytes] = ..., audit: _Optional[_Union[_audit_pb2.Audit, _Mapping]] = ..., undelivered: _Optional[bool] = ...) -> None: ...

class ListAttributionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAttributionsResponse(_message.Message):
    __slots__ = ("attributions", "next_page_token")
    ATTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    attributions: _containers.RepeatedCompositeFieldContainer[AttributionSummary]
    next_page_token: str
    def __init__(self, attributions: _Optional[_Iterable[_Union[AttributionSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AttributionSummary(_message.Message):
    __slots__ = ("id", "created", "release", "generator", "prompt", "k", "undelivered")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    UNDELIVERED_FIELD_NUMBER: _ClassVar[int]
    id: str
    created: _timestamp_pb2.Timestamp
    release: str
    generator: str
    prompt: str
    k: int
    undelivered: bool
    def __init__(self, id: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., release: _Optional[str] = ..., generator: _Optional[str] = ..., prompt: _Optional[str] = ..., k: _Optional[int] = ..., undelivered: _Optional[bool] = ...) -> None: ...

class BatchAttributeRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[AttributeRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[AttributeRequest, _Mapping]]] = ...) -> None: ...

class BatchAttributeResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AttributeResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AttributeResult, _Mapping]]] = ...) -> None: ...

class AttributeResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: AttributeResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[AttributeResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class StreamAttributeRequest(_message.Message):
    __slots__ = ("id", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    request: AttributeRequest
    def __init__(self, id: _Optional[str] = ..., request: _Optional[_Union[AttributeRequest, _Mapping]] = ...) -> None: ...

class StreamAttributeResponse(_message.Message):
    __slots__ = ("id", "response", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    response: AttributeResponse
    error: _status_pb2.Status
    def __init__(self, id: _Optional[str] = ..., response: _Optional[_Union[AttributeResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
