"""Works that are added to a live release, by the real embedder and a real Qdrant."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from creditline.api.answers import AttributionAnswer
from creditline.cli.credit_line.recorded import recorded_line
from creditline.cli.index import app
from creditline.client import CreditlineClient
from creditline.corpus.works import Work, read_corpus
from creditline.errors import FingerprintMismatch, NotFound, NotReady
from creditline.index import WorkIndex
from creditline.index.points import WorkPoint
from creditline.ledger import AdditionKind, AdditionRecord, Ledger, WithdrawalKind
from tests.benchmarks.bring.adding import answered, write_augmented
from tests.gateway.conftest import GENERATOR, RunningGateway, running_gateway
from tests.gateway.served import Served
from tests.index.works_made_up import CONTRIBUTORS, made_up_works, unit_vectors
from tests.local.qdrant_process import local_qdrant

_FINE_TUNED = "f" * 64
# The fixture embeds a corpus and starts three processes, which takes long on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Place:
    """A gateway on a Qdrant of its own that holds the release."""

    served: Served
    gateway: RunningGateway
    index: WorkIndex

    def ask(self, client: CreditlineClient, k: int, *, generator: str = GENERATOR) -> AttributionAnswer:
        work: Work = self.served.corpus.works[5]
        return client.attribute(
            work.thumbnail, prompt=work.caption, generator=generator, k=k, timeout_seconds=120
        )

    def record(self, kind: AdditionKind, generator: str, **content: object) -> None:
        """Record a statement, or what became of one, in the gateway's ledger."""
        with Ledger.open(self.gateway.settings.ledger_url) as ledger:
            name = self.served.release.name
            ledger.record_addition(kind, release=name, generator=generator, content=content)

    def additions(self) -> tuple[AdditionRecord, ...]:
        """All records of the gateway's ledger about works added to the release."""
        with Ledger.open(self.gateway.settings.ledger_url) as ledger:
            return ledger.additions(self.served.release.name).records

    def is_ready(self) -> bool:
        with self.gateway.http() as http:
            answer = http.get("/readyz")
        states = {each["service"]: each["up"] for each in answer.json()["dependencies"]}
        return answer.status_code == 200 and states["qdrant"]


@pytest.fixture
def place(served: Served, filled_qdrant: Path, tmp_path: Path) -> Iterator[Place]:
    shutil.copytree(filled_qdrant, tmp_path / "qdrant")
    with (
        local_qdrant(tmp_path / "qdrant") as running,
        WorkIndex.connect(grpc_port=running.port) as index,
    ):
        changes = {"qdrant_grpc_port": running.port, "ledger_url": f"sqlite:///{tmp_path}/ledger.db"}
        with running_gateway(served.settings.model_copy(update=changes)) as gateway:
            yield Place(served, gateway, index)


