"""The table of problems: every class of errors has a row of its own."""

from __future__ import annotations

import grpc
import pytest

from creditline import errors
from creditline.api.error_metadata import error_metadata
from creditline.gateway.transport.problems import problem_body, problem_of

_ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.CreditlineError)
]


def _made(kind: type[errors.CreditlineError]) -> errors.CreditlineError:
    if kind is errors.Unavailable:
        return errors.Unavailable("it is down", service="qdrant", field="f")
    return kind("it went wrong", field="f")


@pytest.mark.parametrize("kind", [kind for kind in _ALL if kind is not errors.CreditlineError])
def test_every_error_has_a_row_of_its_own(kind: type[errors.CreditlineError]) -> None:
    problem = problem_of(_made(kind))
    assert problem.grpc_status is not grpc.StatusCode.INTERNAL
    assert 400 <= problem.http_status < 600
    assert problem.http_status != 500


def test_a_class_below_takes_the_row_above() -> None:
    class WrongPicture(errors.InvalidInput):
        pass

    assert problem_of(WrongPicture("no")).http_status == 400


def test_an_error_without_a_row_is_internal() -> None:
    assert problem_of(errors.CreditlineError("?")).grpc_status is grpc.StatusCode.INTERNAL


def test_metadata_and_body_name_class_field_and_service() -> None:
    error = errors.Unavailable("it is down", service="qdrant")
    assert error_metadata(error) == (("creditline-error", "Unavailable"), ("creditline-service", "qdrant"))
    body = problem_body(errors.InvalidInput("k is 0", field="k"))
    assert (body["status"], body["field"], body["detail"]) == (400, "k", "k is 0")
    assert "service" not in body
