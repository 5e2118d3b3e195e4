"""Qdrant killed between the alias actions of a switch: a build is live, and a rollback is possible."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from qdrant_client import models

from creditline.errors import CreditlineError
from creditline.index import WorkIndex, index_release, load_release
from creditline.index.builds.promotion import builds, live_build, previous_build, promote, roll_back
from tests.index.builds.test_releases import corpus_of, release_of
from tests.index.works_made_up import WIDTH
from tests.local.qdrant_process import RunningQdrant, connect, start_qdrant

_ALIAS = "works-made-up"
_BUILDS = tuple(f"{_ALIAS}.{number}" for number in (1, 2, 3))
_END_SECONDS = 60.0


class _Engine:
    """A Qdrant that is restarted on the same port after it has killed itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.running: RunningQdrant = start_qdrant(directory)

    def restart(self, *, kill_after_alias_actions: int = 0) -> None:
        self.running.process.terminate()
        self.running.process.wait(_END_SECONDS)
        self._start(kill_after_alias_actions)

    def _start(self, kill_after_alias_actions: int) -> None:
        self.running = start_qdrant(
            self._directory, port=self.running.port, kill_after_alias_actions=kill_after_alias_actions
        )

    @contextmanager
    def restarted(self, *, next_kill_after: int = 0) -> Iterator[None]:
        """Restart the engine, which kills itself during the block."""

        def restart_after_kill() -> None:
            self.running.process.wait(_END_SECONDS)
            self._start(next_kill_after)

        restarting = threading.Thread(target=restart_after_kill)
        restarting.start()
        yield
        restarting.join(_END_SECONDS)
        assert not restarting.is_alive(), "the engine was not killed, or did not start again"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[_Engine]:
    made = _Engine(tmp_path / "qdrant")
    yield made
    made.running.process.terminate()
    made.running.process.wait(_END_SECONDS)


@pytest.fixture
def index(engine: _Engine) -> Iterator[WorkIndex]:
    """Three builds without works."""
    with WorkIndex.connect(grpc_port=engine.running.port) as connected:
        for build in _BUILDS:
            connected.create(build, WIDTH)
        yield connected


def _point(running: RunningQdrant, targets: dict[str, str]) -> int:
    """Set aliases directly, as an operator may; returns the number of actions."""
    actions = [
        models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=target, alias_name=alias))
        for alias, target in targets.items()
    ]
    client = connect(running)
    client.update_collection_aliases(actions)
    client.close()
    return len(actions)


def _state(index: WorkIndex) -> tuple[str | None, str | None]:
    """The live build, and the build that a rollback would make live."""
    return live_build(index, _ALIAS), previous_build(index, _ALIAS)


def test_a_promotion_killed_after_any_of_its_actions_is_either_undone_or_done(
    engine: _Engine, index: WorkIndex
) -> None:
    first, second, third = _BUILDS
    before, after = {_ALIAS: second, f"{_ALIAS}.before": first}, (third, second)
    engine.restart(kill_after_alias_actions=len(before) + 1)
    seen = []
    for saved in (1, 2, 3):
        _point(engine.running, before)
        with engine.restarted(next_kill_after=len(before) + saved + 1 if saved < 3 else 0):
            try:
                assert promote(index, _ALIAS, third) == second
                seen.append(after)
            except CreditlineError:
                seen.append((second, first))
        assert _state(index) == seen[-1], f"{saved} actions were saved"
        assert index.count(_ALIAS) == 0, "the alias answers"
    assert set(seen) == {(second, first), after}
    promote(index, _ALIAS, third)
    assert _state(index) == after
    assert roll_back(index, _ALIAS) == second


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("before", "live", "back_to", "further_back", "actions"),
    [
        ({_ALIAS: 1, f"{_ALIAS}.before": 0}, 1, 0, None, 1),
        ({_ALIAS: 2, f"{_ALIAS}.before": 2, f"{_ALIAS}.before.kept": 0}, 2, 0, None, 2),
    ],
    ids=["first rollback", "second rollback"],
)
def test_a_rollback_killed_after_any_of_its_actions_is_either_undone_or_done(
    engine: _Engine,
    index: WorkIndex,
    before: dict[str, int],
    live: int,
    back_to: int,
    further_back: int | None,
    actions: int,
) -> None:
    targets, previous = {alias: _BUILDS[build] for alias, build in before.items()}, _BUILDS[back_to]
    after = (previous, None if further_back is None else _BUILDS[further_back])
    engine.restart(kill_after_alias_actions=len(targets) + 1)
    for saved in range(1, actions + 1):
        _point(engine.running, targets)
        with engine.restarted(next_kill_after=len(targets) + saved + 1 if saved < actions else 0):
            try:
                assert roll_back(index, _ALIAS) == previous
                expected = after
            except CreditlineError:
                expected = (_BUILDS[live], previous)
        assert _state(index) == expected, f"{saved} actions were saved"
        assert index.count(_ALIAS) == 0, "the alias answers"


@pytest.mark.heavy
def test_a_load_killed_during_its_switch_keeps_both_builds_and_the_next_load_completes_it(
    tmp_path: Path,
) -> None:
    engine = _Engine(tmp_path / "qdrant")
    old, new, corpus = release_of(30), release_of(30, seed=1), corpus_of(30)
    with WorkIndex.connect(grpc_port=engine.running.port) as index:
        index_release(old, corpus, index)
        engine.restart(kill_after_alias_actions=1)
        with engine.restarted(), pytest.raises(CreditlineError):
            index_release(new, corpus, index)
        assert builds(index, _ALIAS) == list(_BUILDS[:2])
        assert live_build(index, _ALIAS) == _BUILDS[0]
        assert load_release(new, lambda: corpus, index).action == "promoted"
        assert _state(index) == (_BUILDS[1], _BUILDS[0])
    engine.running.process.terminate()
    engine.running.process.wait(_END_SECONDS)


def test_a_lost_alias_is_restored_by_a_rollback(engine: _Engine, index: WorkIndex) -> None:
    _point(engine.running, {f"{_ALIAS}.before": _BUILDS[0]})
    assert roll_back(index, _ALIAS) == _BUILDS[0]
    assert live_build(index, _ALIAS) == _BUILDS[0]