def _until(holds: Callable[[], bool], *, seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def _added(count: int, like: Served) -> list[WorkPoint]:
    """Works that the release does not know; the first of them have the vectors of works that it does."""
    vectors = unit_vectors(count, like.release.dimension)
    known = like.release.vectors()[:count]
    vectors[: len(known)] = known
    works = made_up_works(vectors)
    return [
        replace(
            each,
            work_id=f"new-{each.work_id}",
            duplicate_group=each.work_id,
            withdrawn=False,
            contributor=each.contributor.title(),
        )
        for each in works
    ]


@pytest.mark.parametrize("count", [1, 3, 200])
def test_works_that_no_statement_covers_are_owed_nothing(place: Place, count: int) -> None:
    collection, works = place.served.release.collection, place.served.release.works
    with place.gateway.client() as client:
        place.index.upsert(collection, _added(count, place.served))
        answers = [place.ask(client, k) for k in (1, works - 1, works, 1000)]
    for answer in answers:
        assert not any(work.id.startswith("new-") for work in answer.works)
        assert sum(work.share for work in answer.works) + answer.remainder == pytest.approx(1.0, abs=1e-6)
    assert (len(answers[-1].works) > 20, answers[-1].remainder) == (True, pytest.approx(0.0, abs=1e-6))
    assert {answer.corpus_works for answer in answers} == {works}


def test_added_works_are_listed_after_those_of_the_corpus(place: Place) -> None:
    added = [replace(each, trained_on=(_FINE_TUNED,)) for each in _added(7, place.served)]
    place.index.upsert(place.served.release.collection, added)
    place.record(AdditionKind.STATED, _FINE_TUNED)
    ids: list[str] = []
    token = ""
    with place.gateway.http() as http:
        while not ids or token:
            page = http.get("/v1/works", params={"page_size": 3, "page_token": token}).json()
            ids += [each["id"] for each in page["works"]]
            token = page["next_page_token"]
    own = sorted(place.served.corpus.ids)
    assert ids[: len(own)] == own
    assert sorted(ids[len(own) :]) == sorted(each.work_id for each in added)


@pytest.mark.parametrize("count", [1, 200])
def test_works_under_a_statement_are_owed_by_the_pictures_of_its_generator_only(
    place: Place, count: int
) -> None:
    collection, works = place.served.release.collection, place.served.release.works
    with place.gateway.client() as client:
        with pytest.raises(FingerprintMismatch, match=r"not known to release.*creditline index add"):
            place.ask(client, 5, generator=_FINE_TUNED)
        place.record(AdditionKind.STATED, _FINE_TUNED)
        place.index.upsert(
            collection, [replace(each, trained_on=(_FINE_TUNED,)) for each in _added(count, place.served)]
        )
        time.sleep(1.2)  # Statements are at most a second old.
        lengths = (1, works, works + count - 1, 1000)
        answers = [place.ask(client, k, generator=_FINE_TUNED) for k in lengths]
        people = {name for work in place.served.corpus for name in work.people}
        people |= {*map(str.title, CONTRIBUTORS), "eve", "finn"}
        of_base = place.ask(client, 1000)
        assert place.is_ready()
    for answer in answers:
        assert sum(work.share for work in answer.works) + answer.remainder == pytest.approx(1.0, abs=1e-6)
        assert all(0.0 <= work.share <= 1.0 for work in answer.works)
        assert (answer.corpus_works, answer.works_newer_than_calibration) == (works + count, count)
        assert answer.calibration_outdated is None
    for answer in answers if count > 5 else ():
        # Every fifth added work is held by Eve and Finn, 60 and 40 %.
        held = {person.name: person.share for person in answer.contributors}
        assert held["finn"] == pytest.approx(held["eve"] * 40 / 60)
        assert set(held) <= people, "names as they are written, not their keys"
    assert any(work.id.startswith("new-") for work in answers[-1].works)
    assert not any(work.id.startswith("new-") for work in of_base.works)
    assert (of_base.corpus_works, of_base.works_newer_than_calibration) == (works, 0)


def _arguments(place: Place, source: Path) -> list[str]:
    settings = place.gateway.settings
    arguments = ["add", str(source), "--to", str(place.served.release.directory), "--trained-on", GENERATOR]
    arguments += ["--by", "Ann", "--embedder", place.served.embedder_target, "--no-optimize"]
    return [
        *arguments,
        *("--qdrant", f"127.0.0.1:{settings.qdrant_grpc_port}"),
        *("--ledger", settings.ledger_url),
    ]


def test_the_command_adds_works_on_a_statement_once_under_load_and_leaves_the_withdrawn_out(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_augmented(tmp_path / "new", 6, seed=1)
    with Ledger.open(place.gateway.settings.ledger_url) as ledger:
        ledger.withdraw(WithdrawalKind.WORK, "new-00003.png")
    arguments = _arguments(place, tmp_path / "new")
    with answered(place.gateway.target, "", GENERATOR, list(place.served.corpus.works)) as answers:
        first, again = (CliRunner().invoke(app, arguments, catch_exceptions=False).output for _ in range(2))
        _until(lambda: answers.newest == 6, seconds=60)
    assert answers.failures == []
    assert "6 new, 0 replaced, 0 kept as they were, 0 refused" in first
    assert "is complete already" in again
    with place.gateway.client() as client:
        answer = place.ask(client, 1000)
        line = recorded_line(client, answer.attribution_id)
        with pytest.raises(NotFound, match="is withdrawn"):
            client.thumbnail("new-00003.png")
    assert answer.works_newer_than_calibration == 6
    assert all(line.shows(work) for work in line.works)
    listed = {work for each in answer.works for work in (each.id, *each.copies) if work.startswith("new-")}
    assert listed == {f"new-{number:05d}.png" for number in (0, 1, 2, 4, 5)}
    stated, added = place.additions()
    assert (stated.requested_by, stated.content["works"], stated.generator) == ("Ann", 6, GENERATOR)
    assert (added.kind, added.content["written"], added.content["withdrawn"]) == (AdditionKind.ADDED, 6, 1)
    packed = read_corpus(Path(stated.content["packed"]))
    assert packed.fingerprint == stated.content["packed_fingerprint"]


@pytest.mark.heavy
@pytest.mark.parametrize("killed", ["once it is stated", "once the works are written"])
def test_an_addition_that_was_killed_is_finished_by_a_second_call_with_one_statement_and_nothing_double(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_augmented(tmp_path / "new", 5, seed=2)
    arguments, release = _arguments(place, tmp_path / "new"), place.served.release
    command = [sys.executable, "-m", "creditline.cli.main", "index", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as first:
        _until(lambda: bool(place.additions()), seconds=120)
        if killed == "once the works are written":
            # While this transaction is open, the command cannot record that it is done.
            with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as ledger:
                ledger.execute("BEGIN IMMEDIATE")
                _until(lambda: place.index.count(release.collection) == release.works + 5, seconds=120)
                first.kill()
                first.wait()
        first.kill()
    assert first.returncode == -signal.SIGKILL
    assert [record.kind for record in place.additions()] == [AdditionKind.STATED]
    output = CliRunner().invoke(app, arguments, catch_exceptions=False).output
    assert "resuming addition" in output
    stated, added = place.additions()
    assert (stated.kind, added.kind, added.addition) == (
        AdditionKind.STATED,
        AdditionKind.ADDED,
        stated.id,
    )
    assert added.content["written"] + added.content["kept"] == 5
    assert (added.content["replaced"], added.content["refused"], added.content["broken"]) == (0, 0, 0)
    assert place.index.count(release.collection) == release.works + 5
    with place.gateway.client() as client:
        _until(lambda: place.ask(client, 1).works_newer_than_calibration == 5)
        answer = place.ask(client, 1000)
    listed = [work for each in answer.works for work in (each.id, *each.copies) if work.startswith("new-")]
    assert sorted(listed) == [f"new-{number:05d}.png" for number in range(5)]


def test_answers_say_when_a_check_found_that_the_calibration_does_not_hold(place: Place) -> None:
    place.record(AdditionKind.STATED, GENERATOR)
    place.record(AdditionKind.CHECKED, GENERATOR, holds="no")
    with place.gateway.client() as client:
        answer = place.ask(client, 3)
        assert answer.calibration_outdated is True
        assert client.attribution(answer.attribution_id).answer.calibration_outdated is True
        place.record(AdditionKind.CHECKED, GENERATOR, holds="yes")
        time.sleep(1.2)
        assert place.ask(client, 3).calibration_outdated is False


def test_while_the_live_build_cannot_serve_answers_say_so_and_readiness_does_too(place: Place) -> None:
    release = place.served.release
    place.index.create(f"{release.collection}.9", 8)
    place.index.upsert(f"{release.collection}.9", made_up_works(unit_vectors(20, 8)))
    with place.gateway.client() as client:
        place.ask(client, 3)
        place.index.point_aliases({release.collection: f"{release.collection}.9"})
        _until(lambda: not place.is_ready())
        with pytest.raises(NotReady, match="cannot serve release"):
            place.ask(client, 3)
        place.index.point_aliases({release.collection: f"{release.collection}.1"})
        _until(place.is_ready)
        place.ask(client, 3)
