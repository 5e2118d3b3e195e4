"""TLS on both faces of a gateway: who is let in, who is not, and certificates that change while it runs."""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from creditline.credentials.following import CHECK_SECONDS
from creditline.credentials.servers import grpc_server_credentials
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import InvalidInput, NotReady, Unavailable
from creditline.gateway.settings import GatewaySettings
from creditline.local.health import http_answers
from creditline.release import Release
from creditline.v1.embedder_pb2 import GetEncoderRequest, GetEncoderResponse
from creditline.v1.embedder_pb2_grpc import EmbedderServicer, add_EmbedderServicer_to_server
from tests.gateway.conftest import RunningGateway, gateway_settings, running_gateway
from tests.real_parts.certificates import CertificateAuthority, ServerCertificate

KEY = "right"


@dataclass(frozen=True)
class Encrypted:
    """A gateway with TLS, and the files from which it has its certificate."""

    gateway: RunningGateway
    files: TlsFiles

    def over_grpc(self, tls: TlsFiles | None) -> str:
        """Name of the live release, as a new connection shows it."""
        with self.gateway.client(api_key=KEY, tls=tls) as client:
            return client.release().release.name

    def over_http(self, tls: TlsFiles) -> str:
        with httpx.Client(verify=_context(tls), trust_env=False, timeout=10) as client:
            url = self.gateway.url.replace("http://", "https://")
            answer = client.get(f"{url}/v1/releases/live", headers={"Authorization": f"Bearer {KEY}"})
        return str(answer.json()["release"]["name"])

    def install(self, issued: ServerCertificate, authority: CertificateAuthority | None = None) -> None:
        """Replace the gateway's files, and wait until it must have noticed."""
        assert self.files.cert is not None
        assert self.files.key is not None
        shutil.copy(issued.certificate, self.files.cert)
        shutil.copy(issued.key, self.files.key)
        if authority is not None:
            assert self.files.ca is not None
            shutil.copy(authority.certificate, self.files.ca)
        time.sleep(CHECK_SECONDS)


def _context(tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls.ca))
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context


def _encrypted(
    directory: Path, release: Release, authority: CertificateAuthority, *, callers: bool
) -> Iterator[Encrypted]:
    issued = authority.issue(directory=directory)
    ca = directory / "callers.pem"
    shutil.copy(authority.certificate, ca)
    files = TlsFiles(issued.certificate, issued.key, ca if callers else None)
    settings = gateway_settings(
        directory,
        release,
        api_keys=KEY,
        gateway_tls_cert=files.cert,
        gateway_tls_key=files.key,
        gateway_tls_ca=files.ca,
    )
    with running_gateway(settings) as gateway:
        yield Encrypted(gateway, files)


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory, release: Release, authority: CertificateAuthority
) -> Iterator[Encrypted]:
    """A gateway with TLS that asks its callers for no certificates."""
    yield from _encrypted(tmp_path_factory.mktemp("tls"), release, authority, callers=False)


@pytest.fixture(scope="module")
def mutual(
    tmp_path_factory: pytest.TempPathFactory, release: Release, authority: CertificateAuthority
) -> Iterator[Encrypted]:
    """A gateway that requires certificates of its callers."""
    yield from _encrypted(tmp_path_factory.mktemp("mutual"), release, authority, callers=True)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("stranger"), name="another authority")


def test_both_faces_answer_a_client_that_trusts_their_authority(
    encrypted: Encrypted, authority: CertificateAuthority
) -> None:
    trusting = TlsFiles(ca=authority.certificate)
    assert encrypted.over_grpc(trusting) == encrypted.over_http(trusting) == "gateway-test"
    # A container's own check does not know the authority.
    assert http_answers(encrypted.gateway.url.replace("http://", "https://") + "/healthz")


def test_a_client_that_trusts_another_authority_is_told_why(
    encrypted: Encrypted, stranger: CertificateAuthority
) -> None:
    wrong = TlsFiles(ca=stranger.certificate)
    with pytest.raises(Unavailable, match="its certificate is not of a trusted authority; correct"):
        encrypted.over_grpc(wrong)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        encrypted.over_http(wrong)


def test_plain_text_gets_no_answer_from_an_encrypted_port(encrypted: Encrypted) -> None:
    with pytest.raises(Unavailable, match="gateway"):
        encrypted.over_grpc(None)
    with encrypted.gateway.http() as plain, pytest.raises(httpx.TransportError):
        plain.get("/healthz")


def test_tls_to_a_plain_port_is_named_as_such(
    locked_gateway: RunningGateway, authority: CertificateAuthority
) -> None:
    with (
        locked_gateway.client(api_key=KEY, tls=TlsFiles(ca=authority.certificate)) as client,
        pytest.raises(Unavailable, match="it does not speak TLS"),
    ):
        client.release()


def test_a_certificate_for_another_host_is_refused(
    encrypted: Encrypted, authority: CertificateAuthority
) -> None:
    encrypted.install(authority.issue("elsewhere.example", name="elsewhere"))
    trusting = TlsFiles(ca=authority.certificate)
    with pytest.raises(Unavailable, match="its certificate is for another name"):
        encrypted.over_grpc(trusting)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        encrypted.over_http(trusting)
    encrypted.install(authority.issue(name="back"))
    assert encrypted.over_grpc(trusting) == encrypted.over_http(trusting) == "gateway-test"


