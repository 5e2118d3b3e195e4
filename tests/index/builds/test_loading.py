"""Loading a release beside a live build: an operator's decisions and the builds of others are kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from creditline.corpus.withdrawn import Withdrawn
from creditline.corpus.works import Corpus
from creditline.errors import Conflict, NotFound
from creditline.index import WorkIndex, index_release, load_release
from creditline.index.builds.ownership import METADATA_KEY, BuildMark, mark_of, write_mark
from creditline.index.builds.promotion import builds, live_build, previous_build, promote, roll_back
from tests.index.builds.test_releases import RowsOfARelease, corpus_of, release_of, remove_builds
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors

_ALIAS = "works-made-up"
_WORKS = 30


@pytest.fixture(autouse=True)
def _no_collection(index: WorkIndex) -> None:
    remove_builds(index)


def _corpus() -> Corpus:
    return corpus_of(_WORKS)


def _retrained(seed: int = 1) -> RowsOfARelease:
    return release_of(_WORKS, seed=seed)


def _operators_build(index: WorkIndex, number: int) -> str:
    """A build as `index ingest` makes it."""
    build = f"{_ALIAS}.{number}"
    index.create(build, WIDTH)
    index.upsert(build, made_up_works(unit_vectors(5, seed=number)))
    return build


def _aliases(index: WorkIndex) -> dict[str, str]:
    return {alias: target for alias, target in index.aliases().items() if alias.startswith(_ALIAS)}


def test_a_load_whose_build_is_there_does_nothing(index: WorkIndex) -> None:
    release = release_of(_WORKS)
    assert load_release(release, _corpus, index).action == "built"
    before = (builds(index, _ALIAS), _aliases(index))

    def must_not_be_read() -> Corpus:
        raise NotFound("the corpus is not needed")

    again = load_release(release, must_not_be_read, index)
    assert (again.action, again.live) == ("already there", f"{_ALIAS}.1")
    assert (builds(index, _ALIAS), _aliases(index)) == before


def test_a_load_with_rebuild_builds_again(index: WorkIndex) -> None:
    release = release_of(_WORKS)
    load_release(release, _corpus, index)
    assert load_release(release, _corpus, index, rebuild=True).live == f"{_ALIAS}.2"


def test_a_retrained_release_replaces_its_own_build(index: WorkIndex) -> None:
    load_release(release_of(_WORKS), _corpus, index)
    assert load_release(_retrained(), _corpus, index).action == "built"
    assert live_build(index, _ALIAS) == f"{_ALIAS}.2"


def test_an_operators_live_build_is_replaced_only_on_request(index: WorkIndex) -> None:
    load_release(release_of(_WORKS), _corpus, index)
    operators = _operators_build(index, 2)
    promote(index, _ALIAS, operators)
    for release in (release_of(_WORKS), _retrained()):
        kept = load_release(release, _corpus, index)
        assert (kept.action, kept.live) == ("live build kept", operators)
        assert builds(index, _ALIAS) == [f"{_ALIAS}.1", operators]
    assert load_release(_retrained(), _corpus, index, replace_live=True).live == f"{_ALIAS}.3"
    assert previous_build(index, _ALIAS) == operators


def test_an_existing_build_is_promoted_when_replacement_is_requested(index: WorkIndex) -> None:
    release = release_of(_WORKS)
    load_release(release, _corpus, index)
    promote(index, _ALIAS, _operators_build(index, 2))
    again = load_release(release, _corpus, index, replace_live=True)
    assert (again.action, again.live) == ("promoted", f"{_ALIAS}.1")


def test_an_operators_rollback_stands(index: WorkIndex) -> None:
    load_release(release_of(_WORKS), _corpus, index)
    newer = _retrained()
    load_release(newer, _corpus, index)
    roll_back(index, _ALIAS)
    again = load_release(newer, _corpus, index)
    assert (again.action, again.live) == ("already there", f"{_ALIAS}.1")
    assert load_release(newer, _corpus, index, replace_live=True).live == f"{_ALIAS}.2"


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.upsert(_ALIAS, made_up_works(unit_vectors(1))),
        lambda index: index.remove(_ALIAS, ["w3"]),
    ],
    ids=["a work added", "a work removed"],
)
def test_a_live_build_that_an_operator_changed_is_the_operators(
    index: WorkIndex, change: Callable[[WorkIndex], None]
) -> None:
    load_release(release_of(_WORKS), _corpus, index)
    change(index)
    assert load_release(_retrained(), _corpus, index).action == "live build kept"


def test_builds_of_others_are_never_deleted(index: WorkIndex) -> None:
    operators = [_operators_build(index, number) for number in (3, 5)]
    for seed in range(3):
        index_release(_retrained(seed), _corpus(), index)
    assert builds(index, _ALIAS) == [*operators, f"{_ALIAS}.7", f"{_ALIAS}.8"]


def test_a_build_that_another_load_is_filling_is_kept_and_reported(index: WorkIndex) -> None:
    other = BuildMark("made-up", "another training", 1_000)
    index.create_new(f"{_ALIAS}.1", WIDTH)
    write_mark(index, f"{_ALIAS}.1", other)
    for seed in range(3):
        loaded = load_release(_retrained(seed), _corpus, index)
    assert builds(index, _ALIAS) == [f"{_ALIAS}.{number}" for number in (1, 3, 4)]
    assert loaded.unpromoted == (f"{_ALIAS}.1",)


def test_a_new_build_never_takes_a_collection_that_another_load_has_made_meanwhile(index: WorkIndex) -> None:
    marks = [BuildMark("made-up", "a training", 1_000) for _ in range(2)]
    index.create_new(f"{_ALIAS}.1", WIDTH, {METADATA_KEY: marks[0].to_json()})
    with pytest.raises(Conflict, match="already there"):
        index.create_new(f"{_ALIAS}.1", WIDTH, {METADATA_KEY: marks[1].to_json()})
    assert mark_of(index, f"{_ALIAS}.1") == marks[0]


def test_a_build_whose_alias_was_lost_is_promoted_by_the_next_load(index: WorkIndex) -> None:
    release = release_of(_WORKS)
    load_release(release, _corpus, index)
    operators = _operators_build(index, 2)
    promote(index, _ALIAS, operators)
    index.delete(operators)
    assert live_build(index, _ALIAS) is None
    again = load_release(release, _corpus, index)
    assert (again.action, again.live) == ("promoted", f"{_ALIAS}.1")


def test_withdrawals_are_enforced_even_when_nothing_is_loaded(index: WorkIndex) -> None:
    release = release_of(_WORKS)
    load_release(release, _corpus, index)
    load_release(release, _corpus, index, Withdrawn(works=frozenset({"w3"})))
    assert index.withdrawn_works(_ALIAS) == {"w3"}
    operators = _operators_build(index, 2)
    promote(index, _ALIAS, operators)
    load_release(release, _corpus, index, Withdrawn(works=frozenset({"work-1"})))
    assert "work-1" in index.withdrawn_works(operators)


def test_a_build_of_an_older_version_without_a_mark_counts_as_loaded_when_it_holds_the_same(
    index: WorkIndex,
) -> None:
    release = release_of(_WORKS)
    load_release(release, _corpus, index)
    index.set_metadata(f"{_ALIAS}.1", {"creditline_build": "not a mark"})
    assert load_release(release, _corpus, index).action == "already there"
    assert load_release(_retrained(), _corpus, index).action == "live build kept"
