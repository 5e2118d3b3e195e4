"""Answers after a withdrawal, by the real embedder and a real Qdrant: what is withdrawn is never shown."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from qdrant_client import models as qdrant

from creditline.api.answers import AttributionAnswer
from creditline.client import CreditlineClient
from creditline.corpus.works import Corpus, Work
from creditline.gateway.settings import GatewaySettings
from creditline.index import WorkIndex, index_release
from creditline.index.builds.promotion import builds
from creditline.ledger import Ledger
from creditline.release import Release
from tests.gateway.conftest import GENERATOR, RunningGateway, running_gateway
from tests.gateway.served import APPLE, FLAGS, SHARED, SHARED_RIGHTS, Served
from tests.local.qdrant_process import local_qdrant

# The fixture embeds a corpus and starts three processes, which takes long on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Place:
    """A Qdrant of one's own that holds the release, and settings of a gateway on it with a new ledger."""

    settings: GatewaySettings
    release: Release
    corpus: Corpus
    port: int

    def index(self) -> WorkIndex:
        return WorkIndex.connect(grpc_port=self.port)

    def qdrant(self) -> contextlib.closing[QdrantClient]:
        """An operator's own client, behind our back."""
        return contextlib.closing(
            QdrantClient(host="127.0.0.1", grpc_port=self.port, prefer_grpc=True, check_compatibility=False)
        )

    def ledger(self) -> Ledger:
        return Ledger.open(self.settings.ledger_url)


@pytest.fixture
def place(served: Served, filled_qdrant: Path, tmp_path: Path) -> Iterator[Place]:
    shutil.copytree(filled_qdrant, tmp_path / "qdrant")
    with local_qdrant(tmp_path / "qdrant") as running:
        changes = {
            "qdrant_grpc_port": running.port,
            "ledger_url": f"sqlite:///{tmp_path}/ledger.db",
        }
        settings = served.settings.model_copy(update=changes)
        yield Place(settings, served.release, served.corpus, running.port)


def _ask(client: CreditlineClient, work: Work, k: int = 5) -> AttributionAnswer:
    return client.attribute(
        work.thumbnail, prompt=work.caption, generator=GENERATOR, k=k, timeout_seconds=120
    )


def _shown(answer: AttributionAnswer) -> set[str]:
    return {work_id for work in answer.works for work_id in (work.id, *work.copies)}


def _named(answer: AttributionAnswer) -> set[str]:
    return {work.contributor for work in answer.works} | {person.name for person in answer.contributors}


def _withheld(gateway: RunningGateway) -> float:
    """How many hits the gateway itself held back."""
    with gateway.http() as http:
        lines = http.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith("creditline_gateway_withheld_hits_total ")]
    return float(line.split()[1])


def test_a_withdrawn_work_is_gone_from_the_next_answer_and_the_list_stays_as_long(place: Place) -> None:
    work = place.corpus.works[5]
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        before = _ask(client, work)
        assert work.id in _shown(before)
        status = client.withdraw_work(work.id)
        after = _ask(client, work)
        assert _withheld(gateway) == 0.0, "the index hid it itself"
    assert (status.carried_out, status.pending) == (True, "")
    assert work.id not in _shown(after)
    assert len(after.works) == len(before.works) == 5
    assert sum(each.share for each in after.works) + after.remainder == pytest.approx(1.0, abs=1e-6)


def test_a_withdrawn_contributor_is_never_named_and_their_influence_stays_in_the_remainder(
    place: Place,
) -> None:
    work = place.corpus.works[5]
    everything = len(place.corpus)
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        before = _ask(client, work, k=everything)
        assert before.remainder == pytest.approx(0.0, abs=1e-6)
        client.withdraw_contributor(work.contributor)
        after = _ask(client, work, k=everything)
    held = {person.name: person.share for person in before.contributors}
    assert work.contributor not in _named(after)
    assert after.remainder == pytest.approx(held.pop(work.contributor), abs=2e-3)
    assert {person.name: person.share for person in after.contributors} == pytest.approx(held, abs=2e-3)


def test_a_work_with_a_withdrawn_rights_holder_is_left_out_and_nobody_is_credited_with_it(
    place: Place,
) -> None:
    work, (leaving, other) = place.corpus.works[place.corpus.row(SHARED)], SHARED_RIGHTS
    everything = len(place.corpus)
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        before = _ask(client, work, k=everything)
        client.withdraw_contributor(leaving.name)
        after = _ask(client, work, k=everything)
        read = client.attribution(before.attribution_id)
    held = {person.name: person.share for person in before.contributors}
    share = next(each.share for each in before.works if each.id == work.id)
    assert held.pop(leaving.name) == pytest.approx(0.6 * share)
    held[other.name] -= 0.4 * share
    assert after.remainder == pytest.approx(share, abs=2e-3)
    assert {person.name: person.share for person in after.contributors} == pytest.approx(held, abs=2e-3)
    assert [each.id for each in read.answer.works if each.withdrawn] == [work.id]


