"""TLS of servers: gRPC and HTTP, with certificates that are replaced without a restart."""

from __future__ import annotations

import ssl
from typing import Any

import grpc

from creditline.credentials.following import Followed
from creditline.credentials.tls_files import TlsContent, TlsFiles
from creditline.errors import NotReady


def grpc_server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials of a gRPC server, which needs certificates of its callers where `files` has authorities.

    The files are looked at for each new connection; running connections keep the certificate that they began
    with.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """
    followed = files.followed()
    configured = followed.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC in a thread of its own; None: no change."""
        nonlocal configured
        latest = followed.current()
        if latest is configured:
            return None
        configured = latest
        return _configuration(latest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(configured), changed, require_client_authentication=files.ca is not None
    )


def _configuration(content: TlsContent) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(content.key, content.certificate)], root_certificates=content.authorities
    )


def https_context(files: TlsFiles) -> ssl.SSLContext:
    """Context of an HTTP server, which needs certificates of its callers where `files` has authorities.

    Each connection is given a context of the files as they are when its first message has arrived. Loading
    new files into the context that is in use would not do: its old authorities stay, and its old certificate
    too where the new one's key is of another kind.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """
    followed = Followed(files.paths, lambda: _context(files))
    context = _context(files)

    def choose(connection: Any, _server_name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = followed.current()

    context.sni_callback = choose
    return context


def _context(files: TlsFiles) -> ssl.SSLContext:
    content = files.read()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session would neither see a new certificate nor show the caller's again.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if content.authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=content.authorities.decode(errors="replace"))
    try:
        # From the files, as this module of Python's takes no bytes.
        context.load_cert_chain(files.cert or "", files.key)
    except OSError as error:
        raise NotReady(
            f"the certificate in {files.cert} and the key in {files.key} cannot be loaded ({error.strerror})",
            field="tls",
        ) from error
    return context
