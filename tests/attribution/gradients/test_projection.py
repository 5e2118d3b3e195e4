"""Random projections, against the explicit matrix."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
import torch

from creditline.attribution.gradients.projection import Gaussian, PermutedSignSum, Projection, Rademacher
from creditline.errors import InvalidInput

KINDS = [Rademacher, Gaussian, PermutedSignSum]


def rows_of(count: int, width: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def matrix(projection: Projection) -> torch.Tensor:
    """The projection's matrix, from projected unit vectors: (P, k)."""
    return projection.project(torch.eye(projection.width))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "size"), [(1, 1), (30, 7), (512, 512), (1300, 1037), (2048, 8)])
def test_it_is_the_product_with_one_matrix(kind: type[Projection], width: int, size: int) -> None:
    projection = kind(width, size, 5)
    rows = rows_of(4, width)
    expected = (rows.double() @ matrix(projection).double()).float()
    torch.testing.assert_close(projection.project(rows), expected, rtol=1e-5, atol=1e-5 * width**0.5)


def test_rademacher_entries_have_one_magnitude_and_both_signs_equally_often() -> None:
    entries = matrix(Rademacher(1500, 700, 1)) * 700**0.5
    torch.testing.assert_close(entries.abs(), torch.ones(1500, 700))
    assert entries.mean().abs() < 4 / (1500 * 700) ** 0.5


def test_gaussian_entries_have_the_moments_of_a_normal_distribution() -> None:
    entries = (matrix(Gaussian(1500, 700, 1)) * 700**0.5).double()
    count = entries.numel()
    assert entries.mean().abs() < 4 / count**0.5
    assert abs(entries.square().mean() - 1) < 4 * (2 / count) ** 0.5
    assert abs(entries.pow(4).mean() - 3) < 4 * (96 / count) ** 0.5


def test_a_permuted_sign_sum_puts_every_number_in_one_group_of_similar_size() -> None:
    entries = matrix(PermutedSignSum(1300, 37, 2))
    assert torch.equal((entries != 0).sum(dim=1), torch.ones(1300, dtype=torch.long))
    assert torch.equal(entries.abs().sum(dim=1), torch.ones(1300))
    assert set((entries != 0).sum(dim=0).tolist()) == {35, 36}
    assert abs(entries.sum()) < 4 * 1300**0.5


@pytest.mark.parametrize("kind", [Rademacher, Gaussian])
def test_blocks_and_tiles_of_the_matrix_differ(kind: type[Projection]) -> None:
    entries = matrix(kind(1536, 1536, 4))
    blocks = torch.stack([block.flatten() for part in entries.split(512) for block in part.split(512, dim=1)])
    unit = blocks / blocks.norm(dim=1, keepdim=True)
    likeness = unit @ unit.T - torch.eye(len(unit))
    assert likeness.abs().max() < 5 / 512


@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_are_preserved_within_their_expected_error(kind: type[Projection]) -> None:
    size, width = 256, 3000
    one, other = rows_of(1, width, seed=1), rows_of(1, width, seed=2)
    other += one
    true = float((one * other).sum())
    found = torch.tensor(
        [
            float((a * b).sum())
            for a, b in (kind(width, size, s).project(torch.cat([one, other])) for s in range(60))
        ]
    )
    spread = ((true**2 + float(one.square().sum() * other.square().sum())) / size) ** 0.5
    assert abs(float(found.mean()) - true) < 4 * spread / 60**0.5
    assert 0.6 * spread < float(found.std()) < 1.5 * spread


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_of_any_size_give_the_same_numbers(kind: type[Projection], batch: int) -> None:
    projection = kind(1100, 600, 9)
    rows = rows_of(64, 1100)
    together = projection.project(rows)
    apart = torch.cat([projection.project(part) for part in rows.split(batch)])
    torch.testing.assert_close(apart, together, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [[1100], [1, 1099], [0, 3, 600, 497], [512, 512, 76], [1, 2, 3, 4, 1090]])
def test_parts_give_what_the_whole_gives(kind: type[Projection], widths: list[int]) -> None:
    projection = kind(1100, 600, 9)
    rows = rows_of(3, 1100)
    found = projection.project_parts(rows.split(widths, dim=1))
    torch.testing.assert_close(found, projection.project(rows), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_decides_the_numbers(kind: type[Projection]) -> None:
    rows = rows_of(2, 700)
    assert torch.equal(kind(700, 64, 1).project(rows), kind(700, 64, 1).project(rows))
    likeness = torch.cosine_similarity(kind(700, 64, 1).project(rows), kind(700, 64, 2).project(rows))
    assert likeness.abs().max() < 0.6


def test_stored_projections_stay_valid() -> None:
    """Signs of the first entries, as recorded: a change of the layout must change its name too."""
    signs = (matrix(Rademacher(3, 8, 7)) > 0).int().tolist()
    assert signs == [[1, 1, 0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 1, 1, 0], [0, 1, 0, 1, 0, 0, 0, 0]]
    assert str(Rademacher(3, 8, 7)) == "rademacher (sfc64, 512 rows), 3 to 8 numbers, seed 7"


@pytest.mark.parametrize("kind", KINDS)
def test_its_name_differs_for_every_setting(kind: type[Projection]) -> None:
    names = {str(kind(*settings)) for settings in [(9, 4, 1), (8, 4, 1), (9, 5, 1), (9, 4, 2)]}
    assert len(names) == 4


def test_half_precision_rows_are_summed_in_single() -> None:
    projection = Rademacher(700, 32, 1)
    rows = rows_of(2, 700).half()
    assert torch.equal(projection.project(rows), projection.project(rows.float()))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_another_dimension_are_refused_with_both_dimensions(kind: type[Projection]) -> None:
    projection = kind(700, 32, 1)
    with pytest.raises(InvalidInput, match=r"\(2, 699\).*\(B, 700\)"):
        projection.project(rows_of(2, 699))
    with pytest.raises(InvalidInput, match="have 699 numbers per row, but this projection takes 700"):
        projection.project_parts([rows_of(2, 699)])
    with pytest.raises(InvalidInput, match="more than 700"):
        projection.project_parts([rows_of(2, 699), rows_of(2, 2)])
    with pytest.raises(InvalidInput, match="0 numbers"):
        projection.project_parts([])


@pytest.mark.parametrize(
    ("width", "size", "seed", "field"), [(0, 1, 1, "width"), (4, 0, 1, "size"), (4, 2, -1, "seed")]
)
def test_settings_that_make_no_matrix_are_refused(width: int, size: int, seed: int, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Rademacher(width, size, seed)


def test_more_groups_than_numbers_are_refused() -> None:
    with pytest.raises(InvalidInput, match="4 numbers cannot be summed in 5 groups"):
        PermutedSignSum(4, 5, 1)


MEASURE_GROWTH = """
import resource, torch
from creditline.attribution.gradients.projection import Rademacher
torch.set_num_threads(1)
rows = torch.randn(1, 100_000)
Rademacher(2_000, 512, 1).project(rows[:, :2_000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Rademacher(100_000, 32_768, 1).project(rows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_the_matrix_is_never_in_memory() -> None:
    """The whole matrix would take 12 GiB; the test allows 64 MiB."""
    assert resource.getpagesize() > 0
    run = subprocess.run([sys.executable, "-c", MEASURE_GROWTH], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 64 * 1024
