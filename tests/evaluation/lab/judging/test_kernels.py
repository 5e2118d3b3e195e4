"""Stored kernels give the scores of the methods that they were taken from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.attributor import Attributor, attribute
from creditline.attribution.ensembles.models import Ensemble, Member
from creditline.attribution.methods.das import DiffusionAttributionScore
from creditline.attribution.methods.gradient_methods import GradientDot, Trak
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.lab.judging.kernels import (
    KernelTables,
    StoredKernel,
    kernel_of,
    read_kernel,
    write_kernel,
)
from creditline.generator.losses import Draws
from creditline.generator.pipeline import Generator
from tests.evaluation.lab.removal.test_counterfactuals import lab_record
from tests.random_galleries import random_gallery

_SPACE = GradientSpace("cross-attn", "squared-l2", Draws(timesteps=2, salt="test"))


def _methods(generator: Generator) -> dict[str, Attributor]:
    return {
        "kernel": Trak("kernel", GradientRows(generator, _SPACE), 0.5),
        "das": DiffusionAttributionScore("das", generator, GradientRows(generator, _SPACE), 0.5),
        "ensemble": Ensemble(
            "ensemble",
            generator,
            {"first": Member(None), "second": Member(None)},
            lambda: Trak("kernel", GradientRows(generator, _SPACE), 0.5),
        ),
    }


@pytest.mark.parametrize("name", ["kernel", "das", "ensemble"])
def test_a_stored_kernel_gives_the_methods_scores_at_its_regularisation(
    name: str, random_generator: Generator, tmp_path: Path
) -> None:
    works, queries = (random_gallery(random_generator, kind, 5) for kind in ("work", "query"))
    method = _methods(random_generator)[name]
    expected = attribute(method, works, queries, tmp_path).values
    kernel = kernel_of(method, queries, [10, 11, 12, 13, 14])
    assert kernel is not None
    (found,) = kernel.scores([0.5])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
    (some,) = kernel.of_rows([13, 10]).scores([0.5])
    np.testing.assert_allclose(some, found[[3, 0]], rtol=1e-9)
    with pytest.raises(InvalidInput, match=r"lacks queries \[3\]"):
        kernel.of_rows([3, 10])


def test_a_method_without_kernel_has_none(random_generator: Generator, tmp_path: Path) -> None:
    works = random_gallery(random_generator, "work", 3)
    method = GradientDot("dot", GradientRows(random_generator, _SPACE))
    method.prepare(works, tmp_path)
    assert kernel_of(method, works, [0, 1, 2]) is None


def test_a_kernel_is_read_as_it_was_written_and_refused_for_another_generator_or_record(
    tmp_path: Path,
) -> None:
    record, path = lab_record(), tmp_path / "kernels" / "d-trak.safetensors"
    rows = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32).astype(np.float64)
    gram = (rows @ rows.T).astype(np.float32).astype(np.float64)
    kernel = StoredKernel((0, 1), {"own": KernelTables(gram, gram[:2])})
    write_kernel(kernel, path, record)

    read = read_kernel(path, record)
    assert read.rows == (0, 1)
    np.testing.assert_array_equal(read.models["own"].gram, np.triu(gram) + np.triu(gram, 1).T)
    np.testing.assert_array_equal(read.models["own"].products, gram[:2])
    losses = record.losses + 1.0
    for other, field in (
        (replace(record, generator="another"), "generator"),
        (replace(record, losses=losses), "record"),
    ):
        found, expected = (getattr(one.fingerprints, field) for one in (record, other))
        with pytest.raises(FingerprintMismatch) as error:
            read_kernel(path, other)
        assert error.value.field == field
        assert error.value.message == (
            f"{path} holds a kernel of {field} {found}, not {expected}; make it again with"
            f" `creditline lab score d-trak --kernels {path.parent}`"
        )
