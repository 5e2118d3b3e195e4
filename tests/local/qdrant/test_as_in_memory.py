"""The local process answers as qdrant-client's own in-memory mode does, on random collections.

The in-memory mode is Qdrant's reference in Python: no index, no graph, plain loops. Every example writes the
same to both and asks both the same. Left out, because the two differ there and Qdrant's documentation sides
with neither or with us:

- bools: Qdrant Edge never matches one, so our process refuses the filter (`test_server.py` holds that);
- equal scores: Qdrant promises no order among them, so all vectors of an example differ;
- null in `set_payload`: it takes the field away, but Qdrant keeps it on a point that had no payload at all;
- whole numbers in a field with a float index and the reverse: the index decides, in-memory there is none.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from tests.local.qdrant_process import connect, local_qdrant, wait_until_optimized

_WIDTH = 4
_EXAMPLES = 120
_EXACT = models.SearchParams(exact=True)
_LAYOUTS = {
    "cosine-1": (models.Distance.COSINE, 1),
    "cosine-3": (models.Distance.COSINE, 3),
    "euclid-2": (models.Distance.EUCLID, 2),
    "dot-1": (models.Distance.DOT, 1),
}
_INDEXES = {
    "word": models.PayloadSchemaType.KEYWORD,
    "number": models.PayloadSchemaType.INTEGER,
    "size": models.PayloadSchemaType.FLOAT,
    "day": models.PayloadSchemaType.DATETIME,
}

# Numbers and UUIDs, few of each, so that writes meet the same points again.
_IDS = st.one_of(
    st.integers(0, 12), st.integers(1, 4).map(lambda n: str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))))
)
_WORDS = st.sampled_from(["a", "b", "c", "ü"])
_NUMBERS = st.integers(-2, 3)
_SIZES = st.integers(-4, 4).map(lambda n: n + 0.5)
_DAYS = st.integers(1, 9).map(lambda n: f"2024-02-0{n}T12:00:00Z")


def _one_or_several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, st.lists(values, max_size=3), st.none())


_PARTS = st.fixed_dictionaries({}, optional={"word": _WORDS, "number": _NUMBERS})
_PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "word": _one_or_several(_WORDS),
        "number": _one_or_several(_NUMBERS),
        "size": _one_or_several(_SIZES),
        "day": _DAYS,
        "plain": _one_or_several(st.one_of(_WORDS, _NUMBERS)),
        "deep": st.fixed_dictionaries({"word": _WORDS}),
        "parts": st.lists(_PARTS, max_size=3),
    },
)
_CHANGES = _PAYLOADS.map(lambda payload: {key: value for key, value in payload.items() if value is not None})


def _field(key: str, **condition: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, **condition)


def _matches(keys: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(values, min_size=1, max_size=3)
    match = st.one_of(
        values.map(lambda value: models.MatchValue(value=value)),
        several.map(lambda found: models.MatchAny(any=found)),
        several.map(lambda found: models.MatchExcept(**{"except": found})),
    )
    return st.builds(lambda key, found: _field(key, match=found), st.sampled_from(keys), match)


def _ranges(key: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    limits = st.fixed_dictionaries({}, optional=dict.fromkeys(("lt", "lte", "gt", "gte"), values))
    return limits.filter(bool).map(lambda given: _field(key, range=models.Range(**given)))


_KEYS = st.sampled_from(["word", "number", "size", "plain", "deep.word", "parts", "nowhere"])
_IN_PARTS = st.one_of(_matches(["word"], _WORDS), _matches(["number"], _NUMBERS))
_LEAVES = st.one_of(
    _matches(["word", "plain", "deep.word", "parts[].word"], _WORDS),
    _matches(["number", "plain"], _NUMBERS),
    _ranges("number", _NUMBERS),
    _ranges("size", _SIZES),
    _DAYS.map(lambda day: _field("day", range=models.DatetimeRange(gte=day))),
    st.lists(_IDS, min_size=1, max_size=5).map(lambda ids: models.HasIdCondition(has_id=ids)),
    _KEYS.map(lambda key: models.IsEmptyCondition(is_empty=models.PayloadField(key=key))),
    _KEYS.map(lambda key: models.IsNullCondition(is_null=models.PayloadField(key=key))),
    st.integers(0, 2).map(lambda least: _field("word", values_count=models.ValuesCount(gte=least))),
    st.lists(_IN_PARTS, min_size=1, max_size=2).map(
        lambda inner: models.NestedCondition(
            nested=models.Nested(key="parts", filter=models.Filter(must=inner))
        )
    ),
)


def _filters_of(conditions: st.SearchStrategy[Any]) -> st.SearchStrategy[models.Filter]:
    several = st.lists(conditions, min_size=1, max_size=2)
    least = st.builds(
        lambda found, count: models.MinShould(conditions=found, min_count=count), several, st.integers(1, 2)
    )
    clauses = {"must": several, "should": several, "must_not": several, "min_should": least}
    return st.fixed_dictionaries({}, optional=clauses).map(lambda given: models.Filter(**given))


_FILTERS = st.one_of(st.none(), _filters_of(st.one_of(_LEAVES, _filters_of(_LEAVES))))


@dataclass(frozen=True)
class _Write:
    """One call, by name, with its arguments; vectors are filled in when it is made."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


