"""Names, licence and consent of pictures in every container, with every statement and with conflicts."""

from __future__ import annotations

import pytest

from creditline.corpus.consent.uses import Use
from creditline.corpus.records import fields_of
from creditline.corpus.sources.embedded_data import completed
from creditline.corpus.sources.found import found_work
from tests.corpus.embedded.cases import Case, cases

_CASES = cases()


def test_every_container_and_conflict_has_a_case_of_its_own() -> None:
    assert len({case.name for case in _CASES}) == len(_CASES) >= 60


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_a_picture_says_who_made_it_and_what_may_be_done_with_it(case: Case) -> None:
    record = {"caption": "a barn", **case.columns}
    found = completed(found_work("part", 0, fields_of(record), own_id="1", picture=case.make()))
    assert found.work is not None
    work = found.work
    assert tuple(holder.name for holder in work.holders) == case.names
    assert work.licence == case.licence
    assert tuple(work.consent.by_use[use.value] for use in Use) == case.uses
