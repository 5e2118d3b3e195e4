"""The check of v against noise prediction: it agrees, contradicts, or cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from creditline.attribution.unlearning.teacher import encode_works
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.assembly import assemble_reference
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Generator
from creditline.generator.prediction_check import (
    PREDICTIONS,
    check_corpus,
    check_prediction,
    refuse_other_prediction,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    """The reference generator of the package, which predicts v."""
    with Generator.open(assemble_reference(tmp_path_factory.mktemp("generator") / "reference")) as generator:
        yield generator


@pytest.fixture(scope="module")
def works(trained: Generator, small_corpus: Corpus) -> Examples:
    return encode_works(trained, small_corpus.works[:8])


@contextmanager
def _configured(generator: Generator, prediction: str) -> Iterator[None]:
    right = generator.noising
    generator.noising = replace(right, prediction=prediction)
    try:
        yield
    finally:
        generator.noising = right


@contextmanager
def _noise_predicted(generator: Generator) -> Iterator[None]:
    """The UNet that predicts the noise wherever the wrapped one predicts v, exactly."""

    def to_noise(unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], output: Any) -> Any:
        signal, noise = (
            values[inputs[1]][:, None, None, None]
            for values in (generator.noising.signal, generator.noising.noise)
        )
        output.sample = signal * output.sample + noise * inputs[0]
        return output

    hook = generator.unet.register_forward_hook(to_noise)
    try:
        yield
    finally:
        hook.remove()


def test_a_unet_that_predicts_v_agrees_with_v_and_contradicts_noise(
    trained: Generator, works: Examples
) -> None:
    assert refuse_other_prediction(trained, works).outcome == "agrees"
    with _configured(trained, "epsilon"), pytest.raises(InvalidInput) as refused:
        refuse_other_prediction(trained, works)
    assert "configured for epsilon, but the UNet predicts v_prediction" in refused.value.message
    assert "prediction_check: false" in refused.value.message


def test_a_unet_that_predicts_noise_agrees_with_noise_and_contradicts_v(
    trained: Generator, works: Examples
) -> None:
    with _noise_predicted(trained):
        assert check_prediction(trained, works).outcome == "contradicts"
        with _configured(trained, "epsilon"):
            assert check_prediction(trained, works).outcome == "agrees"


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_of_an_untrained_unet_nothing_can_be_told(
    random_generator: Generator, small_corpus: Corpus, prediction: str
) -> None:
    with _configured(random_generator, prediction):
        found = check_corpus(random_generator, small_corpus)
    assert found.outcome == "cannot tell"
    assert found.sentence().endswith("its scheduler's word is taken")


def test_of_too_few_works_nothing_can_be_told(trained: Generator, works: Examples) -> None:
    assert check_prediction(trained, works.rows([0, 1, 2])).outcome == "cannot tell"


def test_an_output_that_is_nan_names_the_work(trained: Generator, works: Examples) -> None:
    spoiled = replace(works, latents=works.latents.clone())
    spoiled.latents[3] = torch.nan
    with pytest.raises(InvalidInput, match=f"output for {works.ids[3]!r} is NaN"):
        check_prediction(trained, spoiled)


def test_a_corpus_without_pictures_is_refused(trained: Generator, small_corpus: Corpus) -> None:
    bare = Corpus("bare", tuple(replace(work, thumbnail=b"") for work in small_corpus.works[:8]))
    with pytest.raises(InvalidInput, match="cannot be checked without pictures"):
        check_corpus(trained, bare)
