"""Running a method: its cost is measured, and invalid scores are refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from creditline.attribution.attributor import Attributor, Gallery, attribute
from creditline.errors import InvalidInput
from creditline.generator.losses import Examples

_PREPARATION_SECONDS, _QUERY_SECONDS = 0.05, 0.02


class FixedScores(Attributor):
    """A slow method with fixed scores, whose number of passes is known only afterwards."""

    name = "fixed"
    bytes_per_work = 12.0

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values

    def prepare(self, works: Gallery, directory: Path) -> None:
        time.sleep(_PREPARATION_SECONDS)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        time.sleep(_QUERY_SECONDS * len(queries))
        self.passes_per_query = 7.0
        return self._values  # type: ignore[return-value]


def _gallery(kind: str, count: int) -> Gallery:
    examples = Examples(
        tuple(f"{kind}-{number}" for number in range(count)),
        torch.arange(float(count)).view(count, 1, 1, 1),
        torch.zeros((count, 1, 1)),
    )
    pictures = tuple(Image.new("RGB", (2, 2), (number, 0, 0)) for number in range(count))
    return Gallery(examples, pictures, tuple(f"{kind} {number}" for number in range(count)), kind)


@pytest.fixture
def works() -> Gallery:
    return _gallery("work", 4)


@pytest.fixture
def queries() -> Gallery:
    return _gallery("query", 3)


def test_scores_are_returned_with_their_cost(works: Gallery, queries: Gallery, tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    started = time.perf_counter()
    found = attribute(FixedScores(values), works, queries, tmp_path)
    elapsed = time.perf_counter() - started
    np.testing.assert_array_equal(found.values, values)
    assert found.values.dtype == np.float64
    assert found.cost.preparation_seconds >= _PREPARATION_SECONDS
    assert found.cost.seconds_per_query >= _QUERY_SECONDS
    assert found.cost.preparation_seconds + 3 * found.cost.seconds_per_query <= elapsed
    assert (found.cost.passes_per_query, found.cost.bytes_per_work) == (7.0, 12.0)


@pytest.mark.parametrize("shape", [(4, 3), (3, 5), (12,)])
def test_scores_that_are_not_one_for_each_query_and_work_are_refused(
    works: Gallery, queries: Gallery, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInput, match=r"fixed gave scores of shape .*, not \(3, 4\)"):
        attribute(FixedScores(np.zeros(shape, dtype=np.float32)), works, queries, tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused_naming_query_and_work(
    works: Gallery, queries: Gallery, tmp_path: Path, value: float
) -> None:
    values = np.zeros((3, 4), dtype=np.float32)
    values[1, 2] = value
    with pytest.raises(InvalidInput, match=rf"work-2 for query query-1 as {value}; check that picture"):
        attribute(FixedScores(values), works, queries, tmp_path)


@pytest.mark.parametrize("part", ["pictures", "prompts"])
def test_a_gallery_with_a_part_missing_is_refused(works: Gallery, part: str) -> None:
    with pytest.raises(InvalidInput, match=rf"4 examples.* 3 {part}"):
        replace(works, **{part: getattr(works, part)[:3]})


def test_rows_of_a_gallery_select_the_same_pictures_in_all_its_forms(works: Gallery) -> None:
    chosen = works.rows([3, 1])
    assert chosen.examples.ids == ("work-3", "work-1")
    assert chosen.examples.latents.flatten().tolist() == [3.0, 1.0]
    assert [picture.getpixel((0, 0)) for picture in chosen.pictures] == [(3, 0, 0), (1, 0, 0)]
    assert chosen.prompts == ("work 3", "work 1")


def test_other_rows_of_a_gallery_have_another_fingerprint(works: Gallery) -> None:
    fingerprints = {works.rows(rows).fingerprint for rows in ([3, 1], [1, 3], [3])}
    assert len(fingerprints | {works.fingerprint}) == 4
