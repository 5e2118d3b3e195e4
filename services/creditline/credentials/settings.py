"""Settings of TLS connections; each has its own files, under the same names in all services."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

from creditline.credentials.tls_files import TlsFiles
from creditline.errors import InvalidInput
from creditline.settings import ServiceSettings


class GatewayTlsSettings(ServiceSettings):
    """TLS between the gateway and its callers, for either end."""

    gateway_tls_cert: Path | None = None
    """The gateway's certificate in PEM, which switches TLS on for both faces; in a client, the certificate
    that it shows."""
    gateway_tls_key: Path | None = None
    """Private key of that certificate in PEM."""
    gateway_tls_ca: Path | None = None
    """Authorities in PEM: in the gateway, of its callers' certificates, which it then requires; in a client,
    of the gateway's certificate."""

    @property
    def gateway_tls_files(self) -> TlsFiles:
        """The files, for either end."""
        return TlsFiles(
            self.gateway_tls_cert, self.gateway_tls_key, self.gateway_tls_ca, "CREDITLINE_GATEWAY_TLS"
        )

    @property
    def tls_to_gateway(self) -> TlsFiles | None:
        """Files of a caller of the gateway; None: no TLS.

        Raises:
            InvalidInput: A certificate is given without authorities.
        """
        return client_files(self.gateway_tls_files)


class EmbedderTlsSettings(ServiceSettings):
    """TLS between the embedder and its callers, for either end."""

    embedder_tls_cert: Path | None = None
    """The embedder's certificate in PEM, which switches TLS on; in a caller, such as the gateway, the
    certificate that it shows."""
    embedder_tls_key: Path | None = None
    """Private key of that certificate in PEM."""
    embedder_tls_ca: Path | None = None
    """Authorities in PEM: in the embedder, of its callers' certificates, which it then requires; in a caller,
    of the embedder's certificate, which switches TLS on."""

    @property
    def embedder_tls_files(self) -> TlsFiles:
        """The files, for either end."""
        return TlsFiles(
            self.embedder_tls_cert, self.embedder_tls_key, self.embedder_tls_ca, "CREDITLINE_EMBEDDER_TLS"
        )

    @property
    def tls_to_embedder(self) -> TlsFiles | None:
        """Files of a caller of the embedder; None: no TLS.

        Raises:
            InvalidInput: A certificate is given without authorities.
        """
        return client_files(self.embedder_tls_files)

    @property
    def tls_of_embedder(self) -> TlsFiles | None:
        """Files of the embedder itself; None: no TLS.

        Raises:
            InvalidInput: Authorities are given without a certificate.
        """
        return server_files(self.embedder_tls_files)


def files_of_url(url: str, *, cert: str, key: str, ca: str) -> TlsFiles | None:
    """The files that a URL of Redis or PostgreSQL names; None where it names none.

    Args:
        url: The URL.
        cert: Name of the parameter for the certificate.
        key: Name of the parameter for its private key.
        ca: Name of the parameter for the authorities.
    """
    # Not by `urlsplit`, which raises on passwords that SQLAlchemy takes, or ends the URL in them.
    query = dict(parse_qsl(url.rpartition("?")[2])) if "?" in url else {}
    paths = {name: Path(value) for name, value in query.items() if value}
    files = TlsFiles(paths.get(cert), paths.get(key), paths.get(ca))
    return files if files.paths else None


def client_files(files: TlsFiles) -> TlsFiles | None:
    """The files of a client, None where none is given.

    Raises:
        InvalidInput: A certificate is given without the authorities of the server's.
    """
    if files.ca is None and files.paths:
        raise InvalidInput(
            f"{files.variable}_CERT or {files.variable}_KEY is given without {files.variable}_CA; name the"
            " authorities of the server's certificate too",
            field="tls",
        )
    return files if files.paths else None


def server_files(files: TlsFiles) -> TlsFiles | None:
    """The files of a server, None where none is given.

    Raises:
        InvalidInput: Authorities of callers are given without a certificate of the server.
    """
    if files.ca is not None and files.cert is None and files.key is None:
        raise InvalidInput(
            f"{files.variable}_CA is given without {files.variable}_CERT and {files.variable}_KEY; callers"
            " can show certificates only to a server that has one",
            field="tls",
        )
    return files if files.paths else None
