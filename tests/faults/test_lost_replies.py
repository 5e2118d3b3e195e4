"""Replies lost after Qdrant has carried out the call, at every write call of load, ingest and promotion."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.errors import CreditlineError, NotFound
from creditline.index import IndexPlan, LoadReport, WorkIndex, enforce_withdrawals, index_release
from creditline.index.builds.ownership import owned_build
from creditline.index.builds.promotion import builds, live_build, previous_build, promote, roll_back
from creditline.retries import RetryPolicy
from creditline.teacher.ingest_jobs import IngestJob
from tests.faults.lost_replies import LostReply
from tests.faults.tcp_proxy import TcpProxy
from tests.index.builds.test_releases import RowsOfARelease, corpus_of, release_of, remove_builds
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors
from tests.local.qdrant_process import RunningQdrant, connect, local_qdrant

_ALIAS = "works-made-up"
_WORKS = 40
# Three batches.
_INGESTED = 60
_PLAN = IndexPlan(upsert_batch=20)
_FIELDS = {"withdrawn", "created", "person_keys", "licence", "origin", "consent"}
_SECONDS = 60.0
_RETRIES = RetryPolicy(max_seconds=2.0)

_CREATE, _UPDATE, _DELETE = "Collections/Create", "Collections/Update", "Collections/Delete"
_SWITCH = "Collections/UpdateAliases"
_UPSERT, _FIELD_INDEX, _SET_PAYLOAD = "Points/Upsert", "Points/CreateFieldIndex", "Points/SetPayload"
_WRITES = {_CREATE, _UPDATE, _DELETE, _SWITCH, _UPSERT, _FIELD_INDEX, _SET_PAYLOAD, "Points/Delete"}

# Write calls of a load that replaces another: (call, its number).
_BEFORE_THE_SWITCH = [
    (_CREATE, 1),
    *((_FIELD_INDEX, number) for number in range(1, 7)),
    *((_UPSERT, number) for number in (1, 2)),
    (_SET_PAYLOAD, 1),
    # The optimizer, then the mark.
    *((_UPDATE, number) for number in (1, 2)),
]
_FROM_THE_SWITCH_ON = [(_SWITCH, 1), (_UPDATE, 3), (_DELETE, 1)]
_OF_AN_INGEST = [(_CREATE, 1), (_FIELD_INDEX, 3), (_UPSERT, 1), (_UPSERT, 3), (_UPDATE, 1)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningQdrant]:
    with local_qdrant(tmp_path_factory.mktemp("qdrant")) as process:
        yield process


@pytest.fixture(scope="module")
def connected(running: RunningQdrant) -> Iterator[WorkIndex]:
    """A connection without faults."""
    with WorkIndex.connect(grpc_port=running.port, plan=_PLAN) as direct:
        yield direct


@pytest.fixture
def index(connected: WorkIndex) -> WorkIndex:
    """A connection without faults to an index without builds."""
    remove_builds(connected)
    return connected


@pytest.fixture
def loaded(connected: WorkIndex) -> WorkIndex:
    """A connection without faults to an index with two builds of the release, a live and a previous one.

    Loads take seconds, so a test reuses the builds of the test before it.
    """
    whole = [build for build in builds(connected, _ALIAS) if owned_build(connected, build, "made-up")]
    if len(whole) < 2 or previous_build(connected, _ALIAS) is None:
        remove_builds(connected)
        for _ in range(2):
            _load(connected, connected)
    return connected


@contextmanager
def _losing(
    running: RunningQdrant, loss: LostReply, timeout_seconds: float = _SECONDS
) -> Iterator[WorkIndex]:
    """A connection over a network that loses one reply."""
    with (
        TcpProxy(running.port, script=loss.script) as proxy,
        WorkIndex.connect(grpc_port=proxy.port, timeout_seconds=timeout_seconds, plan=_PLAN) as connected,
    ):
        yield connected


def _load(index: WorkIndex, direct: WorkIndex) -> LoadReport:
    """Load the retrained release and revoke the withdrawal of a work that the live build hides."""
    number = _live_number(direct) + 1
    if number > 1:
        direct.withdraw(_ALIAS, ["w4"])
    returned = Withdrawn(revoked_works=frozenset({"w4"}))
    return index_release(
        release_of(_WORKS, seed=number), corpus_of(_WORKS), index, returned, retries=_RETRIES
    )


def _live_number(index: WorkIndex) -> int:
    live = live_build(index, _ALIAS)
    return int(live.rpartition(".")[2]) if live else 0


def _assert_live(index: WorkIndex, number: int) -> None:
    """Assert that build `number` is live and complete, and that a rollback goes to the build before it."""
    live, before = f"{_ALIAS}.{number}", f"{_ALIAS}.{number - 1}"
    assert (live_build(index, _ALIAS), previous_build(index, _ALIAS)) == (live, before)
    stored = index.vectors(_ALIAS, ["w7"])
    np.testing.assert_allclose(stored, _vector_of("w7", release_of(_WORKS, seed=number)), atol=1e-3)
    assert index.count(_ALIAS) == index.count(before) == _WORKS


def _vector_of(work_id: str, release: RowsOfARelease) -> np.ndarray:
    return release.rows[[release.ids.index(work_id)]]


def _writes(loss: LostReply) -> list[tuple[str, int]]:
    return [
        (method, number + 1)
        for method in sorted(_WRITES & loss.calls.keys())
        for number in range(loss.calls[method])
    ]


def test_the_lists_above_hold_every_write_call_of_a_load(running: RunningQdrant, loaded: WorkIndex) -> None:
    number, nothing = _live_number(loaded), LostReply("none")
    with _losing(running, nothing) as watched:
        _load(watched, loaded)
    assert _writes(nothing) == sorted(_BEFORE_THE_SWITCH + _FROM_THE_SWITCH_ON)
    _assert_live(loaded, number + 1)


@pytest.mark.heavy
@pytest.mark.parametrize(("method", "number"), _BEFORE_THE_SWITCH)
def test_a_reply_lost_before_the_switch_leaves_the_live_build_and_nothing_else(
    running: RunningQdrant, loaded: WorkIndex, method: str, number: int
) -> None:
    live, loss = _live_number(loaded), LostReply(method, number)
    with _losing(running, loss) as losing, pytest.raises(CreditlineError):
        _load(losing, loaded)
    assert loss.lost.is_set()
    _assert_live(loaded, live)
    assert builds(loaded, _ALIAS) == [f"{_ALIAS}.{live - 1}", f"{_ALIAS}.{live}"]


@pytest.mark.heavy
@pytest.mark.parametrize(("method", "number"), _FROM_THE_SWITCH_ON)
def test_a_reply_lost_from_the_switch_on_leaves_the_new_build_live(
    running: RunningQdrant, loaded: WorkIndex, method: str, number: int
) -> None:
    live, loss = _live_number(loaded), LostReply(method, number)
    with _losing(running, loss) as losing:
        assert _load(losing, loaded).build == f"{_ALIAS}.{live + 1}"
    assert loss.lost.is_set()
    _assert_live(loaded, live + 1)


@pytest.mark.heavy
def test_a_client_reconnects_after_a_switch_without_a_reply(
    running: RunningQdrant, loaded: WorkIndex
) -> None:
    live, loss = _live_number(loaded), LostReply(_SWITCH, cut=False)
    with _losing(running, loss, timeout_seconds=10.0) as losing:
        assert _load(losing, loaded).build == f"{_ALIAS}.{live + 1}"
        assert losing.count(_ALIAS) == _WORKS
    assert loss.lost.is_set()
    _assert_live(loaded, live + 1)


def test_no_build_is_deleted_when_the_network_stays_down_after_the_switch(
    running: RunningQdrant, loaded: WorkIndex
) -> None:
    live, loss = _live_number(loaded), LostReply(_SWITCH, for_good=True)
    with _losing(running, loss) as losing, pytest.raises(CreditlineError) as raised:
        _load(losing, loaded)
    assert loss.lost.is_set()
    notes = " ".join(raised.value.__notes__)
    assert "could not be read" in notes
    assert f"creditline index promote {_ALIAS}.{live + 1}" in notes
    _assert_live(loaded, live + 1)


@contextmanager
def _interrupted_when(lost: threading.Event) -> Iterator[None]:
    """Interrupt this thread, as Ctrl-C does, once the event is set; the block must end by it."""

    def interrupt() -> None:
        if lost.wait(_SECONDS):
            _thread.interrupt_main()

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    # Processes in the background of a script inherit SIGINT as ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        yield
    waiting.join(_SECONDS)


def test_a_load_interrupted_during_the_switch_keeps_the_live_build(
    running: RunningQdrant, loaded: WorkIndex
) -> None:
    live, loss = _live_number(loaded), LostReply(_SWITCH, cut=False)
    with _losing(running, loss) as losing, _interrupted_when(loss.lost):
        _load(losing, loaded)
    _assert_live(loaded, live + 1)


def test_a_load_interrupted_before_the_switch_leaves_no_build(
    running: RunningQdrant, loaded: WorkIndex
) -> None:
    live, loss = _live_number(loaded), LostReply(_UPSERT, cut=False)
    with _losing(running, loss) as losing, _interrupted_when(loss.lost):
        _load(losing, loaded)
    _assert_live(loaded, live)
    assert f"{_ALIAS}.{live + 1}" not in builds(loaded, _ALIAS)


def test_a_failed_clean_up_does_not_hide_the_first_error(running: RunningQdrant, index: WorkIndex) -> None:
    loss = LostReply(_DELETE, for_good=True)
    with (
        _losing(running, loss, timeout_seconds=5.0) as losing,
        pytest.raises(NotFound, match="w19") as raised,
    ):
        index_release(release_of(20), corpus_of(10), losing)
    assert loss.lost.is_set()
    assert f"creditline index drop {_ALIAS}.1" in " ".join(raised.value.__notes__)


def _build(index: WorkIndex, number: int) -> str:
    name = f"{_ALIAS}.{number}"
    index.create(name, WIDTH)
    index.upsert(name, made_up_works(unit_vectors(_WORKS, seed=number)))
    return name


@pytest.fixture
def two_builds(index: WorkIndex) -> tuple[str, str]:
    """Two builds that an operator made; the first is live."""
    first, second = _build(index, 1), _build(index, 2)
    promote(index, _ALIAS, first)
    return first, second


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_a_promotion_whose_reply_is_lost_has_taken_place(
    running: RunningQdrant, index: WorkIndex, two_builds: tuple[str, str], cut: bool
) -> None:
    first, second = two_builds
    loss = LostReply(_SWITCH, cut=cut)
    with _losing(running, loss, timeout_seconds=3.0) as losing:
        assert promote(losing, _ALIAS, second) == first
    assert loss.lost.is_set()
    assert (live_build(index, _ALIAS), previous_build(index, _ALIAS)) == (second, first)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_a_rollback_whose_reply_is_lost_has_taken_place(
    running: RunningQdrant, index: WorkIndex, two_builds: tuple[str, str], cut: bool
) -> None:
    first, second = two_builds
    promote(index, _ALIAS, second)
    loss = LostReply(_SWITCH, cut=cut)
    with _losing(running, loss, timeout_seconds=3.0) as losing:
        assert roll_back(losing, _ALIAS) == first
    assert loss.lost.is_set()
    assert (live_build(index, _ALIAS), previous_build(index, _ALIAS)) == (first, None)


def _promote_checked(index: WorkIndex, build: str, withdrawn: Withdrawn) -> None:
    """What `creditline index promote` does."""
    enforce_withdrawals(index, withdrawn, build)
    promote(index, _ALIAS, build)


def test_withdrawals_whose_reply_is_lost_stop_a_promotion_before_its_switch(
    running: RunningQdrant, index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    withdrawn = Withdrawn(works=frozenset({"work-1"}))
    loss = LostReply(_SET_PAYLOAD)
    with _losing(running, loss) as losing, pytest.raises(CreditlineError):
        _promote_checked(losing, second, withdrawn)
    assert loss.lost.is_set()
    assert live_build(index, _ALIAS) == first
    enforce_withdrawals(index, withdrawn, second)
    assert promote(index, _ALIAS, second) == first


@pytest.fixture
def job(tmp_path: Path, index: WorkIndex) -> IngestJob:
    """Ingest of sixty works of CLIP features into a collection that does not exist yet."""
    source = tmp_path / "features"
    source.mkdir()
    np.save(source / "img_emb_0.npy", unit_vectors(_INGESTED).astype(np.float16))
    columns = {"key": [f"w{row}" for row in range(_INGESTED)], "caption": ["a picture"] * _INGESTED}
    pq.write_table(pa.table(columns), source / "metadata_0.parquet")
    return IngestJob(source, f"{_ALIAS}.1", tmp_path / "checkpoint")


def _ingest(job: IngestJob, index: WorkIndex) -> None:
    """Ingest as `creditline index ingest` does."""
    job.create_collection(index)
    job.run(index, NOTHING_WITHDRAWN)
    index.optimize(job.collection)


def test_the_list_above_holds_every_kind_of_write_of_an_ingest(
    running: RunningQdrant, index: WorkIndex, job: IngestJob
) -> None:
    nothing = LostReply("none")
    with _losing(running, nothing) as watched:
        _ingest(job, watched)
    assert set(_OF_AN_INGEST) <= set(_writes(nothing))
    assert {method for method, _ in _OF_AN_INGEST} == {method for method, _ in _writes(nothing)}


@pytest.mark.parametrize(("method", "number"), _OF_AN_INGEST)
def test_an_ingest_whose_reply_is_lost_is_complete_after_another_run(
    running: RunningQdrant, index: WorkIndex, job: IngestJob, method: str, number: int
) -> None:
    loss = LostReply(method, number)
    with _losing(running, loss) as losing:
        try:
            _ingest(job, losing)
        except CreditlineError:
            assert method != _UPSERT, "batches are sent again"
            _ingest(job, losing)
    assert loss.lost.is_set()
    assert index.count(job.collection) == _INGESTED
    client = connect(running)
    assert set(client.get_collection(job.collection).payload_schema) == _FIELDS
    client.close()
