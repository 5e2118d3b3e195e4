"""Private mode: a vector instead of picture and prompt, over both faces, and what becomes of its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from typer.testing import CliRunner

from creditline.api.answers import AttributionAnswer
from creditline.api.vectors import QueryVector, vector_message
from creditline.cli.attribute import app as attribute_app
from creditline.cli.attribution import app as attribution_app
from creditline.client import CreditlineClient
from creditline.corpus.works import Work
from creditline.errors import CreditlineError, FailedPrecondition, FingerprintMismatch, InvalidInput, NotFound
from creditline.v1.attribution_pb2 import AttributeRequest
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import running_gateway
from tests.gateway.served import Served

if TYPE_CHECKING:
    from creditline.encoder.queries import QueryEncoder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_CALL_SECONDS = 120
_Change = Callable[[QueryVector], QueryVector]


@pytest.fixture(scope="module")
def encoder(served: Served) -> QueryEncoder:
    """The release's encoder in this process, as a client has it."""
    from creditline.encoder.queries import QueryEncoder

    return QueryEncoder.open(served.release.directory)


@pytest.fixture(scope="module")
def client(served: Served, encoder: QueryEncoder) -> Iterator[CreditlineClient]:
    with served.gateway.client(timeout_seconds=_CALL_SECONDS, encoder=encoder) as client:
        yield client


@pytest.fixture(scope="module")
def work(served: Served) -> Work:
    return served.corpus.works[0]


@pytest.fixture(scope="module")
def vector(encoder: QueryEncoder, work: Work) -> QueryVector:
    return encoder.embed(work.thumbnail, work.caption)


@pytest.fixture(scope="module")
def answer(client: CreditlineClient, work: Work) -> AttributionAnswer:
    return client.attribute(work.thumbnail, prompt=work.caption, k=5, private=True)


def test_a_private_query_gets_the_answer_of_an_open_one(
    client: CreditlineClient, answer: AttributionAnswer, work: Work
) -> None:
    open_answer = client.attribute(work.thumbnail, prompt=work.caption, k=5)
    assert [each.id for each in answer.works] == [each.id for each in open_answer.works]
    assert [each.share for each in answer.works] == pytest.approx(
        [each.share for each in open_answer.works], abs=1e-4
    )
    assert answer.remainder == pytest.approx(open_answer.remainder, abs=1e-4)
    assert (answer.private, open_answer.private) == (True, False)
    assert (answer.ood_score, answer.prompt_agreement) == (None, None)


def test_the_ledger_has_neither_picture_nor_prompt_nor_vector_of_it(
    served: Served, answer: AttributionAnswer
) -> None:
    with served.ledger() as ledger:
        stored = ledger.attribution(answer.attribution_id)
        assert ledger.verify_chain().intact
    assert stored.is_private
    assert (stored.image, stored.prompt, "vector" in stored.answer) == (b"", "", False)


def test_it_is_marked_when_it_is_read_again(
    served: Served, client: CreditlineClient, answer: AttributionAnswer
) -> None:
    recorded = client.attribution(answer.attribution_id)
    assert (recorded.answer.private, recorded.prompt) == (True, "")
    with pytest.raises(NotFound, match="private mode"):
        client.attributed_picture(answer.attribution_id)
    with served.gateway.http() as http:
        path = f"/v1/attributions/{answer.attribution_id}"
        assert http.get(path).json()["answer"]["private"] is True
        missing = http.get(f"{path}/picture")
    assert (missing.status_code, "private mode" in missing.json()["detail"]) == (404, True)


def test_it_is_never_audited(served: Served, client: CreditlineClient, answer: AttributionAnswer) -> None:
    with pytest.raises(FailedPrecondition, match="nothing can be audited") as refused:
        client.submit_audit(answer.attribution_id)
    assert refused.value.field == "attribution_id"
    with served.gateway.http() as http:
        response = http.post("/v1/audits", json={"attribution_id": answer.attribution_id})
    assert (response.status_code, response.json()["detail"]) == (409, refused.value.message)


def test_it_is_not_sampled_where_every_other_answer_is(
    served: Served, work: Work, encoder: QueryEncoder, tmp_path: Path
) -> None:
    settings = served.settings.model_copy(
        update={"audit_fraction": 1.0, "ledger_url": f"sqlite:///{tmp_path}/ledger.db"}
    )
    with (
        running_gateway(settings) as gateway,
        gateway.client(timeout_seconds=_CALL_SECONDS, encoder=encoder) as client,
    ):
        ids = [
            client.attribute(work.thumbnail, prompt=work.caption, private=private).attribution_id
            for private in (True, False)
        ]
        audits = [client.attribution(each).audit for each in ids]
    assert [audit is None for audit in audits] == [True, False]


def test_a_gateway_that_compares_pictures_with_prompts_refuses_it(
    served: Served, work: Work, encoder: QueryEncoder, tmp_path: Path
) -> None:
    settings = served.settings.model_copy(
        update={"min_prompt_agreement": 1e-9, "ledger_url": f"sqlite:///{tmp_path}/ledger.db"}
    )
    with (
        running_gateway(settings) as gateway,
        gateway.client(timeout_seconds=_CALL_SECONDS, encoder=encoder) as client,
        pytest.raises(InvalidInput, match="which a vector does not show"),
    ):
        client.attribute(work.thumbnail, prompt=work.caption, private=True)


