"""Random changes: the same for one seed, and changes indeed."""

from __future__ import annotations

import random

import pytest

from tests.benchmarks.fuzz.mutated_input import messages, pictures, requests, server_errors, statuses
from tests.benchmarks.fuzz.mutation import mutated


@pytest.mark.parametrize("raw", [b"", b"a", bytes(range(256))])
def test_changes_are_the_same_for_one_seed(raw: bytes) -> None:
    made = [mutated(raw, random.Random(seed)) for seed in range(200)]
    assert made == [mutated(raw, random.Random(seed)) for seed in range(200)]
    assert len(raw) == 0 or sum(each != raw for each in made) > 190


def test_each_kind_makes_as_many_cases_as_asked_for() -> None:
    made = list(pictures(20)), list(messages("x", 20)), list(requests("x", 20))
    assert [len(set(each)) for each in made] == [20, 20, 20]


def test_errors_that_blame_the_server_are_counted() -> None:
    answers = ["200", "503", "INTERNAL", "UNKNOWN", "INVALID_ARGUMENT"]
    assert server_errors([statuses(lambda each: answers[each], len(answers))]) == 3
