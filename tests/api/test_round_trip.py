"""Both halves of the contract agree: every field of every answer survives the way through its message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from creditline.api import answers, pages
from creditline.api.attributions import attribution_message, read_attribution, read_recorded, recorded_message
from creditline.api.audits import (
    audit_message,
    read_audit,
    read_verdict,
    verdict_from_json,
    verdict_message,
    verdict_to_json,
)
from creditline.api.contributors import merge_status_message, read_merge_status
from creditline.api.releases import read_release_response, release_response
from creditline.api.withdrawals import read_withdrawal_status, withdrawal_status_message
from creditline.api.works import read_work, work_message

_EXAMPLES = 25
# Words that stand for enumerations in the messages.
_WORDS = {
    ("AuditAnswer", "state"): st.sampled_from(("QUEUED", "RUNNING", "DONE", "FAILED")),
    # An absent error and an empty one are the same.
    ("AuditAnswer", "error"): st.none() | st.text(min_size=1),
    ("WithdrawalAnswer", "kind"): st.sampled_from(("WORK", "CONTRIBUTOR", "CONTRIBUTOR_ID")),
    ("MergeAnswer", "action"): st.sampled_from(("MERGED", "REVOKED")),
    ("WithdrawalAnswer", "action"): st.sampled_from(("WITHDRAWN", "REVOKED")),
}
_NUMBERS = st.floats(allow_nan=False)
_MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))
st.register_type_strategy(float, _NUMBERS)
st.register_type_strategy(int, st.integers(0, (1 << 31) - 1))
st.register_type_strategy(datetime, _MOMENTS)


def _any(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Answers of a class, with the words that its message knows."""
    words = {name: words for (owner, name), words in _WORDS.items() if owner == kind.__name__}
    return st.builds(kind, **words)


st.register_type_strategy(
    answers.Person,
    st.builds(answers.Person, name=st.text(), id=st.just("")) | st.builds(answers.Person, name=st.just("")),
)
for _kind in (answers.AuditAnswer, answers.WithdrawalAnswer, answers.MergeAnswer):
    st.register_type_strategy(_kind, _any(_kind))

_ROUND_TRIPS: dict[type[Any], Callable[[Any], Any]] = {
    answers.AttributionAnswer: lambda answer: read_attribution(attribution_message(answer)),
    answers.RecordedAttribution: lambda answer: read_recorded(recorded_message(answer, b"png")),
    answers.ReleaseAnswer: lambda answer: read_release_response(release_response(answer)),
    answers.WorkAnswer: lambda answer: read_work(work_message(answer, b"webp")),
    answers.WithdrawalStatus: lambda answer: read_withdrawal_status(withdrawal_status_message(answer)),
    answers.MergeStatus: lambda answer: read_merge_status(merge_status_message(answer)),
    answers.AuditAnswer: lambda answer: read_audit(audit_message(answer)),
    answers.Verdict: lambda answer: read_verdict(verdict_message(answer)),
    pages.AttributionPage: lambda page: pages.read_attribution_page(pages.attribution_page_message(page)),
    pages.AuditPage: lambda page: pages.read_audit_page(pages.audit_page_message(page)),
    pages.WorkPage: lambda page: pages.read_work_page(pages.work_page_message(page)),
    pages.ContributorPage: lambda page: pages.read_contributor_page(pages.contributor_page_message(page)),
}


@pytest.mark.parametrize("kind", _ROUND_TRIPS, ids=lambda kind: kind.__name__)
@settings(max_examples=_EXAMPLES, deadline=None)
@given(data=st.data())
def test_an_answer_comes_back_equal_from_its_message(kind: type[Any], data: st.DataObject) -> None:
    answer = data.draw(_any(kind))
    assert _ROUND_TRIPS[kind](answer) == answer


@settings(max_examples=_EXAMPLES, deadline=None)
@given(verdict=_any(answers.Verdict))
def test_a_verdict_comes_back_equal_from_its_stored_form(verdict: answers.Verdict) -> None:
    assert verdict_from_json(verdict_to_json(verdict)) == verdict


def test_a_stored_verdict_that_leaves_numbers_out_has_zeros_there() -> None:
    read = verdict_from_json({"recall": {"value": 0.5}, "works": [{"id": "a"}]})
    assert read.recall == answers.Estimate(0.5, 0.0, 0.0)
    assert read.works == (answers.AuditedWork("a", 0.0, False),)
    assert (read.query_rise, read.listed_works) == (0.0, 0)


# Fields that an answer leaves to another call.
_NOT_IN_ANSWERS = {"Work": {"thumbnail"}, "GetAttributionResponse": {"image"}}
_MESSAGES: tuple[tuple[type[Any], Callable[[Any], Message]], ...] = (
    (answers.AttributionAnswer, attribution_message),
    (answers.ReleaseAnswer, release_response),
    (answers.WorkAnswer, lambda answer: work_message(answer, b"webp")),
    (answers.WithdrawalStatus, withdrawal_status_message),
    (answers.AuditAnswer, audit_message),
    (pages.AttributionPage, pages.attribution_page_message),
    (pages.ContributorPage, pages.contributor_page_message),
)


@pytest.mark.parametrize(("kind", "message"), _MESSAGES, ids=lambda value: getattr(value, "__name__", ""))
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_a_message_has_the_fields_of_its_answer_and_no_others(
    kind: type[Any], message: Callable[[Any], Message], data: st.DataObject
) -> None:
    descriptor = message(data.draw(_any(kind))).DESCRIPTOR
    named = {field.name for field in descriptor.fields} - _NOT_IN_ANSWERS.get(descriptor.name, set())
    assert named == {field.name for field in fields(kind)}
