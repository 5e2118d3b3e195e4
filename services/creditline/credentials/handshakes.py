"""Why a TLS connection was not made, in words for its operator."""

from __future__ import annotations

# Parts of what gRPC's TLS (BoringSSL) and Python's ssl report.
_REASONS = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "Hostname Verification Check failed": "its certificate is for another name",
    "certificate has expired": "its certificate has expired",
    "CERTIFICATE_HAS_EXPIRED": "its certificate has expired",
    "CERTIFICATE_REQUIRED": "it requires a certificate",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not of a trusted authority",
    "Peer name": "its certificate is for another name",
    "ALPN": "it does not speak HTTP/2 over TLS",
    "handshake failed": "the TLS handshake failed",
}


def handshake_problem(details: str) -> str | None:
    """Why the handshake with a server failed; None where nothing points to TLS.

    A server that refuses this end's certificate, or was sent plain text, closes the connection without a
    reason.

    Args:
        details: Details of the failed call's status.
    """
    return next((reason for part, reason in _REASONS.items() if part in details), None)
