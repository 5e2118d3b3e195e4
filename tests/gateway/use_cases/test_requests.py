"""What callers ask for, checked before anything is done."""

from __future__ import annotations

import pytest

from creditline.errors import InvalidInput
from creditline.gateway.use_cases.requests import (
    AttributionRequest,
    checked_ledger_id,
    checked_work_id,
    quoted,
)
from tests.gateway.conftest import GENERATOR


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": "  \n"}, "prompt", "blank"),
        ({"prompt": "x" * 10_000}, "prompt", "10,000 characters"),
        ({"prompt": "a\x00b"}, "prompt", "NUL"),
        ({"k": 0}, "k", "k is 0"),
        ({"k": -3}, "k", "k is -3"),
        ({"k": 10_000}, "k", "k is 10000"),
        ({"generator": "sd-1.5"}, "generator", "sd-1.5"),
        ({"generator": "A" * 64}, "generator", "64 hex digits in lower case"),
    ],
)
def test_each_field_is_refused_by_name_with_its_value(
    changes: dict[str, object], field: str, value: str
) -> None:
    request = {"image": b"", "prompt": "a kite", "generator": GENERATOR, **changes}
    with pytest.raises(InvalidInput, match=value) as refused:
        AttributionRequest(**request).check()  # type: ignore[arg-type]
    assert refused.value.field == field


@pytest.mark.parametrize("k", [1, 10, 1_000])
@pytest.mark.parametrize("prompt", ["a", "x" * 2_000, "ein rotes Marienkäferchen 🐞"])
def test_the_limits_themselves_are_allowed(k: int, prompt: str) -> None:
    assert _refused_field(AttributionRequest(b"", prompt, GENERATOR, k)) is None


@pytest.mark.parametrize(("prompt", "k", "field"), [("x" * 2_001, 1, "prompt"), ("a", 1_001, "k")])
def test_one_more_than_a_limit_is_refused(prompt: str, k: int, field: str) -> None:
    assert _refused_field(AttributionRequest(b"", prompt, GENERATOR, k)) == field


def _refused_field(request: AttributionRequest) -> str | None:
    try:
        request.check()
    except InvalidInput as refused:
        return refused.field
    return None


@pytest.mark.parametrize("value", ["", "1", "g" * 32, "A" * 32, "0" * 33, "\ud800"])
def test_an_id_that_the_ledger_never_gave_out_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_ledger_id(value, field="attribution_id")
    assert refused.value.field == "attribution_id"


@pytest.mark.parametrize("value", ["", "x" * 501])
def test_a_work_id_of_no_sensible_length_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        checked_work_id(value)


def test_a_long_value_is_quoted_with_its_end_left_out() -> None:
    assert quoted("x" * 10_000) == f"'{'x' * 60}'… (10,000 characters)"
    assert quoted("käfer") == "'k\\xe4fer'"
