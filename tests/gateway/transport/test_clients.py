"""Clients before a whole gateway: the examples of the documents, and calls whose reply is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from creditline.api.answers import AttributionAnswer
from creditline.client import AsyncCreditlineClient, AttributionQuery, CreditlineClient
from creditline.corpus.works import Work
from creditline.errors import CreditlineError, InvalidInput
from tests.faults.lost_replies import LostReply
from tests.faults.tcp_proxy import TcpProxy
from tests.gateway.conftest import RunningGateway, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square
from tests.gateway.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_ROOT = Path(__file__).resolve().parents[3]
_README = _ROOT / "services" / "creditline" / "client" / "README.md"
_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KEY = "the-key-of-the-examples"
_PROCESS_SECONDS = 300
_ATTRIBUTE = "/creditline.v1.Attribution/Attribute"


def _examples() -> list[tuple[str, str]]:
    """Language and text of the examples."""
    section = _README.read_text().partition("\n## Examples\n")[2].partition("\n## ")[0]
    return [(language, text) for language, text in _BLOCK.findall(section)]


@pytest.fixture(scope="module")
def locked(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that asks for a key."""
    directory = tmp_path_factory.mktemp("clients")
    settings = served.settings.model_copy(
        update={"api_keys": _KEY, "ledger_url": f"sqlite:///{directory}/ledger.db"}
    )
    with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def listed(locked: RunningGateway) -> list[str]:
    """The lines of the answer to the examples' query."""
    with locked.client(api_key=_KEY, timeout_seconds=120) as client:
        answer = client.attribute(as_file(red_square(), "PNG"), prompt="a red ladybug", k=3)
    return [f"{work.share:6.1%}  {work.contributor}: {work.title}" for work in answer.works]


