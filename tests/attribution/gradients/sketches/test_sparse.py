"""Sparse maps, against their explicit matrices."""

from __future__ import annotations

import pytest
import torch

from creditline.attribution.gradients.projection import Projection
from creditline.attribution.gradients.sketches.sparse import MaskedSigns, RandomMask, SparseSigns
from creditline.errors import InvalidInput

# Wider than one block of 65,536 components, so that blocks are joined.
WIDTH, SIZE = 70_000, 64
MAPS = [
    SparseSigns(WIDTH, SIZE, 5),
    SparseSigns(WIDTH, SIZE, 5, nonzeros=4),
    RandomMask(WIDTH, SIZE, 5),
    MaskedSigns(WIDTH, SIZE, 5, kept=1000),
]


def rows_of(count: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def entries_of(projection: Projection, columns: range) -> torch.Tensor:
    """The map's columns for some components, from unit vectors: (components, k)."""
    units = torch.zeros(len(columns), WIDTH)
    units[torch.arange(len(columns)), torch.tensor(columns)] = 1.0
    return projection.project(units)


@pytest.mark.parametrize("projection", MAPS, ids=str)
def test_components_add_up_whatever_the_slices(projection: Projection) -> None:
    rows = rows_of(2)
    whole = projection.project(rows)
    slices = rows.split([1, 65_530, 10, 4459], dim=1)
    torch.testing.assert_close(projection.project_parts(slices), whole, rtol=1e-4, atol=5e-4)
    halves = (
        torch.where(torch.arange(WIDTH) < 40_000, rows, 0),
        torch.where(torch.arange(WIDTH) < 40_000, 0, rows),
    )
    torch.testing.assert_close(sum(projection.project(half) for half in halves), whole, rtol=1e-4, atol=5e-4)


@pytest.mark.parametrize("nonzeros", [1, 4])
def test_each_component_has_one_entry_in_each_part_of_the_sums(nonzeros: int) -> None:
    entries = entries_of(SparseSigns(WIDTH, SIZE, 5, nonzeros), range(65_000, 66_000))
    by_part = entries.view(1000, nonzeros, -1)
    assert torch.equal((by_part != 0).sum(dim=2), torch.ones(1000, nonzeros, dtype=torch.long))
    torch.testing.assert_close(by_part.abs().sum(dim=2), torch.full((1000, nonzeros), nonzeros**-0.5))
    assert abs(float(entries.sign().sum())) < 4 * (1000 * nonzeros) ** 0.5


def test_entries_spread_over_all_sums_and_blocks_differ() -> None:
    projection = SparseSigns(2 * (1 << 16), 16, 9)
    ones = torch.zeros(2, projection.width)
    ones[0, : 1 << 16], ones[1, 1 << 16 :] = 1.0, 1.0
    # Each sum of n signs: about √n, and the two blocks are unlike each other.
    sums = projection.project(ones) / ((1 << 16) / 16) ** 0.5
    assert (sums.abs() < 5).all()
    assert (sums.abs() > 0.001).all()
    assert not torch.equal(sums[0], sums[1])


@pytest.mark.parametrize(
    "kind",
    [
        lambda seed: SparseSigns(WIDTH, SIZE, seed),
        lambda seed: SparseSigns(WIDTH, SIZE, seed, nonzeros=4),
        lambda seed: RandomMask(WIDTH, SIZE, seed),
        lambda seed: MaskedSigns(WIDTH, SIZE, seed, kept=1000),
    ],
)
def test_inner_products_are_preserved_within_their_expected_error(kind) -> None:  # type: ignore[no-untyped-def]
    one, other = rows_of(1, seed=1), rows_of(1, seed=2)
    other += one
    true = float((one * other).sum())
    both = torch.cat([one, other])
    found = torch.tensor(
        [float(sketch[0] @ sketch[1]) for sketch in (kind(s).project(both) for s in range(40))]
    )
    spread = ((true**2 + float(one.square().sum() * other.square().sum())) / SIZE) ** 0.5
    assert abs(float(found.mean()) - true) < 4 * spread / 40**0.5
    assert 0.5 * spread < float(found.std()) < 1.6 * spread


def test_a_mask_keeps_components_as_they_are() -> None:
    mask, rows = RandomMask(WIDTH, SIZE, 5), rows_of(2)
    assert len(set(mask.kept.tolist())) == SIZE
    torch.testing.assert_close(mask.project(rows), rows[:, mask.kept] * (WIDTH / SIZE) ** 0.5)


def test_grass_is_the_transform_of_the_mask() -> None:
    rows = rows_of(2)
    expected = SparseSigns(1000, SIZE, 6).project(RandomMask(WIDTH, 1000, 5).project(rows))
    torch.testing.assert_close(MaskedSigns(WIDTH, SIZE, 5, kept=1000).project(rows), expected)


def test_the_name_identifies_the_map() -> None:
    assert len({str(projection) for projection in MAPS}) == len(MAPS)
    assert str(SparseSigns(10, 4, 1, nonzeros=2)).endswith("10 to 4 numbers, seed 1, 2 non-zeros")


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="9 sums cannot be divided into 2 equal parts"):
        SparseSigns(10, 9, 0, nonzeros=2)
    with pytest.raises(InvalidInput, match="a mask cannot keep 11 of 10 components"):
        RandomMask(10, 11, 0)
    with pytest.raises(InvalidInput, match="a mask cannot keep 11 of 10 components"):
        MaskedSigns(10, 4, 0, kept=11)