_SELECTIONS = st.one_of(
    st.lists(_IDS, min_size=1, max_size=4),
    _filters_of(_LEAVES).map(lambda found: models.FilterSelector(filter=found)),
)
_KEY_LISTS = st.lists(st.sampled_from(["word", "number", "deep.word"]), min_size=1, max_size=2, unique=True)
_UPSERTS = st.lists(st.tuples(_IDS, _PAYLOADS), min_size=1, max_size=8, unique_by=lambda pair: pair[0]).map(
    lambda points: _Write("upsert", {"points": points})
)


def _writes_of(name: str, selected_as: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[_Write]:
    arguments = st.fixed_dictionaries({selected_as: _SELECTIONS, **more})
    return arguments.map(lambda given: _Write(name, given))


_WRITES = st.one_of(
    _UPSERTS,
    _UPSERTS,
    _writes_of("set_payload", "points", payload=_CHANGES),
    _writes_of("overwrite_payload", "points", payload=_PAYLOADS),
    _writes_of("delete_payload", "points", keys=_KEY_LISTS),
    _writes_of("clear_payload", "points_selector"),
    _writes_of("delete", "points_selector"),
)


@dataclass
class _Pair:
    """One collection in our process and in memory, written alike."""

    ours: QdrantClient
    memory: QdrantClient
    name: str
    seeds: Iterator[int] = field(default_factory=itertools.count)

    def vector(self) -> list[float]:
        """An id that no other call returns."""
        return np.random.default_rng(next(self.seeds)).normal(size=_WIDTH).astype(np.float32).tolist()

    def write(self, write: _Write) -> None:
        arguments = dict(write.arguments)
        if write.name == "upsert":
            arguments["points"] = [
                models.PointStruct(id=identity, vector=self.vector(), payload=payload)
                for identity, payload in arguments["points"]
            ]
        calls = (getattr(client, write.name) for client in (self.ours, self.memory))
        ours, memory = (_missing_points(call, self.name, arguments) for call in calls)
        assert ours == memory

    def asked(self, call: str, **arguments: Any) -> tuple[Any, Any]:
        """The results of the local process and of the in-memory mode."""
        ours = getattr(self.ours, call)(self.name, **arguments)
        arguments.pop("search_params", None)  # in memory every search is exact
        return ours, getattr(self.memory, call)(self.name, **arguments)


def _missing_points(call: Any, name: str, arguments: dict[str, Any]) -> bool:
    """Whether the write reports that it names points that do not exist; it changes the others."""
    try:
        call(name, **arguments)
    except KeyError:
        return True
    except grpc.RpcError as refused:
        if refused.code() != grpc.StatusCode.NOT_FOUND:
            raise
        return True
    return False


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, _Pair]]:
    with local_qdrant(tmp_path_factory.mktemp("qdrant")) as running:
        ours = connect(running)
        memory = QdrantClient(":memory:")
        yield {name: _made(ours, memory, name) for name in _LAYOUTS}
        ours.close()
        memory.close()


def _made(ours: QdrantClient, memory: QdrantClient, name: str) -> _Pair:
    distance, shards = _LAYOUTS[name]
    vectors = models.VectorParams(size=_WIDTH, distance=distance)
    for client in (ours, memory):
        client.create_collection(name, vectors_config=vectors, shard_number=shards)
    for key, kind in _INDEXES.items():
        ours.create_payload_index(name, key, kind)
    return _Pair(ours, memory, name)


def _emptied(pair: _Pair) -> _Pair:
    for client in (pair.ours, pair.memory):
        found, _ = client.scroll(pair.name, limit=1_000, with_payload=False)
        if found:
            client.delete(pair.name, points_selector=[record.id for record in found])
    return pair


def _ranked(answer: Any) -> list[tuple[Any, float]]:
    return [(point.id, pytest.approx(point.score, abs=1e-5)) for point in answer.points]


def _assert_same_records(pair: _Pair, wanted: models.Filter | None) -> None:
    ours, memory = pair.asked("scroll", scroll_filter=wanted, limit=1_000, with_payload=True)
    assert [(record.id, record.payload or {}) for record in ours[0]] == [
        (record.id, record.payload) for record in memory[0]
    ]
    first_ours, first_memory = pair.asked("scroll", scroll_filter=wanted, limit=3)
    assert [record.id for record in first_ours[0]] == [record.id for record in first_memory[0]]
    assert first_ours[1] == first_memory[1]
    ours, memory = pair.asked("count", count_filter=wanted, exact=True)
    assert ours.count == memory.count


