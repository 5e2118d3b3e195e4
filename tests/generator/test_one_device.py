"""Every tensor of the generator's code is on its model's device, wherever that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from creditline.devices import device_of
from creditline.evaluation.lab.retraining.denoiser import LabTask
from creditline.generator.autoencoder import VaeTask
from creditline.generator.denoiser import UnetTask
from creditline.generator.losses import Draws, Examples, batch_losses, denoising_losses, noisy_batch
from creditline.generator.pipeline import Generator
from creditline.generator.prediction_check import refuse_other_prediction
from creditline.generator.training import Schedule, TrainingTask, train
from tests.device_checks import META, fake_cuda, needs_gpu, one_device

DRAWS = Draws(timesteps=3, repeats=2, salt="test", mirrored=True)
_SCHEDULE = Schedule(minutes=0.0, batch=4, learning_rate=1e-3, workers=1, seed=1, steps=1, keep=(1,))
_PICTURES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
_PROMPTS = ["a red square", "a blue one"]


@pytest.fixture(scope="module")
def meta_generator(random_generator_directory: Path) -> Iterator[Generator]:
    with Generator.open(random_generator_directory, device=META) as generator:
        yield generator


def _examples(generator: Generator) -> Examples:
    latents, text = generator.latents(_PICTURES), generator.prompt_vectors(_PROMPTS)
    return Examples(("first", "second"), latents, text)


def test_pictures_and_prompts_are_encoded_there(meta_generator: Generator) -> None:
    with one_device():
        examples = _examples(meta_generator)
    assert examples.latents.is_meta
    assert examples.text.is_meta
    assert examples.rows([1]).latents.shape == (1, *examples.latents.shape[1:])


def test_losses_are_computed_there(meta_generator: Generator) -> None:
    with one_device() as checked:
        examples = _examples(meta_generator)
        losses = denoising_losses(meta_generator, examples, DRAWS)
        refuse_other_prediction(meta_generator, examples)
    assert losses.is_meta
    assert losses.shape == (2, len(DRAWS))
    assert checked.host_copies > 0


def test_pictures_are_sampled_there(meta_generator: Generator) -> None:
    with one_device():
        pictures = meta_generator.sample(_PROMPTS, [1, 2], steps=3)
        passed, timesteps = meta_generator.trajectory(_PROMPTS[0], 1, steps=3)
    assert [picture.size for picture in pictures] == [(32, 32)] * 2
    assert passed.is_meta
    assert timesteps.is_meta


def _unet_task(directory: Path) -> TrainingTask:
    draw = torch.Generator().manual_seed(0)
    signal = torch.linspace(0.99, 0.01, 1000)
    tensors = {
        "latents": torch.randn(2, 6, 16, 8, 8, generator=draw),
        "captions": torch.randn(6, 5, 384, generator=draw),
        "titles": torch.randn(6, 5, 384, generator=draw),
        "empty": torch.randn(5, 384, generator=draw),
        "signal": signal,
        "noise": (1.0 - signal.square()).sqrt(),
    }
    save_file(tensors, directory / "latents.safetensors")
    return UnetTask(directory / "latents.safetensors")


def _lab_task(directory: Path) -> TrainingTask:
    _unet_task(directory)
    tensors = load_file(directory / "latents.safetensors")
    works = {"latents": tensors.pop("latents")[0], "text": tensors.pop("captions"), **tensors}
    save_file(works, directory / "works.safetensors")
    return LabTask(directory / "works.safetensors", (0, 2, 3))


def _vae_task(directory: Path) -> TrainingTask:
    return VaeTask()


@pytest.mark.heavy
@pytest.mark.parametrize("make", [_unet_task, _lab_task, _vae_task])
def test_a_model_is_trained_checkpointed_and_resumed_there(make: object, tmp_path: Path) -> None:
    task = make(tmp_path)  # type: ignore[operator]
    with one_device():
        train(task, _SCHEDULE, tmp_path / "run", lambda line: None, device=META)
        averaged = train(task, _SCHEDULE, tmp_path / "run", lambda line: None, device=META)
    assert all(value.device.type == "cpu" for value in load_file(averaged).values())


class HalfTask:
    """A task that allows half precision, which is used where it is faster."""

    name = "line"
    precisions = ("float32", "bfloat16")

    def open(self) -> None:
        """Load nothing: the task has no data."""

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> torch.Tensor:
        values = torch.randn((batch, 1), generator=generator).to(device_of(model))
        found: torch.Tensor = model(values).square().mean()
        assert found.dtype is torch.float32
        return found


def test_a_training_on_a_gpu_tries_no_half_precision(tmp_path: Path) -> None:
    """`meta` represents any device other than the CPU."""
    said: list[str] = []
    schedule = replace(_SCHEDULE, steps=None, keep=(), minutes=1e-9)
    with one_device():
        train(HalfTask(), schedule, tmp_path, said.append, device=META)
    assert '"precision": "float32"' in (tmp_path / "line.progress.json").read_text()


def test_forward_passes_run_on_a_pretended_gpu(random_generator_directory: Path) -> None:
    with Generator.open(random_generator_directory) as opened, fake_cuda() as place:
        for part in (opened.pipeline.unet, opened.pipeline.vae, opened.pipeline.text_encoder):
            place(part)
        generator = Generator(opened.pipeline, opened.fingerprint, opened.directory)
        examples = _examples(generator)
        losses = batch_losses(generator, noisy_batch(generator, examples, DRAWS))
        assert generator.noising.signal.device == torch.device("cuda:0")
        for tensor in (examples.latents, examples.text, losses):
            assert tensor.device == torch.device("cuda:0")


@needs_gpu
def test_a_gpu_gives_the_same_losses_and_pictures(random_generator_directory: Path) -> None:
    found = {}
    for device in ("cpu", "cuda:0"):
        with Generator.open(random_generator_directory, device=device) as generator:
            examples = _examples(generator)
            losses = denoising_losses(generator, examples, DRAWS)
            picture = generator.sample(_PROMPTS[:1], [1], steps=5)[0]
            found[device] = losses.cpu(), torch.tensor(list(picture.tobytes()), dtype=torch.float32)
    torch.testing.assert_close(found["cuda:0"][0], found["cpu"][0], rtol=1e-4, atol=1e-5)
    assert float((found["cuda:0"][1] - found["cpu"][1]).abs().max()) <= 2.0
