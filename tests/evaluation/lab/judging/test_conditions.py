"""Tables of queries under the works' captions, on numbers with known results, and their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.lab.judging.conditions import (
    ConditionTables,
    pixel_similarity,
    read_tables,
    write_tables,
)
from creditline.evaluation.lab.record import LabRecord, RecordFingerprints
from tests.evaluation.lab.removal.test_counterfactuals import lab_record


@pytest.fixture
def record() -> LabRecord:
    return lab_record()


@pytest.fixture
def tables(record: LabRecord) -> ConditionTables:
    """Two queries under two captions and the empty prompt; losses of the second timestep are all the same."""
    losses = np.array([[[1.0, 10.0], [2.0, 10.0], [3.0, 10.0]]] * 2, dtype=np.float32)
    similarity = np.arange(6, dtype=np.float32).reshape(2, 3)
    return ConditionTables(
        (0, 1), ("a cat", "ein Hund für Ä", ""), losses, {"image": similarity}, record.fingerprints
    )


def test_utilities_are_negative_losses_in_either_unit_or_similarities(tables: ConditionTables) -> None:
    np.testing.assert_allclose(tables.utilities("loss")[0], [-5.5, -6.0, -6.5])
    np.testing.assert_allclose(tables.utilities("relative-loss")[0], [-0.75, -1.0, -1.25])
    np.testing.assert_allclose(tables.utilities("image")[1], [3.0, 4.0, 5.0])
    with pytest.raises(InvalidInput, match="'beauty' is no utility; choose from loss"):
        tables.utilities("beauty")


def test_pictures_are_as_similar_as_their_pixels() -> None:
    draw = np.random.default_rng(1)
    first, second = (
        [Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in range(count)]
        for count in (2, 3)
    )
    found = pixel_similarity(first, [*second, first[1]])
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            difference = np.asarray(one).astype(float) - np.asarray(other).astype(float)
            assert found[row, column] == pytest.approx(-np.square(difference / 255.0).mean(), rel=1e-4)
    assert found[1, 3] == pytest.approx(0.0, abs=1e-6)


def test_tables_are_read_as_they_were_written_and_refused_for_another_record(
    record: LabRecord, tables: ConditionTables, tmp_path: Path
) -> None:
    path = tmp_path / "conditions.safetensors"
    write_tables(tables, path)
    read = read_tables(path, record)
    assert (read.rows, read.prompts, read.made_from) == (tables.rows, tables.prompts, tables.made_from)
    np.testing.assert_array_equal(read.losses, tables.losses)
    np.testing.assert_array_equal(read.similarities["image"], tables.similarities["image"])
    write_tables(replace(tables, made_from=RecordFingerprints("generator", "another")), path)
    with pytest.raises(
        FingerprintMismatch,
        match="belongs to another generator or record; make it again with `creditline lab cond",
    ) as error:
        read_tables(path, record)
    assert error.value.field == "lab"
