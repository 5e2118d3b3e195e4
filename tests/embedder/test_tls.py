"""An embedder with TLS that answers only callers with certificates, and its metrics over HTTPS."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from creditline.credentials.following import CHECK_SECONDS
from creditline.credentials.tls_files import TlsFiles
from creditline.embedder_client.queries import EmbedderClient
from creditline.embedder_client.reranking import RerankerClient
from creditline.embedder_client.works import WorkEmbedder
from creditline.errors import Unavailable
from tests.real_parts.certificates import CertificateAuthority

if TYPE_CHECKING:
    from creditline.embedder.server import EmbedderServer
    from creditline.encoder.model import EmbedderModel


@dataclass(frozen=True)
class Encrypted:
    """A running embedder, and the files of a caller that it knows."""

    server: EmbedderServer
    caller: TlsFiles

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.grpc_port}"

    async def release(self, tls: TlsFiles | None) -> str:
        client = EmbedderClient(self.target, tls)
        try:
            return await client.loaded_release(deadline_seconds=10)
        finally:
            await client.close()


@asynccontextmanager
async def _encrypted(
    model: EmbedderModel, authority: CertificateAuthority, directory: Path
) -> AsyncIterator[Encrypted]:
    from creditline.embedder.server import EmbedderServer
    from creditline.embedder.settings import EmbedderSettings

    own, caller = authority.issue(directory=directory), authority.issue(name="caller", directory=directory)
    settings = EmbedderSettings(
        embedder_port=0,
        embedder_metrics_port=0,
        embedder_tls_cert=own.certificate,
        embedder_tls_key=own.key,
        embedder_tls_ca=authority.certificate,
    )
    async with EmbedderServer(settings, model) as server:
        yield Encrypted(server, TlsFiles(caller.certificate, caller.key, authority.certificate))


def test_only_callers_with_a_certificate_are_answered(
    model: EmbedderModel, authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path / "stranger", name="another authority")
    theirs = stranger.issue()

    async def ask() -> None:
        async with _encrypted(model, authority, tmp_path) as embedder:
            assert await embedder.release(embedder.caller) == model.release.name
            with await asyncio.to_thread(WorkEmbedder, embedder.target, tls=embedder.caller) as works:
                assert works.release == model.release.name
            for wrong in (
                None,
                replace(embedder.caller, cert=None, key=None),
                replace(embedder.caller, cert=theirs.certificate, key=theirs.key),
            ):
                with pytest.raises(Unavailable, match="the embedder does not answer"):
                    await embedder.release(wrong)
            with pytest.raises(Unavailable, match="its certificate is not of a trusted authority"):
                await embedder.release(replace(embedder.caller, ca=stranger.certificate))

    asyncio.run(ask())


def test_a_caller_of_the_reranker_learns_why_there_is_no_tls_connection(
    model: EmbedderModel, authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path / "stranger", name="another authority")

    async def refusal(target: str, tls: TlsFiles | None) -> Unavailable:
        client = RerankerClient(target, tls)
        try:
            with pytest.raises(Unavailable) as error:
                await client.check(deadline_seconds=10)
        finally:
            await client.close()
        return error.value

    async def ask() -> None:
        async with _encrypted(model, authority, tmp_path) as embedder:
            distrusted = await refusal(embedder.target, replace(embedder.caller, ca=stranger.certificate))
            assert distrusted.message == (
                f"there is no TLS connection to the reranker at {embedder.target}: its certificate is not of"
                " a trusted authority; correct CREDITLINE_EMBEDDER_TLS_CA here, or the embedder's certificate"
            )
            without = await refusal(embedder.target, None)
            assert without.message.startswith(f"the reranker does not answer at {embedder.target}; start")
            assert (distrusted.service, without.service) == ("reranker", "reranker")

    asyncio.run(ask())


def test_a_caller_shows_its_new_certificate_without_a_restart(
    model: EmbedderModel, authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path / "stranger", name="another authority")
    theirs = stranger.issue()

    async def ask() -> None:
        async with _encrypted(model, authority, tmp_path) as embedder:
            assert embedder.caller.cert is not None
            assert embedder.caller.key is not None
            good = [path.read_bytes() for path in (embedder.caller.cert, embedder.caller.key)]
            shutil.copy(theirs.certificate, embedder.caller.cert)
            shutil.copy(theirs.key, embedder.caller.key)
            client = EmbedderClient(embedder.target, embedder.caller)
            with pytest.raises(Unavailable):
                await client.loaded_release(deadline_seconds=5)
            embedder.caller.cert.write_bytes(good[0])
            embedder.caller.key.write_bytes(good[1])
            await asyncio.sleep(CHECK_SECONDS)
            assert await client.loaded_release(deadline_seconds=5) == model.release.name
            await client.close()

    asyncio.run(ask())


def test_metrics_are_read_over_https_while_somebody_is_idle(
    model: EmbedderModel, authority: CertificateAuthority, tmp_path: Path
) -> None:
    def read(port: int) -> str:
        with socket.create_connection(("127.0.0.1", port)):
            trusting = ssl.create_default_context(cafile=str(authority.certificate))
            started = time.monotonic()
            answer = httpx.get(f"https://127.0.0.1:{port}/metrics", verify=trusting, trust_env=False)
            assert time.monotonic() - started < 5.0
        return answer.text

    async def ask() -> str:
        async with _encrypted(model, authority, tmp_path) as embedder:
            return await asyncio.to_thread(read, embedder.server.metrics_port)

    metrics = asyncio.run(ask())
    assert "creditline_embedder_waiting 0.0" in metrics
    for file in ("certificate", "authorities"):
        assert f'expiry_timestamp_seconds{{connection="embedder",file="{file}"}}' in metrics
