"""Connection settings of Qdrant, read from `CREDITLINE_QDRANT_*`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from creditline.settings import ServiceSettings


class QdrantSettings(ServiceSettings):
    """Address and timeout of Qdrant's gRPC port; the defaults reach a server on this machine."""

    model_config = SettingsConfigDict(env_prefix="CREDITLINE_QDRANT_")

    host: str = "127.0.0.1"
    """Host name or IP address."""
    grpc_port: int = Field(default=6334, ge=1, le=65535)
    """Port of the gRPC API."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """Timeout of a call, in seconds."""
