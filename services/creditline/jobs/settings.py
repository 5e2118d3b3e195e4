"""Address of the Redis that carries jobs, read from `CREDITLINE_BROKER_URL` or a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import model_validator

from creditline.credentials.following import Followed
from creditline.credentials.secret_files import read_secret, with_secret
from creditline.credentials.settings import files_of_url
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import InvalidInput
from creditline.jobs.address import DEFAULT_BROKER_URL, BrokerUrl, checked_broker_url
from creditline.settings import ServiceSettings


class BrokerSettings(ServiceSettings):
    """Settings of the broker."""

    broker_url: BrokerUrl = DEFAULT_BROKER_URL
    """URL of the Redis that carries jobs, such as
    `rediss://:PASSWORD@HOST:6379/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/creditline/redis/ca.crt`."""
    broker_url_file: Path | None = None
    """File with that URL instead, such as a mounted secret; the gateway takes a new URL without a restart."""

    def broker_urls(self) -> Callable[[], str]:
        """Returns the URL as it is now, with every call: that of the file, when it changes."""
        if self.broker_url_file is None:
            return lambda: self.broker_url
        file = self.broker_url_file
        return Followed((file,), lambda: _url_in(file)).current

    @property
    def tls_to_broker(self) -> TlsFiles | None:
        """Files that the URL of the start names; None where it names none."""
        return files_of_url(self.broker_url, cert="ssl_certfile", key="ssl_keyfile", ca="ssl_ca_certs")

    @model_validator(mode="before")
    @classmethod
    def _broker_url_from_its_file(cls, values: Any) -> Any:
        return with_secret(values, "broker_url")


def _url_in(file: Path) -> str:
    """The URL in a file; its errors do not show it."""
    url = read_secret(file)
    try:
        return checked_broker_url(url)
    except ValueError as error:
        raise InvalidInput(f"the URL in {file} is not one of Redis: {error}", field="broker_url") from error
