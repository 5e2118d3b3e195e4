"""The benchmark of adding works: its source, and that a failed answer counts.

Works are added under its load in `tests/gateway/test_added_works.py`.
"""

from __future__ import annotations

from pathlib import Path

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.sources import open_source
from tests.benchmarks.bring.adding import answered, write_augmented
from tests.gateway.conftest import GENERATOR, NOBODY
from tests.processes import wait_until


def test_the_added_works_are_captioned_pictures_and_the_same_for_a_seed(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_augmented(tmp_path / name, 5, seed=3)
    first, second = (open_source(tmp_path / name) for name in ("first", "second"))
    works = [[found.work for part in each.parts() for found in each.read(part)] for each in (first, second)]
    pictures = [[work.thumbnail for work in of if work is not None and work.caption] for of in works]
    assert len(set(pictures[0])) == 5
    assert pictures[0] == pictures[1]


def test_answers_that_fail_are_counted_with_their_message_and_without_a_latency() -> None:
    with answered(NOBODY, "", GENERATOR, list(embedded_corpus().works[:2])) as answers:
        wait_until(lambda: bool(answers.failures), "a failed answer")
    row = answers.row("during")
    assert (row["answers"], row["failed"]) == (0, len(answers.failures))
    assert NOBODY in answers.failures[0]
