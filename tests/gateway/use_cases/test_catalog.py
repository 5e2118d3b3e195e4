"""Works that were added to a release, by id: described by the live build, shown from their packed copy."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from creditline.api.answers import CreditedWork
from creditline.cli.credit_line.recorded import thumbnails_of
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Corpus, Work, write_corpus
from creditline.errors import NotFound, Unavailable
from creditline.index import WorkIndex, WorkPoint
from creditline.ledger import AdditionKind, Ledger
from creditline.pictures.preparation import thumbnail_of
from creditline.release import Release
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, running_gateway
from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import RunningQdrant, local_qdrant

_BASE, *_COPIES = embedded_corpus().works[20:23]
_ADDED = Corpus(
    "added",
    tuple(
        replace(work, id=f"new-{number}", contributor="Ann", caption=f"new {work.caption}")
        for number, work in enumerate((_BASE, *_COPIES))
    ),
)
_FIRST = _ADDED.works[0]


@dataclass(frozen=True)
class Place:
    """A gateway on a live build that holds three added works, and the file that they were packed in."""

    gateway: RunningGateway
    index: WorkIndex
    qdrant: RunningQdrant
    release: Release
    packed: Path

    def ledger(self) -> Ledger:
        return Ledger.open(self.gateway.settings.ledger_url)

    def make_live(self, build: str, works: tuple[Work, ...]) -> None:
        """Fill a new build with works, and make it live."""
        vectors = unit_vectors(max(len(works), 1), self.release.dimension)
        self.index.create(build, self.release.dimension)
        points = [
            WorkPoint.of(work, vector, withdrawn=False, trained_on=(GENERATOR,))
            for work, vector in zip(works, vectors, strict=False)
        ]
        self.index.upsert(build, points)
        self.index.point_aliases({self.release.collection: build})


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningQdrant]:
    with local_qdrant(tmp_path_factory.mktemp("qdrant")) as running:
        yield running


@pytest.fixture
def place(release: Release, qdrant: RunningQdrant, tmp_path: Path) -> Iterator[Place]:
    packed = tmp_path / "added.parquet"
    write_corpus(_ADDED, packed)
    with (
        WorkIndex.connect(grpc_port=qdrant.port) as index,
        running_gateway(gateway_settings(tmp_path, release, qdrant_grpc_port=qdrant.port)) as gateway,
    ):
        made = Place(gateway, index, qdrant, release, packed)
        made.make_live(f"{release.collection}.{uuid.uuid4().hex}", _ADDED.works)
        with made.ledger() as ledger:
            content = {"packed": str(packed), "packed_fingerprint": _ADDED.fingerprint}
            ledger.record_addition(
                AdditionKind.STATED, release=release.name, generator=GENERATOR, content=content
            )
        yield made


def test_an_added_work_is_described_and_shown_over_grpc_and_rest(place: Place) -> None:
    with place.gateway.client() as client, place.gateway.http() as http:
        answer, picture = client.work(_FIRST.id), client.thumbnail(_FIRST.id)
        body = http.get(f"/v1/works/{_FIRST.id}").json()
        shown = http.get(f"/v1/works/{_FIRST.id}/thumbnail")
        with pytest.raises(NotFound, match=r"neither in corpus .* nor in the live build"):
            client.work("nobody")
    assert (answer.title, answer.caption, answer.contributor) == (_FIRST.title, _FIRST.caption, "Ann")
    assert (answer.licence, answer.source, answer.withdrawn) == (_FIRST.licence, _FIRST.source, False)
    assert body == {**vars(answer), "keywords": list(answer.keywords)}
    assert picture == shown.content == thumbnail_of(_FIRST.thumbnail)
    assert shown.headers["content-type"] == "image/webp"


def test_a_withdrawal_holds_for_added_works_and_their_copies_in_earlier_answers(place: Place) -> None:
    line = {"score": 0.9, "expected_influence": 0.1, "share": 0.25, "rank": 1}
    named = {"id": _BASE.id, "title": "", "caption": "", "contributor": "Eve", "licence": ""}
    works = [{**line, **named, "copies": ["new-1", "new-2"]}]
    with place.ledger() as ledger:
        answer = {"works": works, "contributors": [], "remainder": 0.75}
        recorded = ledger.record_attribution(
            release=place.release.name,
            generator=GENERATOR,
            corpus="b" * 64,
            prompt="a work with added copies",
            image=b"\x89PNG...",
            k=1,
            answer=answer,
        )
    with place.gateway.client() as client:
        client.withdraw_contributor("ANN")
        assert client.work(_FIRST.id).withdrawn
        with pytest.raises(NotFound, match="is withdrawn"):
            client.thumbnail(_FIRST.id)
        (listed,) = client.attribution(recorded).answer.works
    assert (listed.withdrawn, listed.withdrawn_copies) == (False, ("new-1", "new-2"))


@pytest.mark.parametrize("state", ["missing", "cut", "of another work"])
def test_where_the_packed_copy_cannot_serve_the_work_is_described_without_a_picture(
    place: Place, state: str
) -> None:
    if state == "missing":
        place.packed.unlink()
    elif state == "cut":
        place.packed.write_bytes(place.packed.read_bytes()[:-200])
    else:
        write_corpus(Corpus("other", (replace(_COPIES[0], id=_FIRST.id),)), place.packed)
    with place.gateway.client() as client, place.gateway.http() as http:
        assert client.work(_FIRST.id).title == _FIRST.title
        assert client.thumbnail(_FIRST.id) == b""
        shown = http.get(f"/v1/works/{_FIRST.id}/thumbnail")
    assert (shown.status_code, shown.json()["detail"]) == (
        404,
        f"there is no picture of work '{_FIRST.id}' here; its description is at /v1/works/{_FIRST.id}",
    )


def test_after_a_rebuild_an_added_work_is_served_from_its_copy_and_without_it_shown_without_a_picture(
    place: Place,
) -> None:
    place.make_live(f"{place.release.collection}.rebuilt", ())
    listed = CreditedWork(_FIRST.id, "", "", "Ann", "", 0.9, 0.1, 0.25, 1, ())
    with place.gateway.client() as client:
        assert client.work(_FIRST.id).caption == _FIRST.caption
        assert thumbnails_of(client, [listed]) == {_FIRST.id: thumbnail_of(_FIRST.thumbnail)}
        place.packed.unlink()
        assert thumbnails_of(client, [listed]) == {_FIRST.id: b""}


def test_without_the_index_added_works_come_from_their_copy_and_unknown_ids_are_not_denied(
    place: Place,
) -> None:
    # The last test of this module, since the others share the process.
    place.qdrant.process.terminate()
    place.qdrant.process.wait(60)
    with place.gateway.client() as client:
        assert client.work(_FIRST.id).caption == _FIRST.caption
        with pytest.raises(Unavailable, match="Qdrant"):
            client.work("nobody")