def _assert_same_searches(pair: _Pair, wanted: models.Filter | None) -> None:
    vector = pair.vector()
    asked = {"query": vector, "query_filter": wanted, "search_params": _EXACT, "limit": 4, "offset": 1}
    ours, memory = pair.asked("query_points", **asked, with_payload=["word"])
    assert _ranked(ours) == _ranked(memory)
    # gRPC knows no difference between an empty payload and none.
    assert [point.payload or {} for point in ours.points] == [point.payload for point in memory.points]
    scores = [point.score for point in memory.points]
    if len(scores) > 1:
        ours, memory = pair.asked("query_points", **asked, score_threshold=(scores[0] + scores[1]) / 2)
        assert _ranked(ours) == _ranked(memory)
    requests = [
        models.QueryRequest(query=pair.vector(), filter=given, limit=5, params=_EXACT)
        for given in (wanted, wanted, None)
    ]
    # A prefix of the first result, with more of each point: one search serves both.
    whole = {"with_payload": True, "with_vector": True}
    requests.append(requests[0].model_copy(update={"limit": 2, **whole}))
    ours, memory = pair.asked("query_batch_points", requests=requests)
    assert [_ranked(answer) for answer in ours] == [_ranked(answer) for answer in memory]
    for point, same in zip(ours[-1].points, memory[-1].points, strict=True):
        assert (point.payload or {}) == same.payload
        assert point.vector == pytest.approx(same.vector, abs=1e-5)


def _assert_same_sums(pair: _Pair, wanted: models.Filter | None, key: str) -> None:
    ours, memory = pair.asked("facet", key=key, facet_filter=wanted, limit=3, exact=True)
    assert ours.hits == memory.hits
    ours, memory = pair.asked(
        "query_points_groups",
        group_by=key,
        query=pair.vector(),
        query_filter=wanted,
        search_params=_EXACT,
        limit=3,
        group_size=2,
        with_payload=True,
    )
    assert [_group(group) for group in ours.groups] == [_group(group) for group in memory.groups]


def _group(group: models.PointGroup) -> Any:
    return group.id, [(hit.id, pytest.approx(hit.score, abs=1e-5), hit.payload or {}) for hit in group.hits]


@pytest.mark.heavy
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    derandomize=True,
    # Not shrunk: with a real process that takes minutes, and the examples are small.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    layout=st.sampled_from(sorted(_LAYOUTS)),
    first=_UPSERTS,
    writes=st.lists(_WRITES, min_size=1, max_size=6),
    filters=st.lists(_FILTERS, min_size=1, max_size=4),
    key=st.sampled_from(["word", "number"]),
)
def test_random_collections_answer_as_in_memory(
    pairs: dict[str, _Pair],
    layout: str,
    first: _Write,
    writes: list[_Write],
    filters: list[models.Filter | None],
    key: str,
) -> None:
    pair = _emptied(pairs[layout])
    for write in (first, *writes):
        pair.write(write)
    for wanted in filters:
        _assert_same_records(pair, wanted)
        _assert_same_searches(pair, wanted)
        _assert_same_sums(pair, wanted, key)


def _random_payload(random: Random) -> dict[str, Any]:
    """Any field may be missing, null, one value or several."""

    def some(values: list[Any]) -> Any:
        return random.choice([random.choice(values), random.choices(values, k=2), [], None])

    payload = {
        "word": some(["a", "b", "c", "ü"]),
        "number": some([-2, -1, 0, 1, 2, 3]),
        "size": some([-3.5, -0.5, 0.5, 2.5]),
        "day": f"2024-02-0{random.randint(1, 9)}T12:00:00Z",
        "plain": some(["a", "b", 1, 2]),
        "deep": {"word": random.choice("abc")},
        "parts": [{"word": random.choice("ab"), "number": random.randint(-2, 3)} for _ in range(2)],
    }
    return {key: value for key, value in payload.items() if random.random() < 0.8}


@pytest.fixture(scope="module")
def optimized(pairs: dict[str, _Pair]) -> _Pair:
    """Three hundred points in segments that the optimizer made, and some written since."""
    pair = _emptied(pairs["cosine-3"])
    random = Random(0)
    pair.write(_Write("upsert", {"points": [(number, _random_payload(random)) for number in range(300)]}))
    pair.ours.update_collection(
        pair.name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1)
    )
    wait_until_optimized(pair.ours, pair.name)
    assert pair.ours.get_collection(pair.name).indexed_vectors_count == 300
    pair.write(_Write("delete", {"points_selector": list(range(0, 40, 3))}))
    pair.write(_Write("set_payload", {"points": [50, 51, 52], "payload": {"word": "ü", "number": 3}}))
    pair.write(_Write("upsert", {"points": [(number, _random_payload(random)) for number in range(90, 110)]}))
    return pair


@pytest.mark.heavy
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(wanted=_FILTERS, key=st.sampled_from(["word", "number"]))
def test_an_optimized_collection_answers_as_in_memory(
    optimized: _Pair, wanted: models.Filter | None, key: str
) -> None:
    _assert_same_records(optimized, wanted)
    _assert_same_searches(optimized, wanted)
    _assert_same_sums(optimized, wanted, key)
