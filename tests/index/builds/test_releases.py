"""Filling a release's collection from its vectors and a corpus."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pytest

from creditline.corpus.works import Corpus, Work
from creditline.errors import Conflict, FingerprintMismatch, NotFound
from creditline.index import WorkIndex, index_release, is_loaded
from creditline.index.builds.promotion import builds, live_build, previous_build
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors


@dataclass(frozen=True)
class RowsOfARelease:
    """The part of a release that the index reads."""

    rows: npt.NDArray[np.float32]
    ids: tuple[str, ...]
    name: str = "made-up"
    collection: str = "works-made-up"
    dimension: int = field(default=WIDTH)

    def vectors(self) -> npt.NDArray[np.float32]:
        return self.rows

    def work_ids(self) -> tuple[str, ...]:
        return self.ids


def corpus_of(count: int) -> Corpus:
    works = tuple(
        Work(f"w{row}", f"T{row}", f"T{row}, c", (), f"c{row % 5}", "PD", f"food/{row}.png", f"w{row}", b"")
        for row in range(count)
    )
    return Corpus("made-up", works)


def release_of(count: int, *, seed: int = 0) -> RowsOfARelease:
    """Rows in another order than the corpus, stored in half precision like a real one's."""
    rows = unit_vectors(count, seed=seed).astype(np.float16).astype(np.float32)
    return RowsOfARelease(rows, tuple(f"w{row}" for row in reversed(range(count))))


def remove_builds(index: WorkIndex) -> None:
    """Delete the builds of earlier tests."""
    for name in ("works-made-up", *builds(index, "works-made-up")):
        index.delete(name)


@pytest.fixture(autouse=True)
def _no_collection(index: WorkIndex) -> None:
    remove_builds(index)


def test_a_release_is_loaded_once_and_found_loaded_afterwards(index: WorkIndex) -> None:
    release, corpus = release_of(400), corpus_of(500)
    assert not is_loaded(release, index)
    loaded = index_release(release, corpus, index)
    assert (loaded.build, loaded.written, loaded.works) == ("works-made-up.1", 400, 400)
    assert loaded.recall >= 0.95
    assert is_loaded(release, index)


def test_loading_again_builds_beside_the_live_build_and_keeps_the_one_before(index: WorkIndex) -> None:
    for number in (1, 2, 3):
        loaded = index_release(release_of(40), corpus_of(40), index)
        assert loaded.build == f"works-made-up.{number}"
    assert builds(index, "works-made-up") == ["works-made-up.2", "works-made-up.3"]
    assert live_build(index, "works-made-up") == "works-made-up.3"
    assert previous_build(index, "works-made-up") == "works-made-up.2"


def test_vectors_belong_to_the_works_of_their_rows(index: WorkIndex) -> None:
    release = release_of(50)
    index_release(release, corpus_of(50), index)
    np.testing.assert_allclose(
        index.vectors("works-made-up", ["w49", "w0"]), release.rows[[0, 49]], atol=1e-3
    )


def test_loading_again_keeps_withdrawn_works_hidden(index: WorkIndex) -> None:
    release, corpus = release_of(40), corpus_of(40)
    index_release(release, corpus, index)
    index.withdraw("works-made-up", ["w3", "w9"])
    index_release(release, corpus, index)
    assert index.withdrawn_works("works-made-up") == {"w3", "w9"}


def test_a_retrained_release_of_the_same_name_does_not_count_as_loaded(index: WorkIndex) -> None:
    index_release(release_of(40), corpus_of(40), index)
    assert not is_loaded(release_of(40, seed=5), index)
    index_release(release_of(40, seed=5), corpus_of(40), index)
    assert is_loaded(release_of(40, seed=5), index)


def test_a_collection_that_has_the_aliass_name_is_a_conflict(index: WorkIndex) -> None:
    index.create("works-made-up", WIDTH)
    index.upsert("works-made-up", made_up_works(unit_vectors(3)))
    with pytest.raises(Conflict, match="creditline index drop"):
        index_release(release_of(10), corpus_of(10), index)


def test_a_failed_build_is_deleted_and_the_live_one_stays_live(index: WorkIndex) -> None:
    index_release(release_of(10), corpus_of(10), index)
    with pytest.raises(NotFound):
        index_release(release_of(20), corpus_of(10), index)
    assert builds(index, "works-made-up") == ["works-made-up.1"]
    assert live_build(index, "works-made-up") == "works-made-up.1"


def test_a_work_that_the_corpus_lacks_is_named(index: WorkIndex) -> None:
    with pytest.raises(NotFound, match="w19"):
        index_release(release_of(20), corpus_of(10), index)


def test_vectors_and_ids_that_do_not_match_are_refused(index: WorkIndex) -> None:
    release = RowsOfARelease(unit_vectors(3), ("w0", "w1"))
    with pytest.raises(FingerprintMismatch, match=r"\(3, 32\)"):
        index_release(release, corpus_of(5), index)


def test_a_release_retrained_with_another_dimension_becomes_live(index: WorkIndex) -> None:
    index_release(release_of(40), corpus_of(40), index)
    rows = unit_vectors(40, 2 * WIDTH).astype(np.float16).astype(np.float32)
    wider = replace(release_of(40), rows=rows, dimension=2 * WIDTH)
    assert index_release(wider, corpus_of(40), index).build == live_build(index, "works-made-up")
    assert is_loaded(wider, index)
