"""For every form: reading whole gives what reading in pieces gives, wherever it is cut off and resumed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditline.corpus.sources import KINDS, Found, Source, open_source
from tests.corpus.sources.examples import (
    EXAMPLES,
    everything,
    plain,
    write_embedded_parquet,
)


@pytest.fixture(scope="module", params=list(EXAMPLES))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    write: Callable[[Path], Path] = EXAMPLES[request.param]
    return open_source(write(tmp_path_factory.mktemp("source") / "corpus"))


def test_every_kind_has_an_example() -> None:
    assert set(KINDS) <= {name.partition(" ")[0] for name in EXAMPLES}


def test_the_kind_is_recognised_and_may_be_named(source: Source, request: pytest.FixtureRequest) -> None:
    wanted = request.node.callspec.params["source"].partition(" ")[0]
    assert source.kind == wanted


def test_rows_are_numbered_from_nothing_and_each_is_one_thing(source: Source) -> None:
    for part in source.parts():
        found = list(source.read(part))
        assert [one.row for one in found] == list(range(len(found)))
        assert {one.part for one in found} <= {part}
        assert all((one.work is None) == bool(one.broken) for one in found)


def test_two_readings_are_the_same(source: Source) -> None:
    assert [plain(one) for one in everything(source)] == [plain(one) for one in everything(source)]


def test_any_start_gives_the_rest(source: Source) -> None:
    for part in source.parts():
        whole = [plain(one) for one in source.read(part)]
        for start in range(len(whole) + 2):
            assert [plain(one) for one in source.read(part, start)] == whole[start:]


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_a_reading_killed_and_resumed_anywhere_adds_none_twice_and_misses_none(
    source: Source, data: st.DataObject
) -> None:
    for part in source.parts():
        got: list[Found] = []
        whole = list(source.rows(part))
        while len(got) < len(whole):
            at_once = data.draw(st.integers(1, len(whole)))
            got += islice(source.rows(part, len(got)), at_once)
        assert [plain(one) for one in got] == [plain(one) for one in whole]


def test_pieces_have_the_same_features_as_the_whole(tmp_path: Path) -> None:
    """Widths are told by the first rows of the first file, not by those that reading begins with."""
    features = np.random.default_rng(0).normal(size=(3000, 5))
    source = open_source(write_embedded_parquet(tmp_path / "a.parquet", features, per_group=2900))
    whole = everything(source)
    assert [plain(one) for one in source.read("a.parquet", 2500)] == [plain(one) for one in whole[2500:]]
