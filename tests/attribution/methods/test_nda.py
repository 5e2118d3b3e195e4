"""NDA against an explicit softmax, patch by patch, in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from creditline.attribution.attributor import Gallery, attribute
from creditline.attribution.methods import nda
from creditline.attribution.methods.nda import Matching, NonparametricAttribution
from creditline.errors import InvalidInput, NotFound, NotReady
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Noising
from creditline.pictures.preparation import pixels

_ALPHAS = torch.linspace(0.999, 0.02, 1000)
_NOISING = Noising(_ALPHAS.sqrt(), (1.0 - _ALPHAS).sqrt(), "epsilon")
# Late enough that several works share the weight.
_LATENTS = Matching(patch=2, timesteps=(300, 700, 990), repeats=2)
_PIXELS = replace(_LATENTS, space="pixels", side=5)


def _gallery(kind: str, count: int, *, seed: int = 0) -> Gallery:
    random = np.random.default_rng(seed)
    colours = random.integers(256, size=(count, 10, 10, 3), dtype=np.uint8)
    examples = Examples(
        tuple(f"{kind}-{number}" for number in range(count)),
        torch.from_numpy(random.standard_normal((count, 3, 4, 5), dtype=np.float32)),
        torch.zeros((count, 1, 1)),
    )
    return Gallery(examples, tuple(map(Image.fromarray, colours)), ("",) * count, f"{kind} {seed}")


@pytest.fixture
def works() -> Gallery:
    return _gallery("work", 6)


@pytest.fixture
def queries() -> Gallery:
    return _gallery("query", 3, seed=1)


def _images(gallery: Gallery, matching: Matching) -> NDArray[np.float64]:
    if matching.space == "latents":
        return gallery.examples.latents.numpy().astype(np.float64)
    rgb = np.array([pixels(picture, side=matching.side) for picture in gallery.pictures])
    return rgb.transpose(0, 3, 1, 2).astype(np.float64) * 2.0 - 1.0


def _cut(image: NDArray[np.float64], patch: int) -> dict[tuple[int, int], NDArray[np.float64]]:
    _, height, width = image.shape
    return {
        (top, left): image[:, top : top + patch, left : left + patch]
        for top in range(height - patch + 1)
        for left in range(width - patch + 1)
    }


def _plain_maps(works: Gallery, queries: Gallery, matching: Matching) -> NDArray[np.float64]:
    """Weights of each patch, spread evenly over the places that it covers: (Q, N, H, W)."""
    images, sources = _images(works, matching), _images(queries, matching)
    maps = np.zeros((len(queries), len(works), *images.shape[2:]))
    steps = [step for step in matching.timesteps for _ in range(matching.repeats)]
    for query, (name, source) in enumerate(zip(queries.examples.ids, sources, strict=True)):
        noises = matching.draws.noise(name, source.shape).numpy()
        for step, noise in zip(steps, noises, strict=True):
            signal, scale = float(_NOISING.signal[step]), float(_NOISING.noise[step])
            noisy = _cut(signal * source + scale * noise, matching.patch)
            for (top, left), seen in noisy.items():
                weights = _plain_weights(images, (top, left), seen, signal, scale, matching)
                covered = maps[query, :, top : top + matching.patch, left : left + matching.patch]
                covered += (weights / (len(steps) * len(noisy) * matching.patch**2))[:, None, None]
    return maps


def _plain_weights(
    images: NDArray[np.float64],
    place: tuple[int, int],
    seen: NDArray[np.float64],
    signal: float,
    scale: float,
    matching: Matching,
) -> NDArray[np.float64]:
    weights = np.zeros(len(images))
    for work, image in enumerate(images):
        for at, patch in _cut(image, matching.patch).items():
            if matching.places == "all" or at == place:
                weights[work] += math.exp(-float(((signal * patch - seen) ** 2).sum()) / (2.0 * scale**2))
    return weights / weights.sum()


@pytest.mark.parametrize("places", ["same", "all"])
@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize("space", [_LATENTS, _PIXELS])
def test_scores_and_maps_are_the_softmax_written_out(
    works: Gallery, queries: Gallery, space: Matching, patch: int, places: nda.Places, tmp_path: Path
) -> None:
    matching = replace(space, patch=patch, places=places)
    attributor = NonparametricAttribution(_NOISING, matching)
    scores = attribute(attributor, works, queries, tmp_path).values
    plain = _plain_maps(works, queries, matching)
    assert scores == pytest.approx(plain.sum(axis=(2, 3)), rel=1e-3, abs=1e-6)
    found = attributor.influence_map(queries.rows([1]), "work-4")
    assert found == pytest.approx(plain[1, 4], rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("places", ["same", "all"])
def test_blocks_of_any_size_give_the_same_numbers(
    works: Gallery, queries: Gallery, places: nda.Places, tmp_path: Path
) -> None:
    matching = replace(_LATENTS, places=places)
    whole = attribute(NonparametricAttribution(_NOISING, matching), works, queries, tmp_path).values
    smallest = NonparametricAttribution(_NOISING, matching, numbers_per_block=1)
    one_by_one = attribute(smallest, works, queries, tmp_path).values
    assert one_by_one == pytest.approx(whole, rel=1e-4, abs=1e-7)


def test_padded_patches_pay_a_large_distance_for_padding_in_other_places(
    works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    """The form of the paper's code: a value of 1,000 is added wherever a patch is padding."""
    matching = replace(_LATENTS, patch=3, border="padded", timesteps=(700,), repeats=1)
    found = attribute(NonparametricAttribution(_NOISING, matching), works, queries, tmp_path).values
    images, sources = _images(works, matching), _images(queries, matching)
    signal, scale = float(_NOISING.signal[700]), float(_NOISING.noise[700])

    def padded(image: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return list(_cut(np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=1e3), 3).values())

    for row, (name, source) in enumerate(zip(queries.examples.ids, sources, strict=True)):
        noise = matching.draws.noise(name, source.shape).numpy()[0]
        weights = np.zeros(len(images))
        for seen in padded(signal * source + scale * noise):
            distances = [[np.square(seen - one).sum() for one in padded(signal * image)] for image in images]
            logits = -np.array(distances) / (2 * scale**2)
            shares = np.exp(logits - logits.max())
            weights += shares.sum(axis=1) / shares.sum()
        assert found[row] == pytest.approx(weights / weights.sum(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("matching", [_LATENTS, _PIXELS, replace(_LATENTS, places="same")])
def test_a_querys_scores_are_the_same_alone_and_among_others(
    works: Gallery, queries: Gallery, matching: Matching, tmp_path: Path
) -> None:
    attributor = NonparametricAttribution(_NOISING, matching)
    together = attribute(attributor, works, queries, tmp_path).values
    for row in range(len(queries)):
        np.testing.assert_array_equal(attributor.scores(queries.rows([row]))[0], together[row])


@pytest.mark.parametrize(
    "matching",
    [nda.PUBLISHED, nda.PUBLISHED_IN_PIXELS, nda.SAME_PLACE, nda.SAME_PLACE_IN_PIXELS],
)
def test_a_copy_of_a_work_gets_the_most_and_all_weights_sum_to_1(
    works: Gallery, matching: Matching, tmp_path: Path
) -> None:
    scores = attribute(NonparametricAttribution(_NOISING, matching), works, works, tmp_path).values
    assert scores.argmax(axis=1).tolist() == list(range(len(works)))
    assert scores.sum(axis=1) == pytest.approx(np.ones(len(works)))


@pytest.mark.parametrize(
    "matching",
    [_LATENTS, replace(_PIXELS, places="same", patch=3), replace(_LATENTS, patch=3, border="padded")],
)
def test_a_works_map_sums_to_its_score(
    works: Gallery, queries: Gallery, matching: Matching, tmp_path: Path
) -> None:
    attributor = NonparametricAttribution(_NOISING, matching)
    scores = attribute(attributor, works, queries, tmp_path).values
    for column, work in enumerate(works.examples.ids):
        found = attributor.influence_map(queries.rows([2]), work)
        assert found.sum() == pytest.approx(scores[2, column])


def test_the_map_lies_where_the_query_is_the_work(works: Gallery, queries: Gallery, tmp_path: Path) -> None:
    """The left part of a query is one work's; little noise, so that each place knows its own."""
    latents = queries.examples.latents[:1].clone()
    latents[..., :3] = works.examples.latents[3, ..., :3]
    mixed = replace(queries.rows([0]), examples=replace(queries.examples.rows([0]), latents=latents))
    matching = Matching(patch=1, places="same", timesteps=(10,))
    attributor = NonparametricAttribution(_NOISING, matching)
    attributor.prepare(works, tmp_path)
    found = attributor.influence_map(mixed, "work-3")
    assert found[:, :3] == pytest.approx(np.full((4, 3), 1 / 20), rel=0.01)
    assert found[:, 3:].sum() < 0.2


def test_all_scores_are_finite_even_with_hardly_any_noise(
    works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    quiet = Noising(torch.ones(1), torch.full((1,), 1e-3), "epsilon")
    matching = replace(_LATENTS, timesteps=(0,))
    scores = attribute(NonparametricAttribution(quiet, matching), works, queries, tmp_path).values
    assert scores.sum(axis=1) == pytest.approx(np.ones(len(queries)))


@pytest.mark.parametrize(("matching", "numbers"), [(_LATENTS, 3 * 4 * 5), (_PIXELS, 3 * 5 * 5)])
def test_what_is_kept_of_a_work_is_its_picture(
    works: Gallery, queries: Gallery, matching: Matching, numbers: int, tmp_path: Path
) -> None:
    cost = attribute(NonparametricAttribution(_NOISING, matching), works, queries, tmp_path).cost
    assert cost.bytes_per_work == 4 * numbers
    assert cost.passes_per_query == 0


def test_each_space_has_its_name() -> None:
    assert NonparametricAttribution(_NOISING, _LATENTS).name == "nda"
    assert NonparametricAttribution(_NOISING, _PIXELS).name == "nda-pixels"


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("space", "words", "unknown space 'words'; choose one of latents, pixels"),
        ("places", "near", "unknown places 'near'; choose one of same, all"),
        ("patch", 0, "give 1 or more"),
        ("border", "torn", "unknown border 'torn'; choose one of inside, padded"),
        ("side", 0, "give 1 or more"),
        ("repeats", 0, "give 1 or more"),
        ("timesteps", (), "name at least one"),
    ],
)
def test_choices_that_do_not_exist_are_refused(field: str, value: object, advice: str) -> None:
    with pytest.raises(InvalidInput, match=advice) as refused:
        replace(_LATENTS, **{field: value})
    assert refused.value.field == field


def test_timesteps_outside_the_schedule_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\(1000,\) are outside the schedule; choose from 0 to 999"):
        NonparametricAttribution(_NOISING, replace(_LATENTS, timesteps=(1000,)))


def test_a_patch_wider_than_the_works_is_refused(works: Gallery, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="patch 5 is larger than the 4 × 5 latents; choose a smaller one"):
        NonparametricAttribution(_NOISING, replace(_LATENTS, patch=5)).prepare(works, tmp_path)


def test_a_query_of_another_shape_than_the_works_is_refused(
    works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    attributor = NonparametricAttribution(_NOISING, _LATENTS)
    attributor.prepare(works, tmp_path)
    narrow = replace(queries, examples=replace(queries.examples, latents=queries.examples.latents[..., :4]))
    with pytest.raises(
        InvalidInput, match=r"query-0 has shape \(3, 4, 4\), but works have \(3, 4, 5\); encode both"
    ):
        attributor.scores(narrow)


def test_a_map_is_of_one_query_and_a_known_work(works: Gallery, queries: Gallery, tmp_path: Path) -> None:
    attributor = NonparametricAttribution(_NOISING, _LATENTS)
    with pytest.raises(NotReady, match="call prepare"):
        attributor.scores(queries)
    attributor.prepare(works, tmp_path)
    with pytest.raises(InvalidInput, match="got 3; call it for each"):
        attributor.influence_map(queries, "work-0")
    with pytest.raises(NotFound, match="'work-9' is not among the 6"):
        attributor.influence_map(queries.rows([0]), "work-9")


def test_a_padded_patch_has_a_centre() -> None:
    with pytest.raises(InvalidInput, match="patch 2 has no centre to pad around; give an odd number"):
        replace(_LATENTS, border="padded")