def test_of_copies_only_those_that_are_withdrawn_are_left_out(place: Place) -> None:
    flags = {work.id for work in place.corpus if work.duplicate_group == FLAGS}
    gone = {work.id for work in place.corpus.works if work.duplicate_group == FLAGS and work.id != FLAGS}
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        for work_id in gone:
            client.withdraw_work(work_id)
        answer = _ask(client, place.corpus.works[place.corpus.row(FLAGS)])
    assert _shown(answer) & flags == {FLAGS}


def test_who_is_taken_back_is_credited_again(place: Place) -> None:
    apple = next(work for work in place.corpus if work.duplicate_group == APPLE)
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        before = _ask(client, apple)
        client.withdraw_contributor(apple.contributor)
        assert apple.contributor not in _named(_ask(client, apple))
        client.revoke_contributor(apple.contributor)
        after = _ask(client, apple)
    assert [work.id for work in after.works] == [work.id for work in before.works]


def test_a_restored_snapshot_does_not_bring_it_back_and_is_put_right(place: Place) -> None:
    """Restoring means that the payload is as it was before the withdrawal."""
    work = place.corpus.works[5]
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        client.withdraw_work(work.id)
        client.withdraw_contributor(place.corpus.works[9].contributor)
        with place.qdrant() as operator:
            everything = qdrant.Filter(
                must=[qdrant.FieldCondition(key="withdrawn", range=qdrant.Range(gte=0))]
            )
            operator.set_payload(place.release.collection, {"withdrawn": 0}, everything)
        answer = _ask(client, work)
        assert work.id not in _shown(answer)
        assert place.corpus.works[9].contributor not in _named(answer)
        assert len(answer.works) == 5
        assert _withheld(gateway) > 0.0
        client.withdraw_work(work.id)
    with place.index() as index:
        assert work.id in index.withdrawn_works(place.release.collection)


def test_an_old_collection_behind_an_alias_does_not_bring_it_back(place: Place) -> None:
    work, live = place.corpus.works[5], place.release.collection
    with place.index() as index:
        old = replace(place.release, collection="works-from-last-year")
        index_release(old, place.corpus, index)
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        client.withdraw_work(work.id)
        with place.index() as index:
            (before,) = builds(index, "works-from-last-year")
            assert index.withdrawn_works(before) == {work.id}, "in every collection"
            index.delete(before)
            # As an operator may who knows nothing of withdrawals.
            restored = index_release(old, place.corpus, index).build
            assert index.withdrawn_works(restored) == set()
            index.point_aliases({live: restored})
        answer = _ask(client, work)
    assert work.id not in _shown(answer)
    assert len(answer.works) == 5


def test_a_rebuild_and_a_new_gateway_do_not_bring_it_back(place: Place) -> None:
    work = place.corpus.works[5]
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        client.withdraw_work(work.id)
    with place.index() as index, place.ledger() as ledger:
        for build in builds(index, place.release.collection):
            index.delete(build)
        index_release(place.release, place.corpus, index, ledger.withdrawn())
        assert index.withdrawn_works(place.release.collection) == {work.id}
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        assert work.id not in _shown(_ask(client, work))
        assert _withheld(gateway) == 0.0


def test_another_gateway_shows_it_to_no_query_that_comes_after_the_acknowledgement(place: Place) -> None:
    with (
        running_gateway(place.settings) as one,
        running_gateway(place.settings) as two,
        one.client() as first,
        two.client() as asked,
    ):
        one_of_each = {work.contributor: work for work in place.corpus}
        for work in list(one_of_each.values())[:6]:
            assert work.id in _shown(_ask(asked, work))
            first.withdraw_contributor(work.contributor)
            answer = _ask(asked, work)
            assert work.id not in _shown(answer)
            assert work.contributor not in _named(answer)


def test_many_callers_see_it_no_more_once_it_is_acknowledged(place: Place) -> None:
    works = place.corpus.works[:4]
    with running_gateway(place.settings) as gateway, gateway.client() as client:

        def withdraw_and_ask(work: Work) -> bool:
            client.withdraw_work(work.id)
            return any(work.id in _shown(_ask(client, work)) for _ in range(3))

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(withdraw_and_ask, works)) == [False] * 4


def test_a_served_line_stays_and_is_marked_when_it_is_read_again(place: Place) -> None:
    work = place.corpus.works[5]
    with running_gateway(place.settings) as gateway, gateway.client() as client:
        served = _ask(client, work)
        client.withdraw_contributor(work.contributor)
        read = client.attribution(served.attribution_id)
    with place.ledger() as ledger:
        stored = ledger.attribution(served.attribution_id)
        assert ledger.verify_chain().intact
    assert "withdrawn" not in stored.answer["works"][0]
    assert {each.id for each in read.answer.works if each.withdrawn} == {
        each.id for each in served.works if each.contributor == work.contributor
    }
    unmarked = tuple(replace(each, withdrawn=False, withdrawn_since=None) for each in read.answer.works)
    assert tuple(replace(each, withdrawn_copies=()) for each in unmarked) == served.works
    assert (read.answer.release, read.answer.remainder) == (served.release, served.remainder)
    assert (read.prompt, read.generator) == (work.caption, GENERATOR)
