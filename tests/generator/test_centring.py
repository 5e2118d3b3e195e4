"""Centring of the VAE's latents: reconstructions are unchanged, and latents have the scale for the UNet."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

from creditline.corpus.works import Corpus
from creditline.generator.autoencoder import RESOLUTION, build_vae, picture_tensors, reconstruction_psnr
from creditline.generator.reference_training import centre_latents


def _vae() -> AutoencoderKL:
    """An untrained VAE whose latents have a non-zero mean."""
    torch.manual_seed(0)
    vae = build_vae().eval()
    with torch.no_grad():
        vae.quant_conv.bias += torch.linspace(-3, 3, len(vae.quant_conv.bias))
    return vae


@torch.no_grad()
def test_centred_latents_have_zero_means_and_unit_deviation_and_decode_to_the_same_pictures(
    small_corpus: Corpus,
) -> None:
    vae, pictures = _vae(), picture_tensors(small_corpus)
    before = vae.encode(pictures).latent_dist.mean
    decoded = vae.decode(before).sample
    assert before.mean(dim=(0, 2, 3)).abs().max() > 1
    centre_latents(vae, pictures)
    after = vae.encode(pictures).latent_dist.mean
    scaled = after * vae.config.scaling_factor
    assert scaled.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    torch.testing.assert_close(scaled.std(), torch.tensor(1.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(vae.decode(after).sample, decoded, rtol=1e-3, atol=1e-4)


def test_pictures_are_in_the_range_that_the_vae_is_trained_on(small_corpus: Corpus) -> None:
    pictures = picture_tensors(small_corpus)
    assert pictures.shape == (len(small_corpus), 3, RESOLUTION, RESOLUTION)
    assert float(pictures.min()) >= -1.0
    assert float(pictures.max()) == 1.0


def test_psnr_is_that_of_the_mean_squared_error_of_pixels_from_0_to_1(small_corpus: Corpus) -> None:
    vae, pictures = _vae(), picture_tensors(small_corpus)[:3]
    with torch.no_grad():
        decoded = vae.decode(vae.encode(pictures).latent_dist.mean).sample.clamp(-1, 1)
    expected = [
        -10 * torch.log10((((back + 1) / 2 - (picture + 1) / 2) ** 2).mean())
        for back, picture in zip(decoded, pictures, strict=True)
    ]
    torch.testing.assert_close(
        reconstruction_psnr(vae, pictures, batch=2), torch.stack(expected), rtol=1e-4, atol=1e-3
    )
