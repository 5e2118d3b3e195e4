"""Journey-TRAK: the sampling trajectory of a picture, and the kernel of the predictions along it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from creditline.attribution.attributor import Gallery, attribute
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace
from creditline.attribution.methods.journey_trak import JourneyTrak
from creditline.attribution.methods.trak import trak_scores
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, DrawsAt, Examples
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

SPACE = GradientSpace("cross-attn", draws=Draws(timesteps=2, repeats=1, salt="test"))
PROMPT, SEED, STEPS = "a red ladybug", 5, 4


@pytest.fixture
def query(random_generator: Generator) -> Gallery:
    encoded = random_gallery(random_generator, "query", 1).examples
    text = random_generator.prompt_vectors([PROMPT])
    return Gallery(
        Examples(("made",), encoded.latents, text), (Image.new("RGB", (8, 8)),), (PROMPT,), "one query"
    )


def test_a_journey_ends_in_the_picture(random_generator: Generator) -> None:
    passed, timesteps = random_generator.trajectory(PROMPT, SEED, steps=STEPS)
    assert len(passed) == len(timesteps) == STEPS - 1
    assert timesteps.tolist() == [749, 499, 249]
    again, _ = random_generator.trajectory(PROMPT, SEED, steps=STEPS)
    other, _ = random_generator.trajectory(PROMPT, SEED + 1, steps=STEPS)
    assert torch.equal(passed, again)
    assert not torch.equal(passed, other)


def test_the_predicted_clean_latents_undo_the_noise(random_generator: Generator) -> None:
    draw = torch.Generator().manual_seed(1)
    latents, noise = (torch.randn((3, 4, 4, 4), generator=draw) for _ in range(2))
    timesteps, noising = torch.tensor([10, 500, 900]), random_generator.noising
    noisy, target = noising.noisy(latents, noise, timesteps), noising.target(latents, noise, timesteps)
    torch.testing.assert_close(noising.clean(noisy, target, timesteps), latents, rtol=1e-4, atol=1e-4)


def test_it_is_traks_kernel_of_the_mean_gradient_at_the_predicted_pictures(
    random_generator: Generator, query: Gallery, tmp_path: Path
) -> None:
    works = random_gallery(random_generator, "work", 6)
    layers = chosen_layers(random_generator.unet, "cross-attn")
    method = JourneyTrak(
        "journey", random_generator, GradientRows(random_generator, SPACE), 0.5, {"made": SEED}, steps=STEPS
    )
    found = attribute(method, works, query, tmp_path).values
    passed, timesteps = random_generator.trajectory(PROMPT, SEED, steps=STEPS)
    gradients = []
    for latents, timestep in zip(passed, timesteps, strict=True):
        with torch.no_grad():
            predicted = random_generator.unet(latents[None], timestep[None], query.examples.text).sample
        belief = random_generator.noising.clean(latents[None], predicted, timestep[None])
        example = Examples((f"made@{int(timestep)}",), belief, query.examples.text)
        draws = DrawsAt(salt="journey", at=int(timestep))
        gradients.append(per_sample_gradients(random_generator, example, draws, layers)[0])
    of_works = per_sample_gradients(random_generator, works.examples, SPACE.draws, layers).numpy()
    expected = trak_scores(torch.stack(gradients).mean(dim=0)[None].numpy(), of_works, 0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())


def test_a_picture_without_a_known_seed_is_refused(
    random_generator: Generator, query: Gallery, tmp_path: Path
) -> None:
    method = JourneyTrak("journey", random_generator, GradientRows(random_generator, SPACE), 0.5, {})
    method.prepare(random_gallery(random_generator, "work", 3), tmp_path)
    with pytest.raises(InvalidInput, match="seed of query made is not known"):
        method.scores(query)


def test_rows_of_another_measure_are_refused(random_generator: Generator, tmp_path: Path) -> None:
    rows = GradientRows(random_generator, GradientSpace("cross-attn", "mean"))
    with pytest.raises(InvalidInput, match="gradients of the loss, not of 'mean'"):
        JourneyTrak("journey", random_generator, rows, 0.5, {}).prepare(
            random_gallery(random_generator, "work", 3), tmp_path
        )
