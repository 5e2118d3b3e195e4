"""The gateway's settings, from `CREDITLINE_*` environment variables; all defaults work on one machine."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from creditline.api.answers import LOW_PROMPT_AGREEMENT
from creditline.calibration.reranking import CANDIDATES
from creditline.credentials.qdrant import QdrantCredentialSettings
from creditline.credentials.settings import EmbedderTlsSettings, GatewayTlsSettings, server_files
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import InvalidInput
from creditline.jobs.settings import BrokerSettings
from creditline.ledger import Allowance, LedgerSettings
from creditline.observability.settings import ObservedSettings
from creditline.pictures.decoding import MOST_PIXELS
from creditline.settings import Port


def _allowance(value: object) -> object:
    try:
        return Allowance.parse(value, field="it") if isinstance(value, str) else value
    except InvalidInput as error:
        raise ValueError(error.message) from error


AllowanceSetting = Annotated[Allowance | None, BeforeValidator(_allowance)]


class LowAgreement(StrEnum):
    """What is done with a query whose picture and prompt hardly agree."""

    ANSWER = "answer"
    REFUSE = "refuse"
    PICTURE = "picture"


class GatewaySettings(
    GatewayTlsSettings,
    EmbedderTlsSettings,
    QdrantCredentialSettings,
    BrokerSettings,
    LedgerSettings,
    ObservedSettings,
):
    """Addresses of the gateway and of the services that it depends on, and its limits."""

    gateway_host: str = "127.0.0.1"
    """Address on which gRPC and HTTP are served."""
    gateway_grpc_port: Port = 7100
    """Port of gRPC; 0 picks a free one."""
    gateway_http_port: Port = 7180
    """Port of HTTP; 0 picks a free one."""
    gateway_metrics_port: Port | None = None
    """Port of /metrics for operators only, with /healthz and /readyz and none of the API; the port of HTTP
    then has no /metrics. 0 picks a free one, None: /metrics is on the port of HTTP."""
    gateway_collect_seconds: float = Field(default=15.0, gt=0, le=3600)
    """Time between two collections of the metrics of ledger and queues."""
    api_keys: str = ""
    """Admin API keys, separated by commas; `creditline keys` makes keys that permit less. Without any key the
    gateway accepts all callers, and therefore starts on a loopback address only."""
    api_keys_file: Path | None = None
    """File of further admin API keys, one a line, such as a mounted secret; a change takes effect at once."""
    require_api_keys: bool = False
    """Refuse callers without a key even while there is no key at all."""
    key_rate: AllowanceSetting = None
    """Rate of API keys of the ledger without one of their own, such as 10/s, admin keys excepted; empty: no
    limit."""
    key_quota: AllowanceSetting = None
    """Quota of such keys, such as 10000/day."""
    key_limits_seconds: float = Field(default=0.05, gt=0, le=10)
    """Longest time that a request waits for Redis to count it; without an answer this gateway counts for
    itself."""
    embedder_target: str = "127.0.0.1:7200"
    """Address of the embedder: `host:port`, or `dns:///host:port`."""
    reranker_target: str = ""
    """Address of an embedder that re-ranks (CREDITLINE_EMBEDDER_RERANKS), with the embedder's TLS; empty: the
    embedder's own address."""
    reranked_works: int = Field(default=CANDIDATES, ge=10, le=1000)
    """Number of works that a re-ranked answer orders by the generator's gradient."""
    qdrant_host: str = "127.0.0.1"
    """Host of Qdrant."""
    qdrant_grpc_port: Port = 6334
    """Port of Qdrant's gRPC."""
    release_directory: Path | None = None
    """Directory of the release to serve; None: the reference release."""
    corpus_file: Path | None = None
    """Source of the corpus; None: the one that the release names."""
    request_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    """Longest duration of an attribution."""
    answers_at_once: int = Field(default=64, ge=4, le=4096)
    """Number of answers that are computed at the same time; further requests wait while they can still be
    answered before their deadline. Two batches of each embedder, and some more."""
    admission_queue_mib: int = Field(default=128, ge=32, le=65536)
    """Largest total size of the pictures of requests that wait, ordinary and large ones each, in MiB."""
    stop_grace_seconds: float = Field(default=5.0, ge=0, le=600)
    """Time that running requests have to finish after a stop."""
    decoders: int = Field(default=2, ge=1, le=64)
    """Number of ordinary pictures that are decoded at the same time; pictures of more than 5 million pixels
    are decoded one at a time besides."""
    decode_cpu_seconds: float = Field(default=5.0, gt=0, le=600)
    """Processor time for decoding one picture, in seconds; one that takes longer is refused."""
    decode_memory_mib: int = Field(default=512, ge=16, le=65536)
    """Memory for decoding one picture, in MiB; one that needs more is refused."""
    decode_megapixels: float = Field(default=MOST_PIXELS / 1e6, gt=0, le=1000)
    """Largest number of pixels that are decoded, in millions."""
    decode_queue: int = Field(default=128, ge=1, le=65536)
    """Largest number of pictures that wait for a decoder, ordinary and large ones each; more are refused."""
    decode_queue_mib: int = Field(default=64, ge=20, le=65536)
    """Largest total size of the files that wait for a decoder, ordinary and large ones each, in MiB."""
    audit_fraction: float = Field(default=0.0, ge=0, le=1)
    """Fraction of answers that are sampled for an automatic audit; of answers whose picture and prompt
    disagree, ten times as many."""
    min_prompt_agreement: float | None = Field(default=None, ge=0, le=1)
    """Agreement of picture and prompt, as the part of genuine pairs that agree less, below which
    `low_agreement` says what is done; None: 0.05 where that is set to refuse or picture, else 0, never."""
    low_agreement: LowAgreement | None = None
    """What is done with a query whose picture and prompt agree less: answer it all the same, refuse it, or
    answer from the picture alone, which is much less accurate; None: refuse it."""

    @property
    def least_agreement(self) -> float:
        """Agreement of picture and prompt below which `low_agreement` holds."""
        if self.min_prompt_agreement is not None:
            return self.min_prompt_agreement
        return 0.0 if self.low_agreement is None else LOW_PROMPT_AGREEMENT

    @cached_property
    def keys(self) -> frozenset[str]:
        """The admin API keys of the environment."""
        return frozenset(key.strip() for key in self.api_keys.split(",") if key.strip())

    @property
    def tls_of_gateway(self) -> TlsFiles | None:
        """Files of both faces; None: no TLS.

        Raises:
            InvalidInput: Authorities are given without a certificate.
        """
        return server_files(self.gateway_tls_files)

    @model_validator(mode="after")
    def _anonymous_only_on_loopback(self) -> Self:
        locked = self.keys or self.api_keys_file or self.require_api_keys
        if not locked and not _is_loopback(self.gateway_host):
            raise ValueError(
                f"CREDITLINE_GATEWAY_HOST {self.gateway_host!r} can be reached from other machines; set "
                "CREDITLINE_API_KEYS, CREDITLINE_API_KEYS_FILE or CREDITLINE_REQUIRE_API_KEYS, or bind to "
                "127.0.0.1"
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
