"""Each bad input, over gRPC and over REST: refused with the field, the value and what to do; never a 5xx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from creditline.errors import CreditlineError, FingerprintMismatch, InvalidInput, NotFound, Unavailable
from tests.gateway.conftest import GENERATOR, RunningGateway
from tests.gateway.pictures_made_up import (
    animated_gif,
    as_file,
    hundred_megapixels,
    noise,
    palette_with_alpha,
    red_square,
    twenty_megabytes,
)

_PNG = as_file(red_square(), "PNG")
_OTHER_GENERATOR = "d" * 64
_JSON = {"Content-Type": "application/json"}


def _ask_over_grpc(gateway: RunningGateway, asked: dict[str, Any]) -> tuple[str, str | None, str]:
    with gateway.client() as client, pytest.raises(CreditlineError) as refused:
        client.attribute(asked.pop("image"), **asked)
    return type(refused.value).__name__, refused.value.field, refused.value.message


def _ask_over_rest(gateway: RunningGateway, asked: dict[str, Any]) -> tuple[str, str | None, str]:
    files = {"image": ("query", asked.pop("image"))}
    with gateway.http() as http:
        answer = http.post("/v1/attributions", files=files, data=asked)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == problem["status"]
    assert answer.status_code < 500 or "service" in problem
    return problem["type"].rsplit(":", 1)[1], problem.get("field"), problem["detail"]


_BAD_INPUT = {
    "not an image": ({"image": b"hello"}, InvalidInput, "image", "not in a known format"),
    "truncated": ({"image": as_file(noise(64), "PNG")[:2000]}, InvalidInput, "image", "cut short"),
    "0 bytes": ({"image": b""}, InvalidInput, "image", "0 bytes"),
    "100 megapixels": ({"image": hundred_megapixels()}, InvalidInput, "image", "10000 × 10000"),
    "20 MB": ({"image": twenty_megabytes()}, InvalidInput, "image", "bytes"),
    "empty prompt": ({"prompt": ""}, InvalidInput, "prompt", "empty"),
    "invisible prompt": ({"prompt": "\u200b\u2800 \u00ad"}, InvalidInput, "prompt", "blank"),
    "long prompt": ({"prompt": "x" * 10_000}, InvalidInput, "prompt", "10,000 characters"),
    "k of 0": ({"k": 0}, InvalidInput, "k", "k is 0"),
    "k of 10,000": ({"k": 10_000}, InvalidInput, "k", "k is 10000"),
    "unknown release": ({"release": "another"}, NotFound, "release", "'another'"),
    "no fingerprint": ({"generator": "my-sd"}, InvalidInput, "generator", "fingerprint"),
    "unknown generator": (
        {"generator": _OTHER_GENERATOR},
        FingerprintMismatch,
        "generator",
        _OTHER_GENERATOR,
    ),
}


@pytest.mark.parametrize("ask", [_ask_over_grpc, _ask_over_rest])
@pytest.mark.parametrize("case", _BAD_INPUT)
def test_bad_input_is_refused_by_field_and_value(
    lonely_gateway: RunningGateway, ask: Callable[..., tuple[str, str | None, str]], case: str
) -> None:
    changes, kind, field, value = _BAD_INPUT[case]
    asked = {"image": _PNG, "prompt": "a red square", "generator": GENERATOR, **changes}
    assert ask(lonely_gateway, asked)[:2] == (kind.__name__, field)
    asked = {"image": _PNG, "prompt": "a red square", "generator": GENERATOR, **changes}
    assert value in ask(lonely_gateway, asked)[2]


@pytest.mark.parametrize("ask", [_ask_over_grpc, _ask_over_rest])
@pytest.mark.parametrize(
    "image",
    [as_file(red_square().convert("CMYK"), "JPEG"), palette_with_alpha(), animated_gif()],
    ids=["CMYK", "palette with alpha", "animated GIF"],
)
def test_unusual_pictures_are_handled_and_get_as_far_as_the_embedder(
    lonely_gateway: RunningGateway, ask: Callable[..., tuple[str, str | None, str]], image: bytes
) -> None:
    asked = {"image": image, "prompt": "a red square", "generator": GENERATOR}
    kind, _, message = ask(lonely_gateway, asked)
    assert kind == Unavailable.__name__
    assert "embedder" in message


def test_after_all_of_it_the_gateway_still_answers(lonely_gateway: RunningGateway) -> None:
    for changes, kind, _, _ in _BAD_INPUT.values():
        asked = {"image": _PNG, "prompt": "a red square", "generator": GENERATOR, **changes}
        assert _ask_over_grpc(lonely_gateway, dict(asked))[0] == kind.__name__
    with lonely_gateway.client() as client:
        assert client.release().release.name == "gateway-test"


@pytest.mark.parametrize(
    ("files", "data", "field"),
    [
        ({"k": (None, "3")}, {"prompt": "a"}, "image"),
        ({"image": ("q", _PNG)}, {"prompt": "a", "k": "many"}, "k"),
        ({"image": ("q", _PNG)}, {"prompt": "a", "k": "1.5"}, "k"),
        ({"image": ("q", _PNG)}, {"generator": GENERATOR}, "prompt"),
    ],
)
def test_a_form_that_lacks_or_garbles_a_field_names_it(
    lonely_gateway: RunningGateway, files: dict[str, Any], data: dict[str, str], field: str
) -> None:
    with lonely_gateway.http() as http:
        answer = http.post("/v1/attributions", files=files, data=data)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_picture_sent_as_text_is_refused_by_name(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        answer = http.post("/v1/attributions", files={"image": (None, "picture.png"), "prompt": (None, "a")})
    assert (answer.status_code, answer.json()["field"]) == (400, "image")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_beyond_all_limits_is_refused_with_or_without_its_length(
    lonely_gateway: RunningGateway, chunked: bool
) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="q"\r\n\r\n'
    parts = [head, *[bytes(1 << 20)] * 24, b"\r\n--x--\r\n"]
    content = iter(parts) if chunked else b"".join(parts)
    with lonely_gateway.http() as http:
        answer = http.post(
            "/v1/attributions",
            content=content,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    assert answer.status_code == 413
    assert answer.json()["field"] == "image"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/audits", b"not json", 400),
        ("POST", "/v1/audits", b"{}", 400),
        ("POST", "/v1/audits", b'{"attribution_id": 7}', 400),
        ("POST", "/v1/audits", b'{"attribution_id": "\\ud800"}', 400),
        ("POST", "/v1/audits", b'{"attribution_id": "' + b"0" * 32 + b'"}', 404),
        ("GET", "/v1/audits/one", None, 400),
        ("GET", "/v1/audits/" + "0" * 32, None, 404),
        ("GET", "/v1/works/nobody's", None, 404),
        ("GET", "/v1/works/" + "x" * 2000, None, 400),
        ("GET", "/v1/works/%FF%00", None, 404),
        ("GET", "/v1/works/nobody's/thumbnail", None, 404),
        ("GET", "/v1/releases/another", None, 404),
        ("GET", "/nothing/here", None, 404),
        ("DELETE", "/v1/audits", None, 405),
        ("POST", "/v1/attributions", b"{}", 400),
    ],
)
def test_every_other_wrong_request_is_a_problem_too(
    lonely_gateway: RunningGateway, method: str, path: str, content: bytes | None, status: int
) -> None:
    with lonely_gateway.http() as http:
        answer = http.request(method, path, content=content, headers=_JSON if content else {})
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
