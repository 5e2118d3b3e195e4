"""The client by itself: what it reads is what the gateway wrote, and what failed is an error of ours."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from creditline.api import answers
from creditline.api.attributions import attribution_message, read_attribution, read_recorded, recorded_message
from creditline.api.audits import audit_message, read_audit
from creditline.api.releases import read_release_response, release_response
from creditline.api.withdrawals import read_withdrawal_status, withdrawal_status_message
from creditline.api.works import read_work, work_message
from creditline.client import CreditlineClient
from creditline.client.calls import file_bytes
from creditline.errors import InvalidInput, Unavailable

_NOBODY = "127.0.0.1:9"
_MOMENT = datetime(2026, 5, 4, 12, 30, 15, 250_000, tzinfo=UTC)
_RELEASE = answers.ReleaseSummary("r", _MOMENT, "a" * 64, "b" * 64, "c" * 64, 256, 1_234, "works-r")
_UNKNOWN = answers.AuditedAccuracy(0, None, None, None, None)
_KNOWN = answers.AuditedAccuracy(3, 0.0, 0.0, 0.5, 0.25)
_WORK = answers.CreditedWork(
    "w", "A kite", "a kite, toy", "Ana", "PD", 0.9, 0.5, 0.25, 1, ("v", "u"), 0.1, 0.4
)
_VERDICT = answers.Verdict(
    query_rise=1.2,
    recall=answers.Estimate(0.6, 0.5, 0.7),
    missed_influence=answers.Estimate(0.3, 0.2, 0.4),
    ndcg=answers.Estimate(0.8, 0.7, 0.9),
    rank_correlation=answers.Estimate(-0.5, -0.6, -0.4),
    listed_works=10,
    sampled_works=50,
    seconds=12.5,
    works=(answers.AuditedWork("w", -0.5, True),),
)


@pytest.mark.parametrize("accuracy", [_UNKNOWN, _KNOWN])
def test_an_attribution_survives_the_wire(accuracy: answers.AuditedAccuracy) -> None:
    answer = answers.AttributionAnswer(
        attribution_id="0" * 32,
        works=(_WORK,),
        contributors=(answers.CreditedContributor("Ana", 0.25, 3, 0.2, 0.3, 0.125),),
        remainder=0.75,
        release=_RELEASE,
        timings=answers.Timings(6.0, 1.0, 2.0, 0.5, 0.25, 0.125),
        accuracy=accuracy,
        concentration=0.125,
        remainder_low=0.5,
        remainder_high=0.875,
        coverage=0.9,
        ood_score=1.5,
        corpus_works=5_000_000_000,
        equal_parts=7.5,
    )
    assert read_attribution(attribution_message(answer)) == answer


def test_fields_that_a_release_does_not_provide_stay_absent_over_the_wire() -> None:
    work = dataclasses.replace(_WORK, share_low=None, share_high=None)
    timings = answers.Timings(6.0, 1.0, 2.0, 0.5, 0.25, 0.125)
    answer = answers.AttributionAnswer("0" * 32, (work,), (), 0.75, _RELEASE, timings, _UNKNOWN)
    assert read_attribution(attribution_message(answer)) == answer


@pytest.mark.parametrize("accuracy", [_UNKNOWN, _KNOWN])
def test_a_release_survives_the_wire(accuracy: answers.AuditedAccuracy) -> None:
    answer = answers.ReleaseAnswer(_RELEASE, accuracy)
    assert read_release_response(release_response(answer)) == answer


def test_a_work_and_its_thumbnail_survive_the_wire() -> None:
    work = answers.WorkAnswer("w", "A kite", "a kite, toy", ("toy",), "Ana", "PD", "toys/kite.png", "w")
    message = work_message(work, b"RIFF")
    assert (read_work(message), message.thumbnail) == (work, b"RIFF")


@pytest.mark.parametrize(
    ("state", "finished", "verdict", "error"),
    [
        ("QUEUED", None, None, None),
        ("RUNNING", None, None, None),
        ("DONE", _MOMENT, _VERDICT, None),
        ("FAILED", _MOMENT, None, "no generator"),
    ],
)
def test_an_audit_in_every_state_survives_the_wire(
    state: str, finished: datetime | None, verdict: answers.Verdict | None, error: str | None
) -> None:
    audit = answers.AuditAnswer("1" * 32, "0" * 32, state, _MOMENT, finished, verdict, error)
    assert read_audit(audit_message(audit)) == audit


def test_without_a_gateway_the_error_names_its_address_and_what_to_start() -> None:
    with CreditlineClient(_NOBODY, timeout_seconds=5) as client, pytest.raises(Unavailable) as down:
        client.release()
    assert down.value.service == "gateway"
    assert _NOBODY in down.value.message
    assert "creditline local up" in down.value.message


@pytest.mark.parametrize("k", [-1, 1 << 32])
def test_a_k_that_no_message_can_carry_is_refused_before_it_is_sent(k: int) -> None:
    with CreditlineClient(_NOBODY) as client, pytest.raises(InvalidInput) as refused:
        client.attribute(b"", prompt="a", generator="a" * 64, k=k)
    assert refused.value.field == "k"


def test_a_picture_may_be_bytes_a_path_or_an_image(tmp_path: Path) -> None:
    path = tmp_path / "query.png"
    picture = Image.new("RGB", (8, 8), "red")
    picture.save(path)
    assert file_bytes(path) == file_bytes(path.read_bytes())
    assert Image.open(path).tobytes() == picture.tobytes()
    assert file_bytes(picture).startswith(b"\x89PNG")


def test_marks_of_a_past_answer_survive_the_wire() -> None:
    gone = dataclasses.replace(_WORK, withdrawn=True, withdrawn_since=_MOMENT, withdrawn_copies=("u",))
    left = answers.CreditedContributor("Ana", 0.25, 3, withdrawn=True, withdrawn_since=_MOMENT)
    timings = answers.Timings(6.0, 1.0, 2.0, 0.5, 0.25, 0.125)
    answer = answers.AttributionAnswer("0" * 32, (gone, _WORK), (left,), 0.5, _RELEASE, timings, _UNKNOWN)
    audit = answers.AuditAnswer("1" * 32, "0" * 32, "QUEUED", _MOMENT, None, None, None)
    for recorded in (
        answers.RecordedAttribution(answer, _MOMENT, "a kite", "a" * 64, audit),
        answers.RecordedAttribution(answer, _MOMENT, "a kite", "a" * 64, None),
    ):
        message = recorded_message(recorded, b"PNG")
        assert (read_recorded(message), message.image) == (recorded, b"PNG")


@pytest.mark.parametrize("kind", ["WORK", "CONTRIBUTOR"])
@pytest.mark.parametrize("action", ["WITHDRAWN", "REVOKED"])
def test_a_withdrawal_request_survives_the_wire(kind: str, action: str) -> None:
    withdrawal = answers.WithdrawalAnswer(7, "2" * 32, _MOMENT, kind, "Ana", action, "asked", "the office")
    for status in (
        answers.WithdrawalStatus(withdrawal, 3, True, ""),
        answers.WithdrawalStatus(withdrawal, 0, False, "Qdrant is down"),
    ):
        assert read_withdrawal_status(withdrawal_status_message(status)) == status


def test_a_withdrawn_work_survives_the_wire() -> None:
    work = answers.WorkAnswer(
        "w", "A kite", "a kite", ("toy",), "Ana", "PD", "toys/kite.png", "w", True, _MOMENT
    )
    assert read_work(work_message(work, b"")) == work
