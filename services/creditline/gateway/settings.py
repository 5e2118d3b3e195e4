"""The gateway's settings, from `CREDITLINE_*` environment variables; all defaults work on one machine."""

from __future__ import annotations

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from creditline.jobs.broker import DEFAULT_BROKER_URL, BrokerUrl
from creditline.ledger import default_ledger_url
from creditline.settings import Port, ServiceSettings


class GatewaySettings(ServiceSettings):
    """Where the gateway listens, which services it needs and where they are.

    `api_keys` is a comma-separated list; without any the gateway answers everybody, and therefore only
    starts on a loopback address. Port 0 takes a free one.
    """

    gateway_host: str = "127.0.0.1"
    gateway_grpc_port: Port = 7100
    gateway_http_port: Port = 7180
    api_keys: str = ""
    embedder_target: str = "127.0.0.1:7200"
    qdrant_host: str = "127.0.0.1"
    qdrant_grpc_port: Port = 6334
    broker_url: BrokerUrl = DEFAULT_BROKER_URL
    ledger_url: str = Field(default_factory=default_ledger_url)
    release_directory: Path | None = None
    corpus_file: Path | None = None
    request_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    stop_grace_seconds: float = Field(default=5.0, ge=0, le=600)
    audit_fraction: float = Field(default=0.0, ge=0, le=1)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The API keys that are let in; empty lets everybody in."""
        return frozenset(key.strip() for key in self.api_keys.split(",") if key.strip())

    @model_validator(mode="after")
    def _anonymous_only_on_loopback(self) -> Self:
        if not self.keys and not _is_loopback(self.gateway_host):
            raise ValueError(
                f"CREDITLINE_GATEWAY_HOST {self.gateway_host!r} can be reached from other machines; set "
                "CREDITLINE_API_KEYS, or bind to 127.0.0.1"
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