def _printed(language: str, text: str, gateway: RunningGateway, directory: Path) -> str:
    """Output of an example that runs as it stands, but for the addresses."""
    here = text.replace("http://127.0.0.1:7180", gateway.url)
    here = here.replace("127.0.0.1:7100", gateway.target).replace("timeout=10", "timeout=120")
    here = here.replace('["CREDITLINE_API_KEY"])', '["CREDITLINE_API_KEY"], timeout_seconds=120)')
    (directory / "picture.png").write_bytes(as_file(red_square(), "PNG"))
    done = subprocess.run(
        [sys.executable, "-c", here] if language == "python" else ["sh", "-c", here],
        cwd=directory,
        env={**os.environ, "CREDITLINE_API_KEY": _KEY, "PYTHONPATH": str(_ROOT / "services")},
        capture_output=True,
        text=True,
        timeout=_PROCESS_SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_document_has_an_example_of_each_kind() -> None:
    kinds = [("import AsyncCreditlineClient", "python"), ("import CreditlineClient", "python")]
    kinds += [("curl", "sh"), ("ProtoReflectionDescriptorDatabase", "python")]
    for word, language in kinds:
        assert [each for each, text in _examples() if word in text] == [language], word


@pytest.mark.parametrize("number", range(4), ids=["blocking", "asyncio", "curl", "reflection"])
def test_an_example_prints_the_answer(
    locked: RunningGateway, listed: list[str], tmp_path: Path, number: int
) -> None:
    language, text = _examples()[number]
    if language == "sh":
        assert shutil.which("curl"), "this example needs curl; install it"
    printed = _printed(language, text, locked, tmp_path)
    if language == "sh":
        titles = [line.partition(": ")[2] for line in listed]
        assert re.findall(r'"title":"([^"]*)"', printed) == titles
    else:
        assert "\n".join(listed) in printed
    if "Reflection" in text:
        assert "creditline.v1.Attribution\n" in printed


def test_a_call_whose_reply_is_lost_is_answered_and_recorded_once(served: Served) -> None:
    def newest() -> int:
        with served.ledger() as ledger:
            return ledger.verify_chain().attributions

    before = newest()
    loss = LostReply(_ATTRIBUTE)
    port = int(served.gateway.target.rpartition(":")[2])
    with (
        TcpProxy(port, script=loss.script) as proxy,
        CreditlineClient(f"127.0.0.1:{proxy.port}", timeout_seconds=120) as client,
    ):
        answer = client.attribute(as_file(red_square(), "PNG"), prompt="a red ladybug", k=3)
        assert client.attribution(answer.attribution_id).answer.works == answer.works
    assert loss.lost.is_set()
    assert loss.calls[_ATTRIBUTE] == 2
    assert newest() == before + 1


def test_several_pictures_in_one_call_get_their_answers_or_their_errors(served: Served) -> None:
    work = served.corpus.works[0]
    good = AttributionQuery(work.thumbnail, work.caption, k=2)
    queries = [good, AttributionQuery(b"no picture", "a kite"), good]
    with served.gateway.client(timeout_seconds=120) as client:
        first, wrong, last = client.attribute_batch(queries)
        with pytest.raises(InvalidInput):
            client.attribute_batch([])
    assert isinstance(first, AttributionAnswer)
    assert isinstance(last, AttributionAnswer)
    assert first.works == last.works
    assert first.attribution_id != last.attribution_id
    assert isinstance(wrong, InvalidInput)
    assert "not in a known format" in wrong.message


def test_lists_are_read_to_their_end_by_both_clients(served: Served) -> None:
    async def concurrently() -> tuple[list[str], list[str]]:
        async with AsyncCreditlineClient(served.gateway.target, timeout_seconds=120) as client:
            works = [work.id async for work in client.works()]
            return works, [person.name async for person in client.contributors()]

    with served.gateway.client(timeout_seconds=120) as client:
        asked = [client.attribute(as_file(red_square(), "PNG"), prompt="a kite", k=1) for _ in range(2)]
        newest = [each.id for each in itertools.islice(client.attributions(), 2)]
        audit = client.submit_audit(newest[0])
        assert next(client.audits()) == audit
        blocking = [work.id for work in client.works()], [person.name for person in client.contributors()]
    assert newest == [each.attribution_id for each in reversed(asked)]
    assert asyncio.run(concurrently()) == blocking
    works, people = blocking
    assert works == sorted(served.corpus.ids)
    assert {"Nathan Eady", "Nicu Buculei"} <= set(people)
    assert len(people) == len(set(people))


def _queries(work: Work) -> Iterator[AttributionQuery]:
    """Two that can be answered, with one between them that cannot, and the end of those that can be sent."""
    yield AttributionQuery(work.thumbnail, work.caption, k=2)
    yield AttributionQuery(b"no picture", "a kite")
    yield AttributionQuery(work.thumbnail, work.caption, k=3)
    raise ValueError("no more queries")


def test_queries_are_answered_as_they_come_until_they_fail(served: Served) -> None:
    found: dict[int, AttributionAnswer | CreditlineError] = {}

    def ask() -> None:
        with served.gateway.client() as client:
            for number, answer in client.attribute_stream(_queries(served.corpus.works[0])):
                found[number] = answer

    with pytest.raises(ValueError, match="no more"):
        ask()
    _assert_answered(found)


def test_the_client_for_asyncio_answers_queries_as_they_come(served: Served) -> None:
    found: dict[int, AttributionAnswer | CreditlineError] = {}

    async def queries() -> AsyncIterator[AttributionQuery]:
        for query in _queries(served.corpus.works[0]):
            yield query

    async def ask() -> None:
        async with AsyncCreditlineClient(served.gateway.target) as client:
            async for number, answer in client.attribute_stream(queries()):
                found[number] = answer

    with pytest.raises(ValueError, match="no more"):
        asyncio.run(ask())
    _assert_answered(found)


def _assert_answered(found: dict[int, AttributionAnswer | CreditlineError]) -> None:
    assert sorted(found) == [0, 1, 2]
    assert isinstance(found[1], InvalidInput)
    counts = [len(each.works) for each in found.values() if isinstance(each, AttributionAnswer)]
    assert sorted(counts) == [2, 3]
