"""The reference of the REST API: current, whole, and a page that loads nothing from elsewhere."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import httpx

from creditline.gateway.application import UseCases
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.transport.contract.reference import reference
from creditline.gateway.transport.rest import rest_app
from tests.gateway.conftest import RunningGateway

_REFERENCE = Path(__file__).parents[3] / "protos" / "rest.md"


def contract() -> dict[str, Any]:
    """The OpenAPI document, which needs no running use case."""
    return rest_app(cast(UseCases, None), GatewayMetrics()).openapi()


def test_the_committed_reference_is_what_the_contract_gives() -> None:
    assert _REFERENCE.read_text() == reference(contract()), "run 'make reference'"


def test_the_reference_has_every_operation_every_parameter_and_every_status() -> None:
    document, text = contract(), reference(contract())
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            section = text.partition(f"## {method.upper()} {path}\n")[2].partition("\n## ")[0]
            for parameter in operation.get("parameters", ()):
                assert f"| `{parameter['name']}` |" in section
            for status in operation["responses"]:
                assert f"| {status} |" in section


def test_every_link_of_the_reference_leads_to_an_object_of_it() -> None:
    text = reference(contract())
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\(#(\w+)\)", text)) <= headings


class _Outside(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.headings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.headings += tag == "h2"
        names = {name for name, _ in attrs}
        if tag in {"script", "link", "img", "iframe", "object"} or "src" in names:
            self.loaded.append(tag)


def test_the_page_of_the_reference_loads_nothing(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        page: httpx.Response = http.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    found = _Outside()
    found.feed(page.text)
    assert found.loaded == []
    assert found.headings > len(contract()["paths"])


def test_other_requests_are_answered_while_the_page_is_made() -> None:
    app, answered = rest_app(cast(UseCases, None), GatewayMetrics()), []

    async def ask(http: httpx.AsyncClient, path: str) -> None:
        assert (await http.get(path)).status_code == 200
        answered.append(path)

    async def ask_both() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
            await ask(http, "/healthz")
            await asyncio.gather(ask(http, "/docs"), ask(http, "/healthz"))

    asyncio.run(ask_both())
    assert answered == ["/healthz", "/healthz", "/docs"]


if __name__ == "__main__":
    _REFERENCE.write_text(reference(contract()))
