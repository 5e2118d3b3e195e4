"""The generator compared with diffusers itself: prompts, pictures, the forward process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from creditline.corpus.works import Corpus
from creditline.generator.assembly import SCHEDULER_CONFIG
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator, Noising

PROMPTS = ["a red ladybug", "a sailing boat on the sea", "bread"]
SEEDS = [5, 6, 7]
_FEW_STEPS = 3


def test_the_same_seed_gives_the_same_picture_in_any_batch(random_generator: Generator) -> None:
    together = random_generator.sample(PROMPTS, SEEDS, steps=_FEW_STEPS)
    alone = random_generator.sample(PROMPTS[1:2], SEEDS[1:2], steps=_FEW_STEPS)[0]
    turned = random_generator.sample(PROMPTS[::-1], SEEDS[::-1], steps=_FEW_STEPS)[1]
    # Rounding to 8 bits may fall to either side.
    for other in (alone, turned):
        assert np.abs(np.asarray(together[1], dtype=int) - np.asarray(other, dtype=int)).max() <= 1
    assert np.abs(np.asarray(together[0], dtype=int) - np.asarray(together[1], dtype=int)).max() > 8


def test_another_seed_gives_another_picture(random_generator: Generator) -> None:
    first, second = random_generator.sample([PROMPTS[0]] * 2, [1, 2], steps=_FEW_STEPS)
    assert np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max() > 8


def test_prompt_vectors_are_what_the_pipeline_feeds_its_unet(random_generator: Generator) -> None:
    """The UNet must be trained on the same text vectors that it is sampled with."""
    fed: list[torch.Tensor] = []
    hook = random_generator.unet.register_forward_pre_hook(
        lambda module, arguments, named: fed.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    try:
        random_generator.sample(PROMPTS[:2], SEEDS[:2], guidance=2.5, steps=1)
    finally:
        hook.remove()
    without_prompt, with_prompt = fed[0].chunk(2)
    torch.testing.assert_close(
        with_prompt, random_generator.prompt_vectors(PROMPTS[:2]), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        without_prompt, random_generator.prompt_vectors(["", ""]), rtol=1e-4, atol=1e-5
    )


def test_prompt_vectors_do_not_depend_on_the_batch(random_generator: Generator) -> None:
    together = random_generator.prompt_vectors(PROMPTS)
    apart = torch.cat([random_generator.prompt_vectors([prompt]) for prompt in PROMPTS])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_latents_are_the_scaled_means_that_decode_to_the_picture(
    random_generator: Generator, small_corpus: Corpus
) -> None:
    vae = random_generator.pipeline.vae
    picture = small_corpus.works[0].picture().resize((32, 32))
    latents = random_generator.latents([picture])
    tensor = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1.0).permute(2, 0, 1)[None]
    with torch.no_grad():
        mean = vae.encode(tensor).latent_dist.mean
    torch.testing.assert_close(latents, mean * vae.config.scaling_factor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_forward_process_and_its_target_are_diffusers_own(prediction: str) -> None:
    config = {name: value for name, value in SCHEDULER_CONFIG.items() if not name.startswith("_")}
    scheduler = DDIMScheduler(**{**config, "prediction_type": prediction})
    alphas = scheduler.alphas_cumprod.to(torch.float32)
    noising = Noising(alphas.sqrt(), (1 - alphas).sqrt(), prediction)
    random = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn((6, 4, 4, 4), generator=random) for _ in range(2))
    timesteps = torch.tensor([0, 1, 250, 500, 998, 999])
    noisy = noising.noisy(latents, noise, timesteps)
    torch.testing.assert_close(noisy, scheduler.add_noise(latents, noise, timesteps), rtol=1e-5, atol=1e-5)
    target = noise if prediction == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)
    torch.testing.assert_close(noising.target(latents, noise, timesteps), target, rtol=1e-5, atol=1e-5)


def test_at_the_last_timestep_nothing_of_the_picture_is_left(random_generator: Generator) -> None:
    noising = random_generator.noising
    assert float(noising.signal[-1]) == pytest.approx(0.0, abs=1e-6)
    assert float(noising.noise[-1]) == pytest.approx(1.0, abs=1e-6)


def test_a_perfect_prediction_gives_the_picture_back() -> None:
    """x_0 = signal · x_t − noise · v (arXiv 2202.00512): the target is what a sampler needs."""
    alphas = torch.linspace(0.99, 0.01, 1000)
    noising = Noising(alphas.sqrt(), (1 - alphas).sqrt(), "v_prediction")
    random = torch.Generator().manual_seed(1)
    latents, noise = (torch.randn((5, 2, 3, 3), generator=random) for _ in range(2))
    timesteps = torch.tensor([3, 100, 500, 700, 999])
    noisy, velocity = noising.noisy(latents, noise, timesteps), noising.target(latents, noise, timesteps)
    signal, part = (values[timesteps][:, None, None, None] for values in (noising.signal, noising.noise))
    torch.testing.assert_close(signal * noisy - part * velocity, latents, rtol=1e-4, atol=1e-5)


def test_an_error_of_the_prediction_becomes_one_of_the_noise() -> None:
    """ε = signal · v + noise · x_t: the noise that a wrong v implies, against the drawn noise."""
    alphas = torch.linspace(0.99, 0.0, 1000)
    noising = Noising(alphas.sqrt(), (1 - alphas).sqrt(), "v_prediction")
    random = torch.Generator().manual_seed(2)
    latents, noise, error = (torch.randn((4, 2, 3, 3), generator=random) for _ in range(3))
    timesteps = torch.tensor([0, 300, 800, 999])
    noisy, wrong = noising.noisy(latents, noise, timesteps), noising.target(latents, noise, timesteps) + error
    signal, part = (values[timesteps][:, None, None, None] for values in (noising.signal, noising.noise))
    said = signal * wrong + part * noisy
    torch.testing.assert_close(
        (said - noise).square(), error.square() * noising.noise_error(timesteps)[:, None, None, None]
    )
    plain = Noising(noising.signal, noising.noise, "epsilon")
    assert plain.noise_error(timesteps).tolist() == [1.0] * 4


def test_timesteps_are_spread_evenly_over_the_schedule() -> None:
    assert Draws(timesteps=10).schedule(1000).tolist() == list(range(50, 1000, 100))
    assert Draws(timesteps=2, repeats=3).schedule(1000).tolist() == [250, 250, 250, 750, 750, 750]


def test_a_loss_is_that_of_one_plain_pass_per_draw(random_generator: Generator, small_corpus: Corpus) -> None:
    """The oracle: one pass of the UNet per draw, and the predicted noise by the formula for v."""
    from creditline.attribution.unlearning.teacher import encode_works

    works = encode_works(random_generator, small_corpus.works[:2])
    draws = Draws(timesteps=3, repeats=1, salt="oracle")
    scheduler = random_generator.pipeline.scheduler
    expected = torch.empty(2, 3)
    for row in range(2):
        noises = draws.noise(works.ids[row], tuple(works.latents.shape[1:]))
        for draw, timestep in enumerate(draws.schedule(1000)):
            latent, noise, step = works.latents[row : row + 1], noises[draw : draw + 1], timestep[None]
            with torch.no_grad():
                noisy = scheduler.add_noise(latent, noise, step)
                predicted = random_generator.unet(noisy, step, works.text[row : row + 1]).sample
            kept = scheduler.alphas_cumprod[timestep]
            predicted_noise = kept.sqrt() * predicted + (1 - kept).sqrt() * noisy
            expected[row, draw] = (predicted_noise - noise).square().mean()
    torch.testing.assert_close(
        denoising_losses(random_generator, works, draws), expected, rtol=1e-4, atol=1e-5
    )
