"""The synchronous side of the index: create, fill, count and drop a collection of works."""

from __future__ import annotations

import itertools
import random
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient
from qdrant_client import grpc as qdrant

from creditline.errors import Conflict, DeadlineExceeded, Unavailable
from creditline.index.failures import QdrantAddress, translate_errors
from creditline.index.filters import WorkFilter, field_indexes, withdrawn_is
from creditline.index.in_flight import acknowledged_in_order
from creditline.index.plan import IndexPlan
from creditline.index.points import WorkPoint, checked_vectors, point_id, to_qdrant
from creditline.index.queries import nearest
from creditline.index.sending import NO_RETRY, Sending
from creditline.retries import RetryPolicy

# gRPC's default of two minutes would keep us from seeing a Qdrant that has come back.
CHANNEL_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 100,
    # In spite of its name: how long one attempt to connect may take.
    "grpc.min_reconnect_backoff_ms": 2_000,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # Else a new client would share the pause of one that failed just before.
    "grpc.use_local_subchannel_pool": 1,
    # Qdrant stands beside its callers; a proxy for the outside must not come between.
    "grpc.enable_http_proxy": 0,
}
_SCROLL_PAGE = 1_000
_QUERIES_A_CALL = 32
# Qdrant works on one batch while the next is made; more would only wait there.
_BATCHES_IN_FLIGHT = 2
_OPTIMIZE_SECONDS = 3_600.0
_OPTIMIZE_POLL_SECONDS = 0.2


