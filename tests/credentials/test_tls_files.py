"""Files of TLS: what is wrong with them is said in one sentence, and changes are followed."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from creditline.credentials.following import CHECK_SECONDS
from creditline.credentials.settings import client_files, server_files
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import CreditlineError, InvalidInput, NotReady
from tests.real_parts.certificates import CertificateAuthority, ServerCertificate

_VARIABLE = "CREDITLINE_GATEWAY_TLS"


@pytest.fixture
def files(tmp_path: Path, authority: CertificateAuthority) -> TlsFiles:
    issued = authority.issue(directory=tmp_path)
    return TlsFiles(issued.certificate, issued.key, authority.certificate, _VARIABLE)


def test_good_files_are_read(files: TlsFiles, authority: CertificateAuthority) -> None:
    content = files.read()
    assert content.authorities == authority.certificate.read_bytes()
    assert content.certificate is not None
    assert content.certificate.startswith(b"-----BEGIN CERTIFICATE")
    assert content.expires is not None


def _refusal(files: TlsFiles) -> str:
    with pytest.raises(CreditlineError) as refused:
        files.read()
    return refused.value.message


@pytest.mark.parametrize("part", ["cert", "key", "ca"])
def test_a_missing_file_is_named_with_its_variable(files: TlsFiles, part: str) -> None:
    path: Path = getattr(files, part)
    moved = path.with_name("gone.pem")
    wrong = TlsFiles(**{**vars(files), part: moved})
    assert _refusal(wrong) == (
        f"the file {moved} cannot be read (No such file or directory); create it, or correct"
        f" {_VARIABLE}_{part.upper()}"
    )


@pytest.mark.parametrize(("part", "what"), [("cert", "certificate"), ("key", "private key"), ("ca", "cert")])
def test_a_file_with_something_else_is_named(files: TlsFiles, tmp_path: Path, part: str, what: str) -> None:
    other = tmp_path / "other.pem"
    other.write_text("no PEM at all")
    sentence = _refusal(TlsFiles(**{**vars(files), part: other}))
    assert sentence.startswith(f"the file {other} holds no {what}")
    assert f"{_VARIABLE}_{part.upper()}" in sentence


def test_the_key_of_another_certificate_is_refused(files: TlsFiles, authority: CertificateAuthority) -> None:
    other = authority.issue(name="mismatched")
    sentence = _refusal(TlsFiles(**{**vars(files), "key": other.key}))
    assert f"the private key in {other.key} is not that of the certificate in {files.cert}" in sentence


def test_a_key_with_a_password_is_refused(files: TlsFiles) -> None:
    assert files.key is not None
    key = load_pem_private_key(files.key.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files.key.write_bytes(locked)
    assert "without a password" in _refusal(files)


def test_an_expired_certificate_is_refused_with_its_time(
    files: TlsFiles, authority: CertificateAuthority
) -> None:
    old = authority.issue(name="expired", expired=True)
    sentence = _refusal(TlsFiles(**{**vars(files), "cert": old.certificate, "key": old.key}))
    assert f"the certificate in {old.certificate} is valid from " in sentence
    assert sentence.endswith("and not now; renew it")


@pytest.mark.parametrize(("given", "missing"), [("cert", "KEY"), ("key", "CERT")])
def test_a_certificate_and_its_key_go_together(files: TlsFiles, given: str, missing: str) -> None:
    alone = TlsFiles(variable=_VARIABLE, ca=files.ca, **{given: getattr(files, given)})
    assert f"without {_VARIABLE}_{missing};" in _refusal(alone)


def test_each_end_needs_its_part(files: TlsFiles) -> None:
    assert server_files(TlsFiles()) is None
    assert client_files(TlsFiles()) is None
    assert server_files(TlsFiles(files.cert, files.key)) is not None
    assert client_files(TlsFiles(ca=files.ca)) is not None
    with pytest.raises(InvalidInput, match=f"{_VARIABLE}_CA is given without"):
        server_files(TlsFiles(ca=files.ca, variable=_VARIABLE))
    with pytest.raises(InvalidInput, match=f"without {_VARIABLE}_CA"):
        client_files(TlsFiles(files.cert, files.key, variable=_VARIABLE))


def _replace(files: TlsFiles, issued: ServerCertificate) -> None:
    assert files.cert is not None
    assert files.key is not None
    files.cert.write_bytes(issued.certificate.read_bytes())
    files.key.write_bytes(issued.key.read_bytes())


def test_a_change_is_followed_and_a_broken_one_is_not(
    files: TlsFiles, authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    followed = files.followed()
    first = followed.current()
    renewed = authority.issue(name="renewed")
    _replace(files, renewed)
    time.sleep(CHECK_SECONDS)
    second = followed.current()
    assert second.certificate == renewed.certificate.read_bytes()
    assert followed.current() is second
    assert first.certificate != second.certificate
    assert files.key is not None
    files.key.write_text("cut off")
    with caplog.at_level(logging.ERROR):
        time.sleep(CHECK_SECONDS)
        assert followed.current() is second
    (line,) = caplog.messages
    assert line.startswith(f"the file {files.key} holds no private key")
    assert line.endswith("what was read before stays in use")
    _replace(files, authority.issue(name="repaired"))
    time.sleep(CHECK_SECONDS)
    assert followed.current() is not second


def test_files_that_cannot_be_used_are_not_followed(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="cannot be read"):
        TlsFiles(ca=tmp_path / "nothing").followed()
