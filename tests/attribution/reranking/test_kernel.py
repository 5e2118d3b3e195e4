"""Rows of works and the kernel over them: TRAK's scores, resumable, and refused for anything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from creditline.attribution.attributor import works_gallery
from creditline.attribution.methods.trak import trak_scores
from creditline.attribution.reranking.building import build_rows, preconditioned
from creditline.attribution.reranking.kernel import GradientKernel
from creditline.attribution.reranking.rows import KernelRows, RowOrigin
from creditline.attribution.reranking.sketch import GradientSketch
from creditline.corpus.works import Corpus
from creditline.errors import CreditlineError, FingerprintMismatch, InvalidInput, NotReady
from creditline.generator.losses import encoded_examples
from creditline.generator.pipeline import Generator

RELEASE = "made-up"


@dataclass(frozen=True)
class Made:
    """Rows of a small corpus, in their file."""

    path: Path
    directory: Path
    corpus: Corpus

    def open(self, generator: Generator, **changes: str) -> GradientKernel:
        stated = {"release": RELEASE, "corpus": self.corpus.fingerprint, **changes}
        return GradientKernel.open(self.path, generator, **stated)


@pytest.fixture(scope="module")
def made(random_generator: Generator, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("rows")
    path = directory / "rerank.safetensors"
    built(random_generator, small_corpus, directory).save(path)
    return Made(path, directory, small_corpus)


def built(generator: Generator, corpus: Corpus, directory: Path) -> KernelRows:
    return build_rows(generator, corpus, directory, release=RELEASE, corpus=corpus.fingerprint)


@pytest.fixture
def broken_generator(random_generator_directory: Path) -> Iterator[Generator]:
    with Generator.open(random_generator_directory) as generator:
        yield generator


@pytest.mark.parametrize("dimension", [24, 160], ids=["fewer numbers than works", "more numbers than works"])
def test_preconditioned_rows_give_traks_scores(dimension: int) -> None:
    random = np.random.default_rng(5)
    works = random.normal(size=(70, dimension)).astype(np.float32)
    query = random.normal(size=dimension).astype(np.float32)

    rows = np.concatenate(list(preconditioned(works, 0.3)))

    oracle = trak_scores(query[None], works, 0.3)[0]
    np.testing.assert_allclose(rows @ query, oracle, atol=1e-5 * np.abs(oracle).max())


def test_scores_are_those_of_traks_kernel_up_to_the_rounding_of_the_rows(
    made: Made, random_generator: Generator
) -> None:
    sketch, kernel = GradientSketch(random_generator), made.open(random_generator)
    picture, prompt = made.corpus.works[3].picture(), "a red ladybug"
    query = kernel.gradient(picture, prompt)
    works = sketch.rows(works_gallery(random_generator, made.corpus).examples)

    scores = kernel.scores(query, made.corpus.ids)

    oracle = trak_scores(query[None], works, 0.2)[0]
    standardised = (oracle - oracle.mean()) / oracle.std()
    found = [scores[work_id] for work_id in made.corpus.ids]
    np.testing.assert_allclose(found, standardised, atol=0.03)
    assert np.corrcoef(found, standardised)[0, 1] > 0.9999


def test_a_work_as_query_is_ordered_first(made: Made, random_generator: Generator) -> None:
    kernel, sketch = made.open(random_generator), GradientSketch(random_generator)
    work = made.corpus.works[5]
    examples = encoded_examples(random_generator, [work.id], [work.picture()], [work.caption])

    scores = kernel.scores(sketch.rows(examples)[0], made.corpus.ids)

    assert max(scores, key=lambda work_id: scores[work_id]) == work.id


def test_the_scores_of_a_work_do_not_depend_on_the_others_that_are_asked_for(
    made: Made, random_generator: Generator
) -> None:
    kernel = made.open(random_generator)
    query = kernel.gradient(made.corpus.works[0].picture(), "a tree")

    alone = kernel.scores(query, made.corpus.ids[7:8])
    among = kernel.scores(query, made.corpus.ids)

    assert alone[made.corpus.ids[7]] == pytest.approx(among[made.corpus.ids[7]], rel=1e-5)
    assert kernel.scores(query, ["added-since"]) == {}


def test_rows_that_were_interrupted_resume_and_end_with_the_same_bytes(
    made: Made, random_generator: Generator, tmp_path: Path
) -> None:
    gradients = np.load(made.directory / "gradients.npy")
    progress = (made.directory / "gradients.json").read_text()
    half = np.where(np.arange(len(gradients))[:, None] < 20, gradients, 0.0).astype(np.float32)
    np.save(tmp_path / "gradients.npy", half)
    (tmp_path / "gradients.json").write_text(progress.replace('"rows": 40', '"rows": 20'))

    built(random_generator, made.corpus, tmp_path).save(tmp_path / "rerank.safetensors")

    assert (tmp_path / "rerank.safetensors").read_bytes() == made.path.read_bytes()


@pytest.mark.parametrize("what", ["release", "corpus"])
def test_rows_of_another_release_or_corpus_are_refused(
    what: str, made: Made, random_generator: Generator
) -> None:
    with pytest.raises(
        FingerprintMismatch, match=rf"was made for {what} .+, not other; make the rows"
    ) as error:
        made.open(random_generator, **{what: "other"})
    assert error.value.field == what


def test_rows_of_another_generator_are_refused(
    made: Made, random_generator: Generator, tmp_path: Path
) -> None:
    stored = KernelRows.read(made.path)
    origin = RowOrigin(RELEASE, "f" * 64, stored.origin.corpus, stored.origin.space)
    KernelRows(origin, stored.work_ids, stored.rows).save(tmp_path / "other.safetensors")

    with pytest.raises(FingerprintMismatch, match=r"was made for generator ffff.+, not "):
        Made(tmp_path / "other.safetensors", tmp_path, made.corpus).open(random_generator)


def test_a_file_that_is_missing_cut_off_or_something_else_is_refused_with_the_command(
    made: Made, random_generator: Generator, tmp_path: Path
) -> None:
    content = made.path.read_bytes()
    cases: list[tuple[bytes | None, type[CreditlineError], str]] = [
        (None, NotReady, r"make it with `creditline release rerank`"),
        (content[:-100], InvalidInput, r"is not a complete file of gradient rows"),
        (content.replace(b'"form":"2"', b'"form":"0"'), FingerprintMismatch, r"not the form"),
    ]
    for number, (stored, kind, message) in enumerate(cases):
        path = tmp_path / f"{number}.safetensors"
        if stored is not None:
            path.write_bytes(stored)
        with pytest.raises(kind, match=message):
            Made(path, tmp_path, made.corpus).open(random_generator)


def test_a_query_whose_gradient_is_zero_is_refused(made: Made, broken_generator: Generator) -> None:
    kernel = made.open(broken_generator)
    with torch.no_grad():
        broken_generator.unet.conv_out.weight.zero_()

    with pytest.raises(InvalidInput, match=r"gradient .+ is zero or not finite.+ask for a fast answer"):
        kernel.gradient(made.corpus.works[0].picture(), "a tree")


def test_a_query_whose_gradient_is_not_a_number_is_refused(made: Made, broken_generator: Generator) -> None:
    kernel = made.open(broken_generator)
    with torch.no_grad():
        broken_generator.unet.conv_out.weight.fill_(float("nan"))

    with pytest.raises(InvalidInput, match=r"is NaN or infinite"):
        kernel.gradient(made.corpus.works[0].picture(), "a tree")