class WorkIndex:
    """Collections of works in Qdrant, over gRPC only. Every call raises Unavailable when Qdrant is down."""

    def __init__(
        self, client: QdrantClient, address: QdrantAddress, timeout_seconds: float, plan: IndexPlan
    ) -> None:
        self._client = client
        self._address = address
        self._timeout = timeout_seconds
        self._plan = plan
        self._dimensions: dict[str, int] = {}

    @classmethod
    def connect(
        cls,
        host: str = "127.0.0.1",
        grpc_port: int = 6334,
        timeout_seconds: float = 30.0,
        *,
        plan: IndexPlan | None = None,
    ) -> Self:
        """A client of the Qdrant at `host:grpc_port`; nothing is sent until the first call."""
        address = QdrantAddress(host, grpc_port)
        return cls(_new_client(address), address, timeout_seconds, plan or IndexPlan())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def reconnect(self) -> None:
        """Replace the connection by a new one; calls that are in flight on the old one are cancelled.

        For use after a call whose reply did not come: a connection that the network has forgotten swallows
        the replies of all later calls too.
        """
        self._client.close()
        self._client = _new_client(self._address)

    def exists(self, collection: str) -> bool:
        """Whether the collection is there."""
        request = qdrant.CollectionExistsRequest(collection_name=collection)
        with translate_errors(self._address, collection):
            answer = self._client.grpc_collections.CollectionExists(request, timeout=self._timeout)
        return answer.result.exists

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        with translate_errors(self._address, "*"):
            answer = self._client.grpc_collections.List(
                qdrant.ListCollectionsRequest(), timeout=self._timeout
            )
        return sorted(found.name for found in answer.collections)

    def plan(self, collection: str) -> IndexPlan:
        """The plan that the collection was made by. Raises NotReady when it is not there."""
        return IndexPlan.of_collection(self._info(collection).config)

    def dimension(self, collection: str) -> int:
        """The width of the collection's vectors. Raises NotReady when it is not there."""
        if collection not in self._dimensions:
            self._dimensions[collection] = self._info(collection).config.params.vectors_config.params.size
        return self._dimensions[collection]

    def create(self, collection: str, dimension: int) -> None:
        """Make the collection and its field indexes; of a collection that exists, those that are missing.

        Raises Conflict when a collection of that name holds vectors of another width.
        """
        if self.exists(collection):
            self._dimensions.pop(collection, None)
            self._refuse_other_dimension(collection, dimension)
            self.create_missing_field_indexes(collection)
        else:
            self.create_new(collection, dimension)

    def create_new(self, collection: str, dimension: int, metadata: Mapping[str, str] | None = None) -> None:
        """Make a collection and its field indexes.

        Args:
            collection: its name.
            width: the dimension of its vectors.
            metadata: texts that are kept with the collection, see `metadata`.

        Raises:
            Conflict: a collection or an alias of that name exists.
        """
        self._dimensions.pop(collection, None)
        request = self._plan.creation(collection, dimension)
        for key, text in (metadata or {}).items():
            request.metadata[key].string_value = text
        with translate_errors(self._address, collection):
            self._client.grpc_collections.Create(request, timeout=self._timeout)
        self._create_field_indexes(collection, self._plan, known=())

    def create_missing_field_indexes(self, collection: str) -> None:
        """Make the field indexes that a creation which was cut short left out. Raises NotReady."""
        found = self._info(collection)
        self._create_field_indexes(
            collection, IndexPlan.of_collection(found.config), known=found.payload_schema
        )

    def metadata(self, collection: str) -> dict[str, str]:
        """The texts among the collection's metadata. Raises NotReady when the collection is missing."""
        found = self._info(collection).config.metadata
        return {key: value.string_value for key, value in found.items() if value.HasField("string_value")}

    def set_metadata(self, collection: str, metadata: Mapping[str, str]) -> None:
        """Add texts to the collection's metadata, or replace those of the same keys. Raises NotReady."""
        request = qdrant.UpdateCollection(
            collection_name=collection,
            metadata={key: qdrant.Value(string_value=text) for key, text in metadata.items()},
        )
        with translate_errors(self._address, collection):
            self._client.grpc_collections.Update(request, timeout=self._timeout)

    def upsert(self, collection: str, points: Iterable[WorkPoint]) -> int:
        """Write works in batches, each acknowledged as durable; returns how many were written.

        Writing the same works again changes nothing. Raises InvalidInput before a batch with a bad vector
        is sent, NotReady when the collection is missing.
        """

        def send(batch: Sequence[WorkPoint]) -> Sending:
            return self.send(collection, batch, NO_RETRY, random.Random())

        written = acknowledged_in_order(_batches(points, self.batch_size), send, limit=_BATCHES_IN_FLIGHT)
        return sum(len(batch) for batch in written)

    @property
    def batch_size(self) -> int:
        """How many works one call writes."""
        return self._plan.upsert_batch

    def send(
        self, collection: str, points: Sequence[WorkPoint], retries: RetryPolicy, rng: random.Random
    ) -> Sending:
        """Begin to write one batch; it is durable when it is acknowledged.

        Args:
            collection: name of the collection or an alias.
            points: the works of the batch.
            retries: used while Qdrant is unavailable, overloaded, full or too slow.
            rng: source of the retries' jitter.

        Raises:
            InvalidInput: a vector is bad; nothing is sent.
        """
        vectors = checked_vectors(points, self.dimension(collection))
        request = qdrant.UpsertPoints(
            collection_name=collection,
            wait=True,
            points=[to_qdrant(point, vector) for point, vector in zip(points, vectors, strict=True)],
        )

        def start() -> Any:
            return self._client.grpc_points.Upsert.future(request, timeout=self._timeout)

        return Sending(start, self._address, collection, retries, rng)

    def count(self, collection: str, *, withdrawn: bool | None = None) -> int:
        """How many works the collection holds, exactly; of one kind only when `withdrawn` is given."""
        request = qdrant.CountPoints(collection_name=collection, exact=True)
        if withdrawn is not None:
            request.filter.must.append(withdrawn_is(withdrawn))
        with translate_errors(self._address, collection):
            return self._client.grpc_points.Count(request, timeout=self._timeout).result.count

    def withdraw(self, collection: str, work_ids: Iterable[str], *, withdrawn: bool = True) -> None:
        """Leave works out of every search from now on, or take them back in. Unknown ids have no effect."""
        ids = [qdrant.PointId(uuid=point_id(work_id)) for work_id in work_ids]
        # As a filter: of ids alone, one that is unknown would be an error.
        which = qdrant.Condition(has_id=qdrant.HasIdCondition(has_id=ids))
        self.withdraw_matching(collection, qdrant.Filter(must=[which]), withdrawn=withdrawn)

    def count_matching(self, collection: str, which: qdrant.Filter) -> int:
        """How many works pass the filter, exactly."""
        request = qdrant.CountPoints(collection_name=collection, exact=True, filter=which)
        with translate_errors(self._address, collection):
            return self._client.grpc_points.Count(request, timeout=self._timeout).result.count

    def withdraw_matching(self, collection: str, which: qdrant.Filter, *, withdrawn: bool = True) -> None:
        """As `withdraw`, for all works that pass the filter."""
        request = qdrant.SetPayloadPoints(
            collection_name=collection,
            wait=True,
            payload={"withdrawn": qdrant.Value(integer_value=int(withdrawn))},
            points_selector=qdrant.PointsSelector(filter=which),
        )
        with translate_errors(self._address, collection):
            self._client.grpc_points.SetPayload(request, timeout=self._timeout)

    def withdrawn_works(self, collection: str) -> frozenset[str]:
        """The ids of all withdrawn works of the collection."""
        request = qdrant.ScrollPoints(
            collection_name=collection,
            filter=qdrant.Filter(must=[withdrawn_is(True)]),
            limit=_SCROLL_PAGE,
            with_payload=qdrant.WithPayloadSelector(
                include=qdrant.PayloadIncludeSelector(fields=["work_id"])
            ),
        )
        found: set[str] = set()
        while True:
            with translate_errors(self._address, collection):
                page = self._client.grpc_points.Scroll(request, timeout=self._timeout)
            found.update(point.payload["work_id"].string_value for point in page.result)
            if not page.HasField("next_page_offset"):
                return frozenset(found)
            request.offset.CopyFrom(page.next_page_offset)

    def vectors(self, collection: str, work_ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """The stored vectors of those of `work_ids` that are there: (found, width) float32, in that order."""
        ids = [point_id(work_id) for work_id in work_ids]
        request = qdrant.GetPoints(
            collection_name=collection,
            ids=[qdrant.PointId(uuid=each) for each in ids],
            with_payload=qdrant.WithPayloadSelector(enable=False),
            with_vectors=qdrant.WithVectorsSelector(enable=True),
        )
        with translate_errors(self._address, collection):
            answer = self._client.grpc_points.Get(request, timeout=self._timeout)
        found = {point.id.uuid: stored_vector(point) for point in answer.result}
        kept = [found[each] for each in ids if each in found]
        return np.array(kept, dtype=np.float32).reshape(len(kept), self.dimension(collection))

    def remove(self, collection: str, work_ids: Iterable[str]) -> None:
        """Take works out of the collection altogether; unknown ids have no effect.

        A rights holder's wish is a withdrawal, which outlasts rebuilding; this one does not.
        """
        ids = [qdrant.PointId(uuid=point_id(work_id)) for work_id in work_ids]
        request = qdrant.DeletePoints(
            collection_name=collection,
            wait=True,
            points=qdrant.PointsSelector(points=qdrant.PointsIdsList(ids=ids)),
        )
        with translate_errors(self._address, collection):
            self._client.grpc_points.Delete(request, timeout=self._timeout)

    def nearest(
        self, collection: str, queries: npt.NDArray[np.float32], limit: int, *, exact: bool = False
    ) -> list[list[str]]:
        """The points of the `limit` nearest works that are listed, for each of `queries` (Q, width)."""
        params, condition = (
            self.plan(collection).effort(limit, narrow=False, exact=exact),
            WorkFilter().condition(),
        )
        found: list[list[str]] = []
        for some in np.array_split(queries, range(_QUERIES_A_CALL, len(queries), _QUERIES_A_CALL)):
            requests = [nearest(collection, query, limit, condition, params, ()) for query in some]
            batch = qdrant.QueryBatchPoints(collection_name=collection, query_points=requests)
            with translate_errors(self._address, collection):
                answer = self._client.grpc_points.QueryBatch(batch, timeout=self._timeout)
            found += [[point.id.uuid for point in each.result] for each in answer.result]
        return found

    def aliases(self) -> dict[str, str]:
        """Which collection every alias means."""
        with translate_errors(self._address, "*"):
            answer = self._client.grpc_collections.ListAliases(
                qdrant.ListAliasesRequest(), timeout=self._timeout
            )
        return {found.alias_name: found.collection_name for found in answer.aliases}

    def point_aliases(self, targets: Mapping[str, str]) -> None:
        """Let every alias mean its collection, in the order of the mapping.

        Qdrant applies and saves the actions of one request one after another and rolls nothing back: when the
        server ends in between, or refuses one of them, those before it stay in force. Readers see all of them
        at once. A creation overwrites an alias, and leaves it when it is refused; deleting it first would
        lose it between the two.

        Raises:
            NotReady: a collection is missing; the aliases before it have been changed.
        """
        actions = [
            qdrant.AliasOperations(
                create_alias=qdrant.CreateAlias(alias_name=alias, collection_name=collection)
            )
            for alias, collection in targets.items()
        ]
        with translate_errors(self._address, ", ".join(targets.values())):
            self._client.grpc_collections.UpdateAliases(
                qdrant.ChangeAliases(actions=actions), timeout=self._timeout
            )

    def delete(self, collection: str) -> None:
        """Drop the collection with all its works; nothing happens when it is not there."""
        self._dimensions.pop(collection, None)
        request = qdrant.DeleteCollection(collection_name=collection)
        with translate_errors(self._address, collection):
            self._client.grpc_collections.Delete(request, timeout=self._timeout)

    def optimize(self, collection: str, *, timeout_seconds: float = _OPTIMIZE_SECONDS) -> None:
        """Let Qdrant build its graph now, and wait until it has.

        An update of the optimizers' settings starts them, on a server and in the local process; searches go
        on meanwhile. Raises DeadlineExceeded, and Unavailable when the optimizers failed.
        """
        request = qdrant.UpdateCollection(
            collection_name=collection, optimizers_config=self._plan.optimizers()
        )
        with translate_errors(self._address, collection):
            self._client.grpc_collections.Update(request, timeout=timeout_seconds)
        found = self._info_when_built(collection, timeout_seconds)
        if found.optimizer_status.error:
            raise Unavailable(
                f"Qdrant at {self._address} could not build {collection!r}: {found.optimizer_status.error};"
                " searches still work, only slower",
                service="qdrant",
            )

    def _info_when_built(self, collection: str, timeout_seconds: float) -> qdrant.CollectionInfo:
        for _ in RetryPolicy.polling(_OPTIMIZE_POLL_SECONDS, for_seconds=timeout_seconds).attempts():
            found = self._info(collection)
            if found.status == qdrant.CollectionStatus.Green:
                return found
        raise DeadlineExceeded(
            f"Qdrant at {self._address} was still building {collection!r} after "
            f"{timeout_seconds:.0f} s; searches work meanwhile, only slower"
        )

    def _info(self, collection: str) -> qdrant.CollectionInfo:
        request = qdrant.GetCollectionInfoRequest(collection_name=collection)
        with translate_errors(self._address, collection):
            return self._client.grpc_collections.Get(request, timeout=self._timeout).result

    def _refuse_other_dimension(self, collection: str, dimension: int) -> None:
        found = self.dimension(collection)
        if found != dimension:
            raise Conflict(
                f"collection {collection!r} holds vectors of width {found}, not {dimension}; drop it with "
                f"`creditline index drop {collection}` or use another release name",
                field="collection",
            )

    def _create_field_indexes(self, collection: str, plan: IndexPlan, *, known: Container[str]) -> None:
        """All field indexes of works but the `known` ones."""
        for field, kind, params in field_indexes(on_disk=plan.indexes_on_disk):
            if field not in known:
                self._create_field_index(collection, field, kind, params)

    def _create_field_index(
        self,
        collection: str,
        field: str,
        kind: qdrant.FieldType.ValueType,
        params: qdrant.PayloadIndexParams,
    ) -> None:
        request = qdrant.CreateFieldIndexCollection(
            collection_name=collection,
            wait=True,
            field_name=field,
            field_type=kind,
            field_index_params=params,
        )
        with translate_errors(self._address, collection):
            self._client.grpc_points.CreateFieldIndex(request, timeout=self._timeout)


def _batches(points: Iterable[WorkPoint], size: int) -> Iterator[list[WorkPoint]]:
    remaining = iter(points)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _new_client(address: QdrantAddress) -> QdrantClient:
    return QdrantClient(
        host=address.host,
        grpc_port=address.grpc_port,
        prefer_grpc=True,
        # The compatibility check would use REST, which our local process does not serve.
        check_compatibility=False,
        pool_size=1,
        grpc_options=dict(CHANNEL_OPTIONS),
    )


def stored_vector(point: qdrant.RetrievedPoint) -> Sequence[float]:
    """The vector of a point that was read; servers before 1.16 fill `data` only."""
    vector = point.vectors.vector
    return vector.dense.data if vector.HasField("dense") else vector.data
