"""The files of one TLS connection: a certificate with its private key, and the authorities to trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from creditline.credentials.following import Followed
from creditline.errors import InvalidInput, NotReady

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class TlsContent:
    """What the files hold, checked; everything in PEM."""

    certificate: bytes | None
    """The certificate, followed by those that lead to its authority."""
    key: bytes | None = field(repr=False)
    """The certificate's private key."""
    authorities: bytes | None
    """Certificates of the trusted authorities; None: those that the system trusts."""
    expires: datetime | None
    """Time at which the certificate is no longer valid."""


@dataclass(frozen=True)
class TlsFiles:
    """Paths of the files of one end of a connection.

    A certificate and its key go together. A server needs them, and asks its callers for certificates where
    it has authorities; a client without authorities trusts those of the system.
    """

    cert: Path | None = None
    """Certificate in PEM, the intermediate ones after it (`tls.crt`)."""
    key: Path | None = None
    """Private key of the certificate in PEM, without a password (`tls.key`)."""
    ca: Path | None = None
    """Certificates of the trusted authorities in PEM (`ca.crt`)."""
    variable: str = ""
    """Beginning of the variables that name the files, for messages, such as `CREDITLINE_GATEWAY_TLS`."""

    def followed(self) -> Followed[TlsContent]:
        """The content, read again when the files change. Raises what `read` raises."""
        return Followed(self.paths, self.read)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are given."""
        return tuple(path for path in (self.cert, self.key, self.ca) if path is not None)

    def read(self) -> TlsContent:
        """Read and check the files.

        Raises:
            NotReady: A file does not exist, cannot be read, or holds a certificate that is not valid now.
            InvalidInput: A file holds something else, the key is another certificate's, or one of the two
                is missing.
        """
        if (self.cert is None) is not (self.key is None):
            missing, given = ("CERT", "KEY") if self.cert is None else ("KEY", "CERT")
            raise InvalidInput(
                f"{self._name(given)} is given without {self._name(missing)}; a certificate and its private"
                " key go together",
                field="tls",
            )
        certificate, key, expires = None, None, None
        if self.cert is not None and self.key is not None:
            certificate, expires = self._checked_certificate(self.cert, "CERT")
            key = self._checked_key(self.key, self.cert, certificate)
        authorities = None if self.ca is None else self._checked_certificate(self.ca, "CA")[0]
        return TlsContent(certificate, key, authorities, expires)

    def _name(self, part: str) -> str:
        return f"{self.variable}_{part}" if self.variable else part.lower()

    def _content_of(self, path: Path, part: str) -> bytes:
        try:
            with path.open("rb") as opened:
                content = opened.read(_MOST_BYTES)
        except OSError as error:
            raise NotReady(
                f"the file {path} cannot be read ({error.strerror}); create it, or correct"
                f" {self._name(part)}",
                field="tls",
            ) from error
        return content

    def _checked_certificate(self, path: Path, part: str) -> tuple[bytes, datetime]:
        """The certificates of a file, and when the first one expires."""
        # Imported here: commands without TLS need not wait for it.
        from cryptography.x509 import load_pem_x509_certificates

        content = self._content_of(path, part)
        try:
            certificates = load_pem_x509_certificates(content)
        except ValueError as error:
            raise InvalidInput(
                f"the file {path} holds no certificate in PEM; correct {self._name(part)}", field="tls"
            ) from error
        valid = _valid_now(certificates)
        # A bundle of authorities may hold old ones; a service's own certificate comes first.
        if not (any(valid) if part == "CA" else valid[0]):
            own = certificates[0]
            raise NotReady(
                f"the certificate in {path} is valid from {own.not_valid_before_utc:%Y-%m-%d %H:%M}"
                f" to {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and not now; renew it",
                field="tls",
            )
        return content, certificates[0].not_valid_after_utc

    def _checked_key(self, path: Path, cert: Path, certificate: bytes) -> bytes:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificate

        content = self._content_of(path, "KEY")
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError) as error:
            raise InvalidInput(
                f"the file {path} holds no private key in PEM without a password; correct"
                f" {self._name('KEY')}",
                field="tls",
            ) from error
        if not _belongs(key, load_pem_x509_certificate(certificate)):
            raise InvalidInput(
                f"the private key in {path} is not that of the certificate in {cert}; put the two together",
                field="tls",
            )
        return content


def _valid_now(certificates: Sequence[Certificate]) -> list[bool]:
    now = datetime.now(UTC)
    return [each.not_valid_before_utc <= now < each.not_valid_after_utc for each in certificates]


def _belongs(key: PrivateKeyTypes, certificate: Certificate) -> bool:
    return key.public_key() == certificate.public_key()
