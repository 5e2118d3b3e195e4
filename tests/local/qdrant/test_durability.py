"""Group commit, and the state after a power loss: the synchronized log over older files."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
import qdrant_edge as edge

from creditline.local.qdrant.storage.durability import GroupCommit, WriteAheadLog, write_durably


def _upsert(*ids: int) -> edge.UpdateOperation:
    return edge.UpdateOperation.upsert_points([edge.Point(point, [1.0, 2.0], {"n": point}) for point in ids])


def test_the_synchronized_log_alone_brings_every_update_back(tmp_path: Path) -> None:
    shard, lost = tmp_path / "shard", tmp_path / "after a power loss"
    shard.mkdir()
    config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=2, distance=edge.Distance.Dot))
    live = edge.EdgeShard.create(str(shard), config)
    live.update(_upsert(*range(100)))
    live.flush()
    shutil.copytree(shard, lost)  # the state of all files at the last flush
    live.update(_upsert(*range(50, 200)))
    live.update(edge.UpdateOperation.delete_points([3]))
    WriteAheadLog(shard).sync()
    shutil.rmtree(lost / "wal")
    shutil.copytree(shard / "wal", lost / "wal")
    recovered = edge.EdgeShard.load(str(lost))
    assert recovered.count(edge.CountRequest()) == 199
    assert [record.id for record in recovered.retrieve([3, 199], False, False)] == [199]
    recovered.close()
    live.close()


def test_many_writers_wait_for_one_synchronization() -> None:
    syncs: list[float] = []
    first_began, all_wrote = threading.Event(), threading.Event()

    def sync() -> None:
        syncs.append(time.monotonic())
        first_began.set()
        assert all_wrote.wait(10)

    commit = GroupCommit(sync)
    leader = threading.Thread(target=lambda: commit.wait(commit.ticket()))
    leader.start()
    assert first_began.wait(10)
    tickets = [commit.ticket() for _ in range(20)]
    all_wrote.set()
    writers = [threading.Thread(target=commit.wait, args=(ticket,)) for ticket in tickets]
    for writer in writers:
        writer.start()
    for writer in (leader, *writers):
        writer.join(10)
        assert not writer.is_alive()
    # One for the leader, one for the twenty that wrote while it ran.
    assert len(syncs) == 2


def test_a_write_made_during_a_synchronization_is_not_yet_durable() -> None:
    log: list[str] = []
    durable: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    def sync() -> None:
        seen = list(log)
        began.set()
        go_on.wait()
        durable[:] = seen

    commit = GroupCommit(sync)
    log.append("first")
    first = threading.Thread(target=commit.wait, args=(commit.ticket(),))
    first.start()
    began.wait()
    log.append("second")
    ticket = commit.ticket()
    go_on.set()
    commit.wait(ticket)
    first.join()
    assert durable == ["first", "second"]


def test_a_failed_synchronization_is_raised_and_the_next_writer_tries_again() -> None:
    outcomes = [OSError("disk gone"), None]

    def sync() -> None:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    commit = GroupCommit(sync)
    ticket = commit.ticket()
    with pytest.raises(OSError, match="disk gone"):
        commit.wait(ticket)
    commit.wait(ticket)
    assert outcomes == []


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "aliases.json"
    write_durably(path, "old")
    write_durably(path, "new")
    assert path.read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["aliases.json"]
