"""Expected influence of works that were not listed, from a real release's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditline.calibration import Calibration
from creditline.calibration.halves import Halves, PictureRecall
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals
from creditline.ledger import EXPECTED, FORM, FROM_PICTURE_ALONE, Ledger
from creditline.release import (
    CALIBRATION,
    ENCODER,
    HALVES,
    MODEL_CARD,
    Release,
    write_manifest,
    write_work_vectors,
)
from creditline.teacher.audits.audit import Auditor, AuditPlan, query_of
from creditline.teacher.expectations import Expectations, open_expectations
from creditline.teacher.loading import Loader
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.stopping import Stop
from tests.teacher.conftest import Prepared, record, served_answer

_WIDTH = 8
_CURVE = Calibration(cosine=(-1.0, 0.0, 1.0), influence=(-0.5, 0.0, 2.0))


@pytest.fixture
def release(prepared: Prepared, tmp_path: Path) -> Release:
    directory = tmp_path / "release"
    directory.mkdir()
    vectors = np.random.default_rng(5).standard_normal((len(prepared.corpus), _WIDTH))
    write_work_vectors(directory, prepared.corpus.ids, vectors)
    (directory / CALIBRATION).write_text(_CURVE.to_json())
    for name in (ENCODER, MODEL_CARD):
        (directory / name).write_text(name)
    description = {
        "name": "made-up",
        "created": "2026-01-01T00:00:00+00:00",
        "corpus_name": prepared.corpus.name,
        "generator_fingerprint": prepared.generator,
        "corpus_fingerprint": prepared.corpus.fingerprint,
        "towers_fingerprint": "0" * 64,
        "width": _WIDTH,
        "works": len(prepared.corpus),
        "figures": {},
    }
    return write_manifest(directory, description)


def _query_vector() -> list[float]:
    vector = np.random.default_rng(6).standard_normal(_WIDTH)
    return list(vector / np.linalg.norm(vector))


def _record(ledger: Ledger, prepared: Prepared, image: bytes, release: str = "made-up") -> str:
    answer = {**served_answer(prepared.corpus), "vector": _query_vector()}
    return record(ledger, prepared, image, answer=answer, release=release)


def test_each_work_is_expected_to_have_its_calibrated_cosine_with_the_query(
    ledger: Ledger, prepared: Prepared, release: Release
) -> None:
    attribution = ledger.attribution(_record(ledger, prepared, b"any"))
    ids = [prepared.corpus.ids[row] for row in (30, 2, 17)]
    cosines = [float(release.vectors()[row] @ np.array(_query_vector())) for row in (30, 2, 17)]
    assert min(cosines) < 0 < max(cosines), "both halves of the curve are used"
    expected = [2.0 * cosine if cosine > 0 else 0.5 * cosine for cosine in cosines]
    found = Expectations.open(release.directory).of(attribution, ids)
    assert found == pytest.approx(expected, abs=1e-5)


def test_nothing_is_expected_of_another_releases_query_or_of_works_that_are_not_in_it(
    ledger: Ledger, prepared: Prepared, release: Release
) -> None:
    expectations = Expectations.open(release.directory)
    other = ledger.attribution(_record(ledger, prepared, b"any", release="another"))
    assert expectations.of(other, prepared.corpus.ids[:2]) == [None, None]
    without_vector = ledger.attribution(record(ledger, prepared, b"any", release="made-up"))
    assert expectations.of(without_vector, prepared.corpus.ids[:2]) == [None, None]
    own = ledger.attribution(_record(ledger, prepared, b"any"))
    assert expectations.of(own, ["oca-nothing"]) == [None]


def test_an_answer_from_the_picture_alone_is_held_against_the_curve_of_such_answers(
    ledger: Ledger, prepared: Prepared, release: Release
) -> None:
    curve = Calibration((-1.0, 1.0), (3.0, 4.0))
    band = Intervals((0.0,), (0.0,), (0.5,), 0.9)
    intervals = AnswerIntervals(band, DeviationInterval(-1.0, 1.0), DeviationInterval(-1.0, 1.0))
    answer = {**served_answer(prepared.corpus), "vector": _query_vector(), FROM_PICTURE_ALONE: True}
    alone = ledger.attribution(record(ledger, prepared, b"any", answer=answer, release="made-up"))
    ids = prepared.corpus.ids[:2]
    assert Expectations.open(release.directory).of(alone, ids) == [None, None]
    halves = Halves(curve, _CURVE, intervals, PictureRecall(0.2, 0.1, 0.3, 0.5))
    (release.directory / HALVES).write_text(halves.to_json())
    write_manifest(release.directory, release.description)
    cosines = release.vectors()[:2] @ np.array(_query_vector())
    expected = Expectations.open(release.directory).of(alone, ids)
    assert expected == pytest.approx((3.5 + cosines / 2).tolist(), abs=1e-5)


def test_a_re_ranked_answer_is_held_against_what_it_expected_of_the_works_that_it_found(
    ledger: Ledger, prepared: Prepared, release: Release
) -> None:
    first, second = prepared.corpus.ids[:2]
    expected = {first: 0.25, "added-since": 0.125}
    answer = {
        **served_answer(prepared.corpus),
        "vector": _query_vector(),
        FORM: "RERANKED",
        EXPECTED: expected,
    }
    reranked = ledger.attribution(record(ledger, prepared, b"any", answer=answer, release="made-up"))
    fast = ledger.attribution(_record(ledger, prepared, b"any"))
    expectations = Expectations.open(release.directory)

    found = expectations.of(reranked, [first, second, "added-since"])

    assert found == pytest.approx([0.25, *expectations.of(fast, [second]), 0.125])
    assert (reranked.form, fast.form) == ("RERANKED", "FAST")


def test_an_answer_from_the_picture_alone_is_unlearned_without_its_prompt(
    ledger: Ledger, prepared: Prepared, query_png: bytes
) -> None:
    answers = ({**served_answer(prepared.corpus), FROM_PICTURE_ALONE: flag} for flag in (False, True))
    ordinary, alone = (
        ledger.attribution(record(ledger, prepared, query_png, answer=answer)) for answer in answers
    )
    assert query_of(ordinary).prompt == ordinary.prompt != ""
    assert query_of(alone).prompt == ""
    assert query_of(alone).id != query_of(ordinary).id


def test_a_teacher_without_a_release_has_no_expectations(tmp_path: Path) -> None:
    assert open_expectations(tmp_path) is None


def test_with_a_release_the_rank_correlation_is_over_all_scored_works(
    ledger: Ledger, prepared: Prepared, release: Release, query_png: bytes
) -> None:
    """Without it, only the four works with a served expectation would count: here, every scored one does."""
    from creditline.evaluation.agreement import spearman

    metrics = TeacherMetrics()
    loader = Loader(prepared.settings(release_directory=release.directory), metrics)
    auditor = Auditor(ledger, loader, metrics, Stop(0.0), AuditPlan("here", 30.0, 30))
    attribution_id = _record(ledger, prepared, query_png)
    verdict = auditor.audit(attribution_id)
    ids = [work.id for work in verdict.works]
    expected = Expectations.open(release.directory).of(ledger.attribution(attribution_id), ids)
    served = {work["id"]: work["expected_influence"] for work in served_answer(prepared.corpus)["works"]}
    expected = [served.get(work_id, value) for work_id, value in zip(ids, expected, strict=True)]
    influence = [work.influence for work in verdict.works]
    assert len(ids) == 35
    assert verdict.rank_correlation.value == pytest.approx(spearman(np.array(expected), np.array(influence)))