@pytest.mark.parametrize("with_rsa", [False, True], ids=["same kind of key", "another kind of key"])
def test_a_new_certificate_is_served_without_a_restart(
    encrypted: Encrypted, stranger: CertificateAuthority, authority: CertificateAuthority, with_rsa: bool
) -> None:
    trusting = TlsFiles(ca=stranger.certificate)
    encrypted.install(stranger.issue(name=f"new-{with_rsa}", with_rsa=with_rsa))
    assert encrypted.over_grpc(trusting) == encrypted.over_http(trusting) == "gateway-test"
    encrypted.install(authority.issue(name=f"old-{with_rsa}"))
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        encrypted.over_http(trusting)


def test_callers_need_a_certificate_of_the_gateways_authority(
    mutual: Encrypted, authority: CertificateAuthority, stranger: CertificateAuthority
) -> None:
    mine, theirs = authority.issue(name="caller"), stranger.issue(name="caller")
    known = TlsFiles(mine.certificate, mine.key, authority.certificate)
    assert mutual.over_grpc(known) == mutual.over_http(known) == "gateway-test"
    old = authority.issue(name="old-caller", expired=True)
    for wrong in (
        TlsFiles(ca=authority.certificate),
        TlsFiles(theirs.certificate, theirs.key, authority.certificate),
    ):
        with pytest.raises(Unavailable):
            mutual.over_grpc(wrong)
    for wrong in (
        TlsFiles(ca=authority.certificate),
        TlsFiles(theirs.certificate, theirs.key, authority.certificate),
        TlsFiles(old.certificate, old.key, authority.certificate),
    ):
        with pytest.raises(httpx.TransportError):
            mutual.over_http(wrong)
    with pytest.raises(NotReady, match="renew it"):
        mutual.over_grpc(TlsFiles(old.certificate, old.key, authority.certificate))


def test_new_authorities_of_callers_replace_the_old_ones(
    mutual: Encrypted, authority: CertificateAuthority, stranger: CertificateAuthority
) -> None:
    mine, theirs = authority.issue(name="mine"), stranger.issue(name="theirs")
    mutual.install(authority.issue(name="same"), stranger)
    new = TlsFiles(theirs.certificate, theirs.key, authority.certificate)
    assert mutual.over_grpc(new) == mutual.over_http(new) == "gateway-test"
    old = TlsFiles(mine.certificate, mine.key, authority.certificate)
    with pytest.raises(Unavailable):
        mutual.over_grpc(old)
    with pytest.raises(httpx.TransportError):
        mutual.over_http(old)
    mutual.install(authority.issue(name="again"), authority)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"gateway_tls_key": None}, InvalidInput, "CREDITLINE_GATEWAY_TLS_CERT is given without"),
        (
            {"gateway_tls_cert": None, "gateway_tls_key": None},
            InvalidInput,
            "CREDITLINE_GATEWAY_TLS_CA is given",
        ),
        ({"gateway_tls_ca": Path("/nothing/ca.crt")}, NotReady, "/nothing/ca.crt cannot be read"),
    ],
)
def test_wrong_files_end_the_start_with_a_sentence(
    tmp_path: Path,
    release: Release,
    authority: CertificateAuthority,
    change: dict[str, Path | None],
    error: type[Exception],
    sentence: str,
) -> None:
    issued = authority.issue(directory=tmp_path)
    given = {
        "gateway_tls_cert": issued.certificate,
        "gateway_tls_key": issued.key,
        "gateway_tls_ca": authority.certificate,
    }
    settings = gateway_settings(tmp_path, release, **{**given, **change})
    with pytest.raises(error, match=sentence), running_gateway(settings):
        pass


def test_tls_does_not_replace_keys_where_others_can_reach_the_gateway(
    authority: CertificateAuthority,
) -> None:
    issued = authority.issue(name="public")
    with pytest.raises(ValueError, match="can be reached from other machines"):
        GatewaySettings(
            gateway_host="0.0.0.0", gateway_tls_cert=issued.certificate, gateway_tls_key=issued.key
        )


class _Encoder(EmbedderServicer):
    """As much of an embedder as readiness asks."""

    def GetEncoder(self, _request: GetEncoderRequest, _context: Any) -> GetEncoderResponse:  # noqa: N802
        return GetEncoderResponse(release="gateway-test")


def test_the_gateway_shows_its_certificate_to_the_embedder(
    tmp_path: Path, release: Release, authority: CertificateAuthority
) -> None:
    own = authority.issue(name="embedder", directory=tmp_path)
    caller = authority.issue(name="caller", directory=tmp_path)
    server = grpc.server(ThreadPoolExecutor(1))
    add_EmbedderServicer_to_server(_Encoder(), server)
    files = TlsFiles(own.certificate, own.key, authority.certificate)
    port = server.add_secure_port("127.0.0.1:0", grpc_server_credentials(files))
    server.start()
    settings = gateway_settings(
        tmp_path,
        release,
        embedder_target=f"127.0.0.1:{port}",
        embedder_tls_cert=caller.certificate,
        embedder_tls_key=caller.key,
        embedder_tls_ca=authority.certificate,
    )
    with running_gateway(settings) as gateway, gateway.http() as http:
        states = {each["service"]: each["up"] for each in http.get("/readyz").json()["dependencies"]}
        metrics = http.get("/metrics").text
    server.stop(None)
    assert states["embedder"] is True
    for file in ("certificate", "authorities"):
        assert f'expiry_timestamp_seconds{{connection="embedder",file="{file}"}}' in metrics