def test_the_command_shows_picture_and_prompt_where_they_are_known_only(
    served: Served, work: Work, tmp_path: Path
) -> None:
    picture = tmp_path / "query.webp"
    picture.write_bytes(work.thumbnail)
    place, release = ["--target", served.gateway.target], str(served.release.directory)
    options = ["--prompt", "a kite", "--private", "--encoder", release, "--json", *place]
    asked = CliRunner().invoke(attribute_app, [str(picture), *options])
    assert asked.exit_code == 0, asked.output
    here = json.loads(asked.stdout)
    shown = CliRunner().invoke(attribution_app, ["show", here["attribution_id"], "--json", *place])
    assert shown.exit_code == 0, shown.output
    there = json.loads(shown.stdout)
    assert here["works"] == there["works"]
    assert (here["private"], there["private"]) == (True, True)
    assert (here["query"]["prompt"], there["query"]["prompt"]) == ("a kite", "")
    assert here["query"]["picture_sha256"] is not None
    assert there["query"]["picture_sha256"] is None


_WRONG: dict[str, tuple[_Change, type[CreditlineError], int, str]] = {
    "another release": (
        lambda vector: replace(vector, release="other"),
        FingerprintMismatch,
        409,
        "embed the query with the gateway's release",
    ),
    "another encoder": (
        lambda vector: replace(vector, encoder="f" * 64),
        FingerprintMismatch,
        409,
        "encoder 'ffffffffffffffff'",
    ),
    "another dimension": (
        lambda vector: replace(vector, values=vector.values[1:]),
        InvalidInput,
        400,
        "vector has 31 values; those of release",
    ),
    "no values": (lambda vector: replace(vector, values=()), InvalidInput, 400, "vector has 0 values"),
    "twice the length": (
        lambda vector: replace(vector, values=tuple(2 * each for each in vector.values)),
        InvalidInput,
        400,
        "vector has length 2; send",
    ),
    "beyond the tolerance": (
        lambda vector: replace(vector, values=tuple(1.002 * each for each in vector.values)),
        InvalidInput,
        400,
        "vector has length 1.002; send",
    ),
    "zero": (
        lambda vector: replace(vector, values=tuple(0.0 for _ in vector.values)),
        InvalidInput,
        400,
        "vector has length 0; send",
    ),
    "not finite": (
        lambda vector: replace(vector, values=(float("nan"), *vector.values[1:])),
        InvalidInput,
        400,
        "vector has length nan; send finite values",
    ),
}


@pytest.mark.parametrize("wrong", _WRONG)
def test_a_vector_that_cannot_be_used_is_refused_alike_over_both_faces(
    served: Served, vector: QueryVector, wrong: str
) -> None:
    change, kind, status, message = _WRONG[wrong]
    changed = change(vector)
    with pytest.raises(kind, match=message) as refused:
        _by_grpc(served, vector=vector_message(changed))
    assert refused.value.field == "vector"
    response = _by_http(served, vector=_as_json(changed))
    assert (response.status_code, response.json()["detail"]) == (status, refused.value.message)


def test_a_vector_within_the_tolerance_is_answered(served: Served, vector: QueryVector) -> None:
    longer = replace(vector, values=tuple(1.0005 * each for each in vector.values))
    response = _by_http(served, vector=_as_json(longer), k=1)
    assert response.status_code == 200
    (best,) = response.json()["works"]
    assert best["score"] == pytest.approx(1.0, abs=1e-3)
    assert best["score"] <= 1.0 + 1e-6


def test_a_vector_does_not_come_with_a_picture_or_a_prompt(served: Served, vector: QueryVector) -> None:
    for more in ({"image": b"picture"}, {"prompt": "a kite"}):
        with pytest.raises(InvalidInput, match="vector comes with image or prompt"):
            _by_grpc(served, vector=vector_message(vector), **more)
    response = _by_http(served, vector=_as_json(vector), prompt="a kite")
    assert (response.status_code, response.json()["field"]) == (400, "prompt")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"vector": {"values": [1.0], "release": "r"}}, "encoder"),
        ({"vector": {"values": ["1"], "release": "r", "encoder": "e"}}, "values"),
        ({"vector": {"values": [0.0] * 65_537, "release": "r", "encoder": "e"}}, "values"),
        ({"vector": None}, "vector"),
        ({"prompt": "a kite"}, "image"),
        ([], "body"),
    ],
)
def test_a_wrong_body_is_refused_by_the_name_of_its_field(served: Served, body: Any, field: str) -> None:
    with served.gateway.http() as http:
        response = http.post("/v1/attributions", json=body)
    assert (response.status_code, response.json()["field"]) == (400, field)


def test_the_contract_states_both_bodies(served: Served) -> None:
    with served.gateway.http() as http:
        document = http.get("/openapi.json").json()
    body = document["paths"]["/v1/attributions"]["post"]["requestBody"]["content"]["application/json"]
    required = [set(each["required"]) for each in body["schema"]["anyOf"]]
    assert required == [{"image", "prompt"}, {"vector"}]
    assert "$defs" not in json.dumps(body)


def _by_grpc(served: Served, **fields: Any) -> Any:
    """An answer to a request that the client would not make, with the client's errors."""
    from creditline.client.errors import translated

    with grpc.insecure_channel(served.gateway.target) as channel:
        try:
            return AttributionStub(channel).Attribute(AttributeRequest(**fields), timeout=_CALL_SECONDS)
        except grpc.RpcError as failure:
            raise translated(failure, served.gateway.target) from failure


def _as_json(vector: QueryVector) -> dict[str, Any]:
    return {"values": list(vector.values), "release": vector.release, "encoder": vector.encoder}


def _by_http(served: Served, **body: Any) -> httpx.Response:
    # httpx writes no values that are not finite.
    content = json.dumps(body).encode()
    with served.gateway.http() as http:
        return http.post("/v1/attributions", content=content, headers={"content-type": "application/json"})
