from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditline.distillation.labels.label_set import (
    HELD_OUT,
    TRAIN,
    TRANSFER,
    join_labels,
    read_labels,
    write_labels,
)
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from tests.distillation.label_sets import label_set


def test_labels_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = label_set()
    read = read_labels(write_labels(written, tmp_path))
    assert read.queries == written.queries
    for name, matrix in written.matrices().items():
        assert np.array_equal(read.matrices()[name], matrix)
    assert (read.corpus_fingerprint, read.decoy_fingerprint) == (
        written.corpus_fingerprint,
        written.decoy_fingerprint,
    )
    assert read.queries[0].image().size == (16, 16)


def test_optional_matrices_may_be_missing(tmp_path: Path) -> None:
    read = read_labels(
        write_labels(replace(label_set(), influence_repeat=None, decoy_influence=None), tmp_path)
    )
    assert list(read.matrices()) == ["influence"]


def test_splits_name_their_rows() -> None:
    assert label_set().rows(TRAIN).tolist() == [0, 1, 2, 3, 4]
    assert label_set().rows(HELD_OUT).tolist() == [5, 6, 7]


def test_a_file_that_changed_afterwards_is_refused(tmp_path: Path) -> None:
    write_labels(label_set(), tmp_path)
    np.save(tmp_path / "influence.npy", np.zeros((8, 7), dtype=np.float32))
    with pytest.raises(FingerprintMismatch, match=r"influence\.npy"):
        read_labels(tmp_path)


def test_a_directory_that_was_not_finished_is_no_label_set(tmp_path: Path) -> None:
    write_labels(label_set(), tmp_path)
    (tmp_path / "label-set.json").unlink()
    with pytest.raises(NotReady, match="no labels"):
        read_labels(tmp_path)


def test_labels_that_do_not_hold_together_are_refused() -> None:
    labels = label_set()
    with pytest.raises(InvalidInput, match="shape"):
        replace(labels, influence=labels.influence[:-1])
    with pytest.raises(InvalidInput, match="shape"):
        replace(labels, influence_repeat=labels.influence)
    with pytest.raises(InvalidInput, match="NaN"):
        replace(labels, influence=np.full_like(labels.influence, np.nan))
    with pytest.raises(InvalidInput, match="a split is"):
        replace(labels, queries=(replace(labels.queries[0], split="test"), *labels.queries[1:]))


def test_a_prompt_or_a_seed_in_both_splits_is_refused() -> None:
    labels = label_set()
    labels.refuse_overlap()
    for name in ("prompt", "seed"):
        shared = replace(labels.queries[-1], **{name: getattr(labels.queries[0], name)})
        with pytest.raises(InvalidInput, match=name):
            replace(labels, queries=(*labels.queries[:-1], shared)).refuse_overlap()


def test_joined_sets_have_all_queries_with_their_labels_and_repeats() -> None:
    one = label_set(train=4, held_out=2)
    other = replace(
        label_set(train=0, held_out=3),
        queries=tuple(replace(query, split=TRANSFER) for query in label_set(train=0, held_out=3).queries),
    )
    joined = join_labels([one, other])
    assert [len(joined.rows(split)) for split in (TRAIN, HELD_OUT, TRANSFER)] == [4, 2, 3]
    np.testing.assert_array_equal(joined.influence[joined.rows(TRANSFER)], other.influence)
    assert one.influence_repeat is not None
    assert other.influence_repeat is not None
    np.testing.assert_array_equal(joined.repeat(HELD_OUT), one.influence_repeat)
    np.testing.assert_array_equal(joined.repeat(TRANSFER), other.influence_repeat)
    assert joined.inclusion is None


def test_joined_sets_keep_who_was_drawn() -> None:
    some = replace(label_set(), inclusion=np.full((8, 7), 0.5, dtype=np.float32))
    joined = join_labels([some, label_set()])
    assert joined.inclusion is not None
    assert joined.inclusion[:, 0].tolist() == [0.5] * 8 + [1.0] * 8


@pytest.mark.parametrize("field", ["teacher", "generator_fingerprint", "corpus_fingerprint"])
def test_sets_of_two_kinds_are_not_joined(field: str) -> None:
    with pytest.raises(FingerprintMismatch, match="cannot be joined"):
        join_labels([label_set(), replace(label_set(), **{field: "another"})])


def test_who_was_drawn_is_written_and_read(tmp_path: Path) -> None:
    some = replace(label_set(), inclusion=np.linspace(0, 1, 56, dtype=np.float32).reshape(8, 7))
    read = read_labels(write_labels(some, tmp_path))
    np.testing.assert_array_equal(read.inclusion, some.inclusion)


@pytest.mark.parametrize("name", ["influence.npy", "queries.parquet", "label-set.json"])
def test_a_file_cut_off_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    path = write_labels(label_set(), tmp_path) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FingerprintMismatch, match=rf"{name} (changed|is cut off).*copy it again"):
        read_labels(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write_labels(label_set(), tmp_path) / "influence_repeat.npy").unlink()
    with pytest.raises(FingerprintMismatch, match=r"influence_repeat.npy .* is not there"):
        read_labels(tmp_path)


@pytest.mark.parametrize("name", ["influence", "influence_repeat", "decoy_influence"])
def test_labels_that_are_no_numbers_are_refused(name: str) -> None:
    broken = getattr(label_set(), name).copy()
    broken[1, 1] = np.nan
    with pytest.raises(InvalidInput, match=f"{name} holds a NaN"):
        replace(label_set(), **{name: broken})
