"""Sizes and tokens of pages: a token is good for its own list and owner only."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.errors import InvalidInput
from creditline.gateway.pages import DEFAULT_PAGE, LONGEST_TOKEN, MOST_IN_PAGE, PageRequest, PageTokens

_TOKENS = PageTokens("audits", "museum")


@given(st.text(max_size=500))
def test_a_token_leads_back_to_the_entry_that_it_was_made_from(last: str) -> None:
    token = _TOKENS.token(last)
    assert _TOKENS.last(token, str) == last
    assert token.isascii()
    assert len(token) <= LONGEST_TOKEN


@pytest.mark.parametrize(
    "token",
    [
        PageTokens("attributions", "museum").token("5"),
        PageTokens("audits", "archive").token("5"),
        PageTokens("audits").token("5"),
        _TOKENS.token("5")[:-1],
        _TOKENS.token("5") + "=",
        _TOKENS.token("5") + "A",
        urlsafe_b64encode(b"nine byte\xff\xff").decode(),
        "ä",
        "!",
    ],
)
def test_a_foreign_or_damaged_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="page_token is none that this list gave") as refused:
        _TOKENS.last(token, str)
    assert refused.value.field == "page_token"


def test_a_token_with_an_entry_that_the_list_cannot_have_is_refused() -> None:
    with pytest.raises(InvalidInput, match="page_token is none"):
        _TOKENS.last(_TOKENS.token("no number"), int)


def test_the_first_page_has_no_token() -> None:
    assert _TOKENS.last("", int) is None


def test_a_size_is_chosen_or_bounded_and_never_negative() -> None:
    limits = [PageRequest(size).limit for size in (0, 1, MOST_IN_PAGE, MOST_IN_PAGE + 1)]
    assert limits == [DEFAULT_PAGE, 1, MOST_IN_PAGE, MOST_IN_PAGE]
    with pytest.raises(InvalidInput, match="page_size is -1") as refused:
        _ = PageRequest(-1).limit
    assert refused.value.field == "page_size"
