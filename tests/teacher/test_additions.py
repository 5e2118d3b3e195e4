"""Works that were added to a release: scored like its own, and held against its calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.unlearning.teacher import Query, open_teacher, prepare_teacher
from creditline.corpus.works import Corpus, write_corpus
from creditline.errors import FingerprintMismatch, NotReady
from creditline.generator.pipeline import Generator
from creditline.ledger import AdditionKind, AdditionRecord, Ledger
from creditline.teacher.additions import GrownCorpora, added_works
from creditline.teacher.audits.audit import AuditFailed, Auditor, AuditPlan
from creditline.teacher.calibration_check import CheckPlan, judged
from creditline.teacher.loading import Loaded, Loader
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.stopping import Stop
from tests.teacher.conftest import PROMPT, Prepared, record, served_answer


def _stated(ledger: Ledger, prepared: Prepared, corpus: Corpus, path: Path) -> AdditionRecord:
    write_corpus(corpus, path)
    content = {"packed": str(path), "packed_fingerprint": corpus.fingerprint}
    return ledger.record_addition(
        AdditionKind.STATED, release="test", generator=prepared.generator, content=content
    )


@pytest.fixture
def added(small_corpus: Corpus) -> Corpus:
    """Three works with new ids, and one that the corpus has already."""
    works = [replace(work, id=f"new-{work.id}") for work in small_corpus.works[:3]]
    return Corpus("added", (*works, small_corpus.works[5]))


def test_added_works_are_scored_as_if_the_teacher_had_been_prepared_with_them(
    random_generator: Generator, prepared: Prepared, ledger: Ledger, added: Corpus, tmp_path: Path
) -> None:
    _stated(ledger, prepared, added, tmp_path / "added.parquet")
    base = open_teacher(random_generator, prepared.corpus, prepared.artifacts)
    corpora, loaded = GrownCorpora(), Loaded(base, prepared.corpus, None)
    grown = corpora.grown(loaded, ledger.additions("test"))
    assert corpora.grown(loaded, ledger.additions("test")) is grown
    assert grown.corpus.ids == (*prepared.corpus.ids, *added.ids[:3])
    whole = prepare_teacher(random_generator, grown.corpus, tmp_path / "whole", lambda line: None)
    query = Query("query", random_generator.sample([PROMPT], [3])[0], PROMPT)
    step, rows = base.unlearn(query), [0, 41, 40, 7, 42]
    np.testing.assert_allclose(
        grown.teacher.influence_after(step, rows), whole.influence_after(step, rows), atol=1e-6
    )


def test_an_audit_scores_added_works_that_were_known_when_the_answer_was_made(
    prepared: Prepared, ledger: Ledger, added: Corpus, tmp_path: Path, query_png: bytes
) -> None:
    answer = served_answer(prepared.corpus)
    answer["works"][1]["id"] = added.ids[1]
    before = record(ledger, prepared, query_png, answer=answer)
    statement = _stated(ledger, prepared, added, tmp_path / "added.parquet")
    after = record(ledger, prepared, query_png, answer={**answer, "additions": statement.sequence})
    loader, metrics = Loader(prepared.settings(), TeacherMetrics()), TeacherMetrics()
    auditor = Auditor(ledger, loader, metrics, Stop(0.0), AuditPlan("here", 30.0, 1_000))
    verdict = auditor.audit(after)
    assert (verdict.listed_works, verdict.sampled_works) == (5, 38)
    assert added.ids[1] in [work.id for work in verdict.works if work.listed]
    with pytest.raises(AuditFailed, match=f"work '{added.ids[1]}' is not in corpus"):
        auditor.audit(before)


def test_packed_works_that_are_missing_or_were_changed_are_refused(
    prepared: Prepared, ledger: Ledger, added: Corpus, tmp_path: Path
) -> None:
    statement = _stated(ledger, prepared, added, tmp_path / "added.parquet")
    assert added_works(statement).ids == added.ids
    write_corpus(Corpus("added", added.works[:1]), tmp_path / "added.parquet")
    with pytest.raises(FingerprintMismatch, match="holds other works than those of addition"):
        added_works(statement)
    (tmp_path / "added.parquet").unlink()
    with pytest.raises(NotReady, match="put the file back"):
        added_works(statement)


@pytest.mark.parametrize(
    ("new", "usual", "holds"),
    [
        ([0.1, 0.0, -0.1, 0.05], [0.0, 0.1, -0.05, 0.0], "yes"),
        ([1.9, 2.1, 2.0, 2.05], [0.0, 0.1, -0.05, 0.0], "no"),
        ([-1.9, -2.1, -2.0, -2.05], [0.0, 0.1, -0.05, 0.0], "no"),
        ([3.0, -2.0, 1.0, -0.5], [0.0, 2.0, -2.0, 1.0], "unknown"),
    ],
)
def test_a_calibration_holds_where_both_kinds_of_works_agree_with_it_alike(
    new: list[float], usual: list[float], holds: str
) -> None:
    outcome = judged(np.array(new), np.array(usual), CheckPlan("", queries=4, works=8), works=8)
    assert outcome.holds == holds
    assert outcome.low <= outcome.ratio <= outcome.high
    assert outcome.ratio == pytest.approx(np.exp(np.mean(new) - np.mean(usual)))
