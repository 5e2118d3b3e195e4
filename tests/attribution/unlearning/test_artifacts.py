"""Artifacts: computed in blocks, resumed after the last complete block, refused for any other origin."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from creditline.attribution.fisher.key_value import ekfac_fisher
from creditline.attribution.gradients.key_value import gradient_factors, key_value_projections, output_widths
from creditline.attribution.unlearning.artifacts import (
    Origin,
    dense_gradients,
    read_statistics,
    store_gradients,
    write_statistics,
)
from creditline.attribution.unlearning.teacher import encode_works
from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.generator.losses import Draws, Examples
from creditline.generator.pipeline import Generator

DRAWS = Draws(timesteps=2, repeats=1, salt="artifacts")
_WORKS = 10
_BLOCK = 4


class Killed(Exception):
    """Simulates the end of the process."""


@dataclass
class KilledAfter:
    """Works whose process ends when block number `blocks` is asked for."""

    works: Examples
    blocks: int

    def __len__(self) -> int:
        return len(self.works)

    def rows(self, rows: range) -> Examples:
        if self.blocks == 0:
            raise Killed
        self.blocks -= 1
        return self.works.rows(rows)


@pytest.fixture(scope="module")
def works(random_generator: Generator, small_corpus: Corpus) -> Examples:
    return encode_works(random_generator, small_corpus.works[:_WORKS])


@pytest.fixture
def origin(random_generator: Generator) -> Origin:
    return Origin(random_generator.fingerprint, "c" * 64, DRAWS)


@pytest.fixture
def stored(random_generator: Generator, works: Examples, origin: Origin, tmp_path: Path) -> Path:
    store_gradients(
        random_generator, works, origin, tmp_path / "stored", lambda line: None, works_per_block=_BLOCK
    )
    return tmp_path / "stored"


def test_the_statistics_are_those_of_all_gradients_at_once(
    random_generator: Generator, works: Examples, origin: Origin, stored: Path
) -> None:
    written = write_statistics(random_generator, stored, origin, works, works_per_block=_BLOCK)
    factors = gradient_factors(random_generator, works, DRAWS)
    torch.testing.assert_close(written.losses, factors.losses, rtol=1e-4, atol=1e-6)
    widths = output_widths(key_value_projections(random_generator.unet))
    at_once = ekfac_fisher(lambda: [(factors.outputs, factors.text)], widths)
    gradient = factors.dense()[3]
    natural = at_once.natural(gradient)
    largest = float(natural.abs().max())
    torch.testing.assert_close(written.fisher.natural(gradient), natural, rtol=1e-2, atol=1e-2 * largest)
    read = read_statistics(stored, origin)
    assert torch.equal(read.losses, written.losses)
    assert torch.equal(read.fisher.natural(gradient), written.fisher.natural(gradient))


def test_statistics_of_an_earlier_version_are_refused(origin: Origin, tmp_path: Path) -> None:
    earlier = {"losses": torch.zeros(10, 2), "fisher": torch.ones(3, 4)}
    save_file(earlier, tmp_path / "statistics.safetensors", metadata=origin.as_metadata())
    with pytest.raises(FingerprintMismatch, match=r"earlier version .* `creditline teacher prepare`"):
        read_statistics(tmp_path, origin)


def test_statistics_of_another_loss_are_refused(origin: Origin, tmp_path: Path) -> None:
    """Before the loss was that of the noise, its name was not written."""
    earlier = {name: value for name, value in origin.as_metadata().items() if name != "loss"}
    save_file({"losses": torch.zeros(10, 2)}, tmp_path / "statistics.safetensors", metadata=earlier)
    with pytest.raises(FingerprintMismatch, match=r"loss None, not 'noise'.*`creditline teacher prepare`"):
        read_statistics(tmp_path, origin)


def test_stored_gradients_come_back_block_by_block_and_complete(
    random_generator: Generator, works: Examples, origin: Origin, stored: Path
) -> None:
    blocks = list(dense_gradients(stored, origin, works, works_per_block=_BLOCK))
    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(0, 4), (4, 8), (8, 10)]
    dense = gradient_factors(random_generator, works, DRAWS).dense()
    torch.testing.assert_close(
        torch.cat([block for _, block in blocks]), dense, rtol=1e-3, atol=float(dense.abs().max()) * 1e-4
    )


def test_a_preparation_that_was_killed_resumes_after_its_last_complete_block(
    random_generator: Generator, works: Examples, origin: Origin, stored: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "killed"
    with pytest.raises(Killed):
        store_gradients(
            random_generator,
            KilledAfter(works, 2),
            origin,
            directory,
            lambda line: None,
            works_per_block=_BLOCK,
        )
    assert json.loads((directory / "gradients.json").read_text())["rows"] == 8
    with pytest.raises(NotReady, match="holds gradients of 8 of 10 works"):
        next(dense_gradients(directory, origin, works, works_per_block=_BLOCK))
    one_block_more = KilledAfter(works, 1)
    store_gradients(
        random_generator, one_block_more, origin, directory, lambda line: None, works_per_block=_BLOCK
    )
    for name in ("gradients.npy", "losses.npy"):
        np.testing.assert_array_equal(np.load(directory / name), np.load(stored / name))


def test_finished_artifacts_are_not_computed_again(
    random_generator: Generator, works: Examples, origin: Origin, stored: Path
) -> None:
    unasked = KilledAfter(works, 1)
    written = [(stored / name).stat().st_mtime_ns for name in ("gradients.npy", "losses.npy")]
    store_gradients(random_generator, unasked, origin, stored, lambda line: None, works_per_block=_BLOCK)
    assert unasked.blocks == 1
    assert [(stored / name).stat().st_mtime_ns for name in ("gradients.npy", "losses.npy")] == written


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("generator", lambda origin: replace(origin, generator="a" * 64)),
        ("corpus", lambda origin: replace(origin, corpus="b" * 64)),
        ("draws", lambda origin: replace(origin, draws=replace(DRAWS, timesteps=5))),
    ],
)
def test_artifacts_of_another_origin_are_refused_naming_what_differs(
    random_generator: Generator,
    works: Examples,
    origin: Origin,
    stored: Path,
    field: str,
    change: Callable[[Origin], Origin],
) -> None:
    write_statistics(random_generator, stored, origin, works, works_per_block=_BLOCK)
    other = change(origin)
    refusal = rf"made with {field} .* make it again with `creditline teacher prepare`"
    with pytest.raises(FingerprintMismatch, match=refusal) as refused:
        read_statistics(stored, other)
    assert refused.value.field == field
    with pytest.raises(FingerprintMismatch, match=f"made with {field} .* use another directory"):
        store_gradients(random_generator, works, other, stored, lambda line: None, works_per_block=_BLOCK)


@pytest.mark.parametrize("name", ["gradients.npy", "losses.npy"])
def test_a_cut_file_is_refused_and_not_filled_up_with_zeros(
    random_generator: Generator, works: Examples, origin: Origin, stored: Path, name: str
) -> None:
    (stored / name).write_bytes((stored / name).read_bytes()[:-64])
    progress = json.loads((stored / "gradients.json").read_text())
    for rows in (len(works), 2 * _BLOCK):
        (stored / "gradients.json").write_text(json.dumps({**progress, "rows": rows}))
        with pytest.raises(InvalidInput, match=f"{name} is truncated or damaged"):
            store_gradients(
                random_generator, works, origin, stored, lambda line: None, works_per_block=_BLOCK
            )


def test_cut_statistics_are_refused_with_the_command_that_makes_them(
    random_generator: Generator, works: Examples, origin: Origin, stored: Path
) -> None:
    write_statistics(random_generator, stored, origin, works, works_per_block=_BLOCK)
    path = stored / "statistics.safetensors"
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(
        InvalidInput, match=r"not a complete file of the teacher's statistics .* `creditline teacher prepare`"
    ):
        read_statistics(stored, origin)


def test_missing_statistics_are_refused_with_the_command_that_makes_them(
    origin: Origin, tmp_path: Path
) -> None:
    with pytest.raises(NotReady, match="creditline teacher prepare"):
        read_statistics(tmp_path, origin)
