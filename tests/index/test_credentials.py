"""TLS and API key towards Qdrant, for both clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from qdrant_client import grpc as qdrant

from creditline.credentials.following import CHECK_SECONDS
from creditline.credentials.qdrant import QdrantCredentials, QdrantCredentialSettings
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import InvalidInput, NotReady, Unavailable
from creditline.index import WorkIndex, WorkSearch
from creditline.settings import read_settings
from tests.index.works_made_up import WIDTH
from tests.real_parts.certificates import CertificateAuthority, ServerCertificate
from tests.real_parts.tls_proxy import tls_in_front_of


@pytest.fixture(scope="module")
def encrypted_port(qdrant_port: int, server_certificate: ServerCertificate) -> Iterator[int]:
    with tls_in_front_of(qdrant_port, server_certificate) as port:
        yield port


def _search(port: int, credentials: QdrantCredentials) -> None:
    async def search() -> None:
        async with WorkSearch.connect(grpc_port=port, credentials=credentials) as works:
            await works.search("missing", np.ones(WIDTH, dtype=np.float32), 1, deadline_seconds=10)

    asyncio.run(search())


def test_both_clients_reach_qdrant_through_tls(encrypted_port: int, authority: CertificateAuthority) -> None:
    trusting = QdrantCredentials(tls=TlsFiles(ca=authority.certificate))
    with WorkIndex.connect(grpc_port=encrypted_port, credentials=trusting) as index:
        assert not index.exists("missing")
        index.reconnect()
        assert not index.exists("missing")
    with pytest.raises(NotReady, match="has no collection 'missing'"):
        _search(encrypted_port, trusting)


def test_a_new_connection_whose_files_are_missing_leaves_the_old_one(
    encrypted_port: int, authority: CertificateAuthority, tmp_path: Path
) -> None:
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(authority.certificate.read_bytes())
    trusting = QdrantCredentials(tls=TlsFiles(ca=trusted))
    with WorkIndex.connect(grpc_port=encrypted_port, credentials=trusting) as index:
        trusted.unlink()
        with pytest.raises(NotReady, match="cannot be read"):
            index.reconnect()
        assert not index.exists("missing")


def test_a_qdrant_of_another_authority_is_refused(encrypted_port: int, tmp_path: Path) -> None:
    stranger = CertificateAuthority(tmp_path / "stranger", name="another authority")
    wrong = QdrantCredentials(tls=TlsFiles(ca=stranger.certificate))
    sentence = (
        "no TLS connection to Qdrant .* is not of a trusted authority; correct CREDITLINE_QDRANT_TLS_CA"
    )
    with (
        WorkIndex.connect(grpc_port=encrypted_port, credentials=wrong) as index,
        pytest.raises(Unavailable, match=sentence),
    ):
        index.exists("missing")
    with pytest.raises(Unavailable, match=sentence):
        _search(encrypted_port, wrong)


@dataclass
class KeyedServer:
    """A server that answers as Qdrant does with an API key, for two calls: there is no Qdrant with keys here.

    Qdrant takes the key of the entry `api-key`, else the bearer token of `authorization`.
    """

    key: str = "first"
    port: int = 0
    seen: list[str] = field(default_factory=list)

    def exists(self, _request: bytes, context: Any) -> bytes:
        self._check(context)
        result = qdrant.CollectionExists(exists=False)
        return bytes(qdrant.CollectionExistsResponse(result=result).SerializeToString())

    def aliases(self, _request: bytes, context: Any) -> bytes:
        self._check(context)
        alias = qdrant.AliasDescription(alias_name="live", collection_name="build")
        return bytes(qdrant.ListAliasesResponse(aliases=[alias]).SerializeToString())

    def _check(self, context: Any) -> None:
        entries = dict(context.invocation_metadata())
        given = entries.get("api-key") or entries.get("authorization", "").removeprefix("Bearer ")
        if given != self.key:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")
        self.seen.append(given)


@pytest.fixture
def keyed() -> Iterator[KeyedServer]:
    answers = KeyedServer()
    server = grpc.server(ThreadPoolExecutor(1))
    calls = {
        "CollectionExists": grpc.unary_unary_rpc_method_handler(answers.exists),
        "ListAliases": grpc.unary_unary_rpc_method_handler(answers.aliases),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("qdrant.Collections", calls)])
    answers.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield answers
    server.stop(None)


def _is_there(server: KeyedServer, credentials: QdrantCredentials) -> Callable[[], bool]:
    index = WorkIndex.connect(grpc_port=server.port, credentials=credentials)
    return lambda: index.exists("missing")


def test_the_api_key_alone_does_not_switch_tls_on(keyed: KeyedServer) -> None:
    assert not _is_there(keyed, QdrantCredentials("first"))()
    assert keyed.seen == ["first"]
    for wrong in (QdrantCredentials("wrong"), QdrantCredentials()):
        with pytest.raises(Unavailable, match=r"does not accept the API key .*CREDITLINE_QDRANT_API_KEY"):
            _is_there(keyed, wrong)()


def test_searches_send_the_api_key_too(keyed: KeyedServer, tmp_path: Path) -> None:
    async def build(credentials: QdrantCredentials) -> str:
        async with WorkSearch.connect(grpc_port=keyed.port, credentials=credentials) as works:
            return await works.build_of("live")

    file = tmp_path / "api-key"
    file.write_text("first\n")
    for right in (QdrantCredentials("first"), QdrantCredentials(api_key_file=file)):
        assert asyncio.run(build(right)) == "build"
    for wrong in (QdrantCredentials("wrong"), QdrantCredentials()):
        with pytest.raises(Unavailable, match=r"does not accept the API key .*CREDITLINE_QDRANT_API_KEY"):
            asyncio.run(build(wrong))
    assert keyed.seen == ["first", "first"]


def test_a_new_key_in_its_file_is_used_at_once(keyed: KeyedServer, tmp_path: Path) -> None:
    file = tmp_path / "api-key"
    file.write_text("first\n")
    exists = _is_there(keyed, QdrantCredentials(api_key_file=file))
    assert not exists()
    keyed.key = "second"
    with pytest.raises(Unavailable, match="does not accept the API key"):
        exists()
    file.write_text("second\n")
    time.sleep(CHECK_SECONDS)
    assert not exists()
    assert keyed.seen == ["first", "second"]


def test_settings_give_the_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDITLINE_QDRANT_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("CREDITLINE_QDRANT_TLS_CA", "/etc/creditline/ca.crt")
    credentials = read_settings(QdrantCredentialSettings).qdrant_credentials
    assert credentials.api_key_file == tmp_path / "key"
    assert credentials.tls == TlsFiles(ca=Path("/etc/creditline/ca.crt"), variable="CREDITLINE_QDRANT_TLS")
    with pytest.raises(NotReady, match=r"the file /etc/creditline/ca\.crt cannot be read"):
        WorkIndex.connect(credentials=credentials)
    monkeypatch.setenv("CREDITLINE_QDRANT_API_KEY", "both")
    with pytest.raises(InvalidInput, match="are both given"):
        read_settings(QdrantCredentialSettings)
