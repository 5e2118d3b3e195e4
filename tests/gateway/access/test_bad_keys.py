"""Keys that are not accepted: each has its own sentence, and both faces have the same one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from creditline.client import CreditlineClient
from creditline.errors import InvalidInput, Unauthenticated
from creditline.ledger import Ledger, Scope
from creditline.release import Release
from tests.gateway.conftest import RunningGateway, gateway_settings, running_gateway

_UNKNOWN = "this API key is not known; send 'authorization: Bearer KEY' with a key from the operator"


@dataclass(frozen=True)
class BadKeys:
    """A gateway, and keys by what is wrong with them."""

    gateway: RunningGateway
    keys: dict[str, str]
    ids: dict[str, str]


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[BadKeys]:
    settings = gateway_settings(tmp_path_factory.mktemp("bad-keys"), release)
    with Ledger.open(settings.ledger_url) as ledger:
        expired = ledger.keys.create("museum", [Scope.READ], expires_in=timedelta(milliseconds=1))
        revoked, valid = (ledger.keys.create("museum", [Scope.READ]) for _ in range(2))
        ledger.keys.revoke(revoked.record.id)
    time.sleep(0.01)
    last = valid.text[-1]
    keys = {
        "expired": expired.text,
        "revoked": revoked.text,
        "forged": valid.text[:-1] + ("0" if last != "0" else "1"),
        "made up": f"clk_{'0' * 16}_{'0' * 64}",
        "another form": "password",
    }
    ids = {"expired": expired.record.id, "revoked": revoked.record.id}
    with running_gateway(settings) as gateway:
        yield BadKeys(gateway, keys, ids)


@pytest.mark.parametrize("kind", ["expired", "revoked", "forged", "made up", "another form"])
def test_both_faces_refuse_a_key_with_the_same_sentence(bad: BadKeys, kind: str) -> None:
    key = bad.keys[kind]
    with bad.gateway.client(api_key=key) as client, pytest.raises(Unauthenticated) as refused:
        client.release()
    with bad.gateway.http(headers={"Authorization": f"Bearer {key}"}) as http:
        answer = http.get("/v1/releases/live")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["type"] == "urn:creditline:error:Unauthenticated"
    assert answer.json()["detail"] == refused.value.message
    if kind in bad.ids:
        assert refused.value.message.startswith(f"API key {bad.ids[kind]} is {kind} since ")
    else:
        assert refused.value.message == _UNKNOWN
    assert key not in refused.value.message


def test_a_key_of_other_letters_is_unknown_over_http_and_never_sent_over_grpc(bad: BadKeys) -> None:
    with bad.gateway.http() as http:
        headers = httpx.Headers([(b"authorization", "Bearer ключ".encode())])
        answer = http.get("/v1/releases/live", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, _UNKNOWN)
    for wrong in ("ключ", "two\nlines", "a b"):
        with pytest.raises(InvalidInput, match="the API key has characters that no key has") as refused:
            CreditlineClient(bad.gateway.target, api_key=wrong)
        assert wrong not in refused.value.message
