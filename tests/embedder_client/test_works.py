"""The ingest's client of the embedder: many and large pictures, faults, and an embedder that goes away."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from PIL import Image

from creditline.corpus.sources import Found
from creditline.corpus.works import Work
from creditline.embedder_client.works import WorkEmbedder
from creditline.errors import InvalidInput, ResourceExhausted
from creditline.retries import RetryPolicy
from tests.embedder_client.replicas import CountingModel, Replicas, png, running_replicas
from tests.pictures.kinds import saved

_ADDRESS = "127.0.0.2"
_LONG_SECONDS = 300.0
_SMALL = png()


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    with running_replicas() as running:
        yield running


@pytest.fixture
def model(replicas: Replicas) -> CountingModel:
    """The model of one replica with batches of 16, whose queue holds 256 pictures."""
    replicas.add(_ADDRESS, connection_age_seconds=_LONG_SECONDS, max_batch=16)
    return replicas.models[_ADDRESS]


def _rows(*pictures: bytes, caption: str = "a red square") -> list[Found]:
    works = [Work("w", "", caption, (), "somebody", "", "", "", picture) for picture in pictures]
    return [Found("part", row, work, None, None, "") for row, work in enumerate(works)]


def _are_vectors(answers: Sequence[object]) -> bool:
    return all(isinstance(answer, np.ndarray) and answer[0] == 1.0 for answer in answers)


def test_more_pictures_than_the_embedder_queues_are_embedded(
    replicas: Replicas, model: CountingModel
) -> None:
    with WorkEmbedder(replicas.target, RetryPolicy(max_attempts=1)) as embedder:
        answers = embedder.embed(_rows(*[_SMALL] * 1_000))
    assert len(answers) == model.embedded == 1_000
    assert _are_vectors(answers)


def test_pictures_of_20_megabytes_are_shrunk_before_they_are_sent(
    replicas: Replicas, model: CountingModel
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2_600, 2_600, 3), dtype=np.uint8)
    large = saved(Image.fromarray(noise), "BMP")
    assert len(large) > 20_000_000
    with WorkEmbedder(replicas.target) as embedder:
        answers = embedder.embed(_rows(*[large] * 20))
    assert len(answers) == 20
    assert _are_vectors(answers)
    assert model.largest_side == 512


def test_rows_that_cannot_be_embedded_have_their_reasons_and_the_others_their_vectors(
    replicas: Replicas, model: CountingModel
) -> None:
    cut, long = png(400)[:1_000], "a " * 6_000
    rows = [*_rows(_SMALL, b"no picture", _SMALL, cut), *_rows(_SMALL, caption=long), *_rows(_SMALL)]
    with WorkEmbedder(replicas.target) as embedder:
        answers = embedder.embed(rows)
    assert _are_vectors([answers[0], answers[2], answers[5]])
    assert [str(answers[row]).split(" (")[0] for row in (1, 3)] == [
        "the picture is not in a known format",
        "the picture cannot be decoded",
    ]
    assert str(answers[4]).startswith("the text has 12,000 characters; at most 10,000 are allowed")
    assert model.embedded == 3


def test_a_batch_of_faults_only_is_answered(replicas: Replicas, model: CountingModel) -> None:
    with WorkEmbedder(replicas.target) as embedder:
        answers = embedder.embed(_rows(*[b"no picture"] * 40))
    assert {str(answer).split(" (")[0] for answer in answers} == {"the picture is not in a known format"}
    assert model.embedded == 0


def test_a_row_without_a_picture_is_refused(replicas: Replicas, model: CountingModel) -> None:
    with (
        WorkEmbedder(replicas.target) as embedder,
        pytest.raises(InvalidInput, match="row 1 of part has no picture to embed"),
    ):
        embedder.embed(_rows(_SMALL, b""))
    assert model.embedded == 0


def test_an_embedder_that_is_killed_and_started_again_is_survived(
    replicas: Replicas, model: CountingModel
) -> None:
    model.seconds = 0.002

    def restart() -> None:
        replicas.remove(_ADDRESS)
        replicas.add(_ADDRESS, connection_age_seconds=_LONG_SECONDS, max_batch=16)

    later = threading.Timer(0.5, restart)
    with WorkEmbedder(replicas.target) as embedder:
        later.start()
        answers = embedder.embed(_rows(*[_SMALL] * 600))
        later.join()
    assert len(answers) == 600
    assert _are_vectors(answers)
    assert 0 < model.embedded < 600
    assert replicas.counts[_ADDRESS] > 0


def test_an_overloaded_embedder_is_waited_for(replicas: Replicas, model: CountingModel) -> None:
    model.error = ResourceExhausted("the queue is full")
    later = threading.Timer(0.5, setattr, [model, "error", None])
    with WorkEmbedder(replicas.target) as embedder:
        later.start()
        answers = embedder.embed(_rows(*[_SMALL] * 20))
        later.join()
    assert _are_vectors(answers)
    with WorkEmbedder(replicas.target, RetryPolicy(max_seconds=0.2)) as embedder:
        model.error = ResourceExhausted("the queue is full")
        with pytest.raises(ResourceExhausted, match="is overloaded"):
            embedder.embed(_rows(_SMALL))
