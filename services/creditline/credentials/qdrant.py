"""Credentials for Qdrant: its API key and TLS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import model_validator

from creditline.credentials.secret_files import followed_secret
from creditline.credentials.settings import client_files
from creditline.credentials.tls_files import TlsFiles
from creditline.settings import ServiceSettings


@dataclass(frozen=True)
class QdrantCredentials:
    """How a client authenticates to Qdrant, and Qdrant to it."""

    api_key: str = field(default="", repr=False)
    """API key; empty: none is sent."""
    api_key_file: Path | None = None
    """File with the API key instead, read again when it changes."""
    tls: TlsFiles | None = None
    """Files of this end, as they are when a client is made; None: no TLS."""

    def current_api_key(self) -> Callable[[], str] | None:
        """Returns the API key to send with a call that begins now; None: none is sent.

        Raises:
            CreditlineError: The file with the key cannot be used.
        """
        if self.api_key_file is not None:
            return followed_secret(self.api_key_file).current
        key = self.api_key
        return (lambda: key) if key else None


class QdrantCredentialSettings(ServiceSettings):
    """Credentials for Qdrant, from `CREDITLINE_QDRANT_API_KEY…` and `CREDITLINE_QDRANT_TLS_…`."""

    qdrant_api_key: str = ""
    """API key of Qdrant."""
    qdrant_api_key_file: Path | None = None
    """File with the API key of Qdrant instead, such as a mounted secret; a change takes effect at once."""
    qdrant_tls_ca: Path | None = None
    """Authorities of Qdrant's certificate in PEM, which switches TLS on."""
    qdrant_tls_cert: Path | None = None
    """Certificate in PEM that is shown to Qdrant, where it requires one."""
    qdrant_tls_key: Path | None = None
    """Private key of that certificate in PEM."""

    @property
    def qdrant_credentials(self) -> QdrantCredentials:
        """The credentials.

        Raises:
            InvalidInput: A certificate is given without authorities.
        """
        files = TlsFiles(
            self.qdrant_tls_cert, self.qdrant_tls_key, self.qdrant_tls_ca, "CREDITLINE_QDRANT_TLS"
        )
        return QdrantCredentials(self.qdrant_api_key, self.qdrant_api_key_file, client_files(files))

    @model_validator(mode="after")
    def _one_api_key(self) -> QdrantCredentialSettings:
        if self.qdrant_api_key and self.qdrant_api_key_file:
            raise ValueError(
                "CREDITLINE_QDRANT_API_KEY and CREDITLINE_QDRANT_API_KEY_FILE are both given; leave one out"
            )
        return self


NO_CREDENTIALS = QdrantCredentials()
"""For a Qdrant that asks for nothing, without TLS."""
