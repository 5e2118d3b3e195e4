"""Address of the Redis that carries jobs, read from `CREDITLINE_BROKER_URL` or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import model_validator

from creditline.credentials.secret_files import with_secret
from creditline.jobs.broker import DEFAULT_BROKER_URL, BrokerUrl
from creditline.settings import ServiceSettings


class BrokerSettings(ServiceSettings):
    """Settings of the broker."""

    broker_url: BrokerUrl = DEFAULT_BROKER_URL
    """URL of the Redis that carries jobs, such as
    `rediss://:PASSWORD@HOST:6379/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/creditline/redis/ca.crt`."""
    broker_url_file: Path | None = None
    """File with that URL instead, such as a mounted secret; it is read at the start."""

    @model_validator(mode="before")
    @classmethod
    def _broker_url_from_its_file(cls, values: Any) -> Any:
        return with_secret(values, "broker_url")
