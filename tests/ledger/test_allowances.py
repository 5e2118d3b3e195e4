"""Allowances as texts."""

from __future__ import annotations

import pytest

from creditline.errors import InvalidInput
from creditline.ledger import Allowance


@pytest.mark.parametrize(
    ("text", "amount", "seconds", "shortest"),
    [
        ("10/s", 10, 1, "10/s"),
        ("600/5m", 600, 300, "600/5m"),
        (" 10000/Day ", 10_000, 86_400, "10000/d"),
        ("1/60min", 1, 3_600, "1/h"),
        ("5/90s", 5, 90, "5/90s"),
    ],
)
def test_a_text_is_read_and_written(text: str, amount: int, seconds: int, shortest: str) -> None:
    allowance = Allowance.parse(text)
    assert allowance == Allowance(amount, seconds)
    assert str(allowance) == shortest
    assert Allowance.parse(shortest) == allowance


@pytest.mark.parametrize("text", ["", "10", "/s", "10/", "-1/s", "10/fortnight", "1e3/s", "10/s/s", "١/s"])
def test_another_form_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput, match="such as 10/s, 600/5m or 10000/day") as refused:
        Allowance.parse(text, field="--rate")
    assert refused.value.field == "--rate"


@pytest.mark.parametrize("text", ["0/s", "100001/s", "1/0s", "1/32d"])
def test_a_value_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="give 1 to 100,000 a second, in 1 second to 31 days"):
        Allowance.parse(text)
