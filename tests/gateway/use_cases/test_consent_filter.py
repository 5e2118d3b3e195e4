"""The filter by consent, from a request's message to the index and into the ledger."""

from __future__ import annotations

import pytest

from creditline.api.answers import WorkFilter
from creditline.api.attributions import filter_message, read_filter
from creditline.corpus.identity import People
from creditline.errors import InvalidInput
from creditline.gateway.use_cases.filters import check_filter, index_filter, read_stored_filter, stored_filter

_WANTED = WorkFilter(consent=("mining=prohibited", "training=unspecified"))


def test_terms_of_consent_reach_the_index_and_the_ledger_as_they_were_sent() -> None:
    message = filter_message(_WANTED)
    assert message is not None
    received = read_filter(message)
    check_filter(received)
    assert received == _WANTED
    assert index_filter(received, People()).consent == _WANTED.consent
    assert read_stored_filter(stored_filter(received)) == _WANTED


@pytest.mark.parametrize("term", ["mining", "mining=no", "printing=allowed", "=allowed"])
def test_a_term_outside_the_vocabulary_is_refused_by_name(term: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{term}' is not a use") as refused:
        check_filter(WorkFilter(consent=(term,)))
    assert refused.value.field == "consent"
