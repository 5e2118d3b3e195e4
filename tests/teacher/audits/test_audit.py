"""Audits by one worker without a broker: the scored works, the stored verdict, and the errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf.json_format import MessageToDict, Parse

from creditline.api.audits import verdict_to_json
from creditline.attribution.unlearning.teacher import WORK_DRAWS
from creditline.errors import NotFound
from creditline.ledger import AuditState, Ledger
from creditline.teacher.audits.audit import AuditFailed, Auditor, AuditPlan, Busy, query_of
from creditline.teacher.audits.samples import audit_seed, draw_sample, served_works
from creditline.teacher.loading import Loader
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.settings import TeacherSettings
from creditline.teacher.stopping import GivenBack, Stop
from creditline.v1.audit_pb2 import Verdict
from generator_factory import random_generator as make_random_generator
from tests.real_parts.ports import wait_until
from tests.teacher.conftest import Prepared, record, served_answer

MakeAuditor = Callable[..., Auditor]


@pytest.fixture(scope="module")
def loader(prepared: Prepared) -> Loader:
    return Loader(prepared.settings(), TeacherMetrics())


@pytest.fixture
def make_auditor(ledger: Ledger, loader: Loader) -> MakeAuditor:
    def make(
        settings: TeacherSettings | None = None,
        *,
        stop: Stop | None = None,
        metrics: TeacherMetrics | None = None,
        sampled_works: int = 12,
    ) -> Auditor:
        counters = metrics or TeacherMetrics()
        own_loader = Loader(settings, counters) if settings else loader
        plan = AuditPlan("here", lease_seconds=30.0, sampled_works=sampled_works)
        return Auditor(ledger, own_loader, counters, stop or Stop(0.0), plan)

    return make


def _audit_of(ledger: Ledger, attribution_id: str):
    return ledger.submit_audit(attribution_id)


def test_an_audit_scores_what_was_listed_and_a_sample_of_the_rest(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    attribution_id = record(ledger, prepared, query_png)
    verdict = make_auditor().audit(attribution_id)
    listed = [work.id for work in verdict.works if work.listed]
    drawn = [work.id for work in verdict.works if not work.listed]
    first, *others = prepared.corpus.ids[:4]
    assert listed == [first, prepared.corpus.ids[4], *others], "the first work's copy comes right after it"
    assert len(drawn) == len(set(drawn)) == verdict.sampled_works == 12
    assert not set(listed) & set(drawn)
    assert verdict.listed_works == 5
    assert verdict.query_rise > 1.05
    audit = _audit_of(ledger, attribution_id)
    assert audit.state is AuditState.DONE
    assert audit.verdict == verdict


def test_the_influence_in_a_verdict_is_that_of_unlearning_the_query_in_the_library(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes, loader: Loader
) -> None:
    attribution_id = record(ledger, prepared, query_png)
    verdict = make_auditor().audit(attribution_id)
    rows = [prepared.corpus.row(work.id) for work in verdict.works]
    query = query_of(ledger.attribution(attribution_id))
    expected = loader.get().teacher.influence(query, rows)
    found = np.array([work.influence for work in verdict.works])
    assert np.abs(expected.values).max() > 0
    np.testing.assert_allclose(found, expected.values, atol=1e-2 * np.abs(expected.values).max())
    assert verdict.query_rise == pytest.approx(expected.query_rise, rel=1e-4)


def test_with_every_work_scored_the_missed_influence_is_exact(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    verdict = make_auditor(sampled_works=1000).audit(record(ledger, prepared, query_png))
    assert verdict.sampled_works == len(prepared.corpus) - 5
    positive = {work.id: max(work.influence, 0.0) for work in verdict.works}
    listed = sum(positive[work.id] for work in verdict.works if work.listed)
    missed = verdict.missed_influence
    assert missed.value == pytest.approx(1 - listed / sum(positive.values()))
    assert missed.low == missed.value == missed.high


def test_a_stored_verdict_is_the_contracts_message_with_no_field_left_over(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    stored = verdict_to_json(make_auditor().audit(record(ledger, prepared, query_png)))
    message = MessageToDict(
        Parse(json.dumps(stored), Verdict()),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    assert message.keys() == stored.keys()
    assert message["recall"] == pytest.approx(stored["recall"])
    assert [work["id"] for work in message["works"]] == [work["id"] for work in stored["works"]]


def test_a_second_audit_of_the_same_attribution_gives_the_first_verdict_and_runs_nothing(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    metrics = TeacherMetrics()
    auditor = make_auditor(metrics=metrics)
    attribution_id = record(ledger, prepared, query_png)
    first = auditor.audit(attribution_id)
    passes = metrics.registry.get_sample_value("creditline_teacher_passes_total")
    assert passes == len(first.works) * len(WORK_DRAWS)
    assert auditor.audit(attribution_id) == first
    assert metrics.registry.get_sample_value("creditline_teacher_passes_total") == passes
    counts = {
        state: metrics.registry.get_sample_value("creditline_teacher_audits_total", {"state": state})
        for state in ("done", "repeated")
    }
    assert counts == {"done": 1.0, "repeated": 1.0}


def test_an_interrupted_audit_scores_the_same_works_the_next_time(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    attribution_id = record(ledger, prepared, query_png)
    stopping = Stop(0.0)
    stopping.request()
    with pytest.raises(GivenBack):
        make_auditor(stop=stopping).audit(attribution_id)
    again = make_auditor().audit(attribution_id)
    served = served_works(ledger.attribution(attribution_id).answer)
    sample = draw_sample(prepared.corpus, served, size=12, seed=audit_seed(attribution_id))
    ids = [prepared.corpus.ids[row] for row in (*sample.listed, *sample.drawn)]
    assert [work.id for work in again.works] == ids


def test_a_worker_that_stops_leaves_the_audit_free_at_once(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    attribution_id = record(ledger, prepared, query_png)
    stop = Stop(0.0)
    stop.request()
    with pytest.raises(GivenBack, match="another one will take the audit"):
        make_auditor(stop=stop).audit(attribution_id)
    audit = _audit_of(ledger, attribution_id)
    assert audit.state is AuditState.RUNNING
    assert audit.verdict is None
    assert ledger.acquire_audit(audit.id, "another", 30.0)


def test_an_audit_that_another_worker_holds_is_left_to_it(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    attribution_id = record(ledger, prepared, query_png)
    audit = _audit_of(ledger, attribution_id)
    assert ledger.acquire_audit(audit.id, "another", 30.0)
    with pytest.raises(Busy) as busy:
        make_auditor().audit(attribution_id)
    assert 0 < busy.value.seconds <= 30.0
    assert _audit_of(ledger, attribution_id).worker == "another"


def test_the_lease_is_renewed_for_as_long_as_the_audit_runs(ledger: Ledger, prepared: Prepared) -> None:
    from creditline.teacher.audits.lease import held_lease

    audit = _audit_of(ledger, record(ledger, prepared, b"any"))
    assert ledger.acquire_audit(audit.id, "here", 1.2)
    first = ledger.audit(audit.id).lease_until
    assert first is not None
    with held_lease(ledger, audit.id, "here", 1.2):
        wait_until("the lease that was taken is over", lambda: datetime.now(UTC) > first)
        assert not ledger.acquire_audit(audit.id, "another", 1.0), "it was renewed meanwhile"
    assert ledger.acquire_audit(audit.id, "another", 1.0)


def test_an_unknown_attribution_is_refused_by_its_id(make_auditor: MakeAuditor) -> None:
    with pytest.raises(NotFound, match="no attribution 'nobody'"):
        make_auditor().audit("nobody")


def test_without_a_generator_the_audit_fails_and_names_the_remedy(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes, tmp_path: Path
) -> None:
    settings = prepared.settings().model_copy(update={"generator_directory": tmp_path / "nowhere"})
    attribution_id = record(ledger, prepared, query_png)
    with pytest.raises(AuditFailed, match="creditline generator assemble"):
        make_auditor(settings).audit(attribution_id)
    audit = _audit_of(ledger, attribution_id)
    assert audit.state is AuditState.FAILED
    assert audit.error is not None
    assert "nowhere" in audit.error
    assert "CREDITLINE_GENERATOR_DIRECTORY" in audit.error


def test_a_generator_that_appears_later_is_found_without_a_restart(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes, tmp_path: Path
) -> None:
    directory = tmp_path / "later"
    auditor = make_auditor(prepared.settings().model_copy(update={"generator_directory": directory}))
    with pytest.raises(AuditFailed):
        auditor.audit(record(ledger, prepared, query_png))
    directory.symlink_to(prepared.generator_directory)
    assert auditor.audit(record(ledger, prepared, query_png)).listed_works == 5


def test_without_statistics_the_audit_fails_and_names_the_command_that_makes_them(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes, tmp_path: Path
) -> None:
    settings = prepared.settings().model_copy(update={"teacher_artifacts": tmp_path})
    with pytest.raises(AuditFailed, match="creditline teacher prepare"):
        make_auditor(settings).audit(record(ledger, prepared, query_png))


def test_statistics_of_another_generator_are_refused_with_both_fingerprints(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes, tmp_path: Path
) -> None:
    other = make_random_generator(tmp_path / "other", seed=1)
    settings = prepared.settings().model_copy(update={"generator_directory": other})
    with pytest.raises(
        AuditFailed, match=rf"made with generator '{prepared.generator}', not '[0-9a-f]{{64}}'"
    ):
        make_auditor(settings).audit(record(ledger, prepared, query_png))


def test_an_attribution_of_another_generator_is_refused_naming_the_setting(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    attribution_id = record(ledger, prepared, query_png, generator="f" * 64)
    with pytest.raises(AuditFailed, match=rf"of generator {'f' * 64}.*CREDITLINE_GENERATOR_DIRECTORY"):
        make_auditor().audit(attribution_id)
    assert _audit_of(ledger, attribution_id).state is AuditState.FAILED


def test_an_attribution_of_another_corpus_is_refused_naming_the_setting(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    attribution_id = record(ledger, prepared, query_png, corpus="e" * 64)
    with pytest.raises(AuditFailed, match=rf"of corpus {'e' * 64}.*CREDITLINE_CORPUS_FILE"):
        make_auditor().audit(attribution_id)


def test_an_answer_with_a_work_that_the_corpus_lacks_fails_by_the_works_id(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    answer = served_answer(prepared.corpus)
    answer["works"][1]["id"] = "oca-nothing"
    with pytest.raises(AuditFailed, match="'oca-nothing' is not in corpus"):
        make_auditor().audit(record(ledger, prepared, query_png, answer=answer))


def test_an_unreadable_image_fails_the_audit_and_not_the_worker(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes
) -> None:
    auditor = make_auditor()
    with pytest.raises(AuditFailed, match="UnidentifiedImageError"):
        auditor.audit(record(ledger, prepared, b"no image"))
    assert auditor.audit(record(ledger, prepared, query_png)).listed_works == 5


def test_an_audit_leaves_the_generators_weights_as_they_were(
    ledger: Ledger, prepared: Prepared, make_auditor: MakeAuditor, query_png: bytes, loader: Loader
) -> None:
    unet = loader.get().teacher.generator.unet
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    make_auditor(sampled_works=5).audit(record(ledger, prepared, query_png))
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
