"""Synchronous client of the index: creates, fills, inspects and drops collections of works."""

from __future__ import annotations

import itertools
import random
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from creditline.credentials.qdrant import NO_CREDENTIALS, QdrantCredentials
from creditline.errors import Conflict, DeadlineExceeded, Unavailable
from creditline.index.connection.channel import QdrantConnection
from creditline.index.connection.failures import QdrantAddress, translate_errors
from creditline.index.filters import WorkFilter, field_indexes, trained_on_index, withdrawn_is
from creditline.index.in_flight import acknowledged_in_order
from creditline.index.plan import IndexPlan
from creditline.index.points import StoredWork, WorkPoint, checked_vectors, point_id, to_qdrant
from creditline.index.queries import nearest
from creditline.index.sending import NO_RETRY, PendingUpsert
from creditline.qdrant_messages import qdrant
from creditline.retries import RetryPolicy

_SCROLL_PAGE = 1_000
_MOST_FACET_VALUES = 100_000
_QUERIES_PER_CALL = 32
# Qdrant processes one batch while the next is made; more batches would only be queued there.
_BATCHES_IN_FLIGHT = 2
_OPTIMIZE_SECONDS = 3_600.0
_OPTIMIZE_POLL_SECONDS = 0.2


class WorkIndex:
    """Client for collections of works in Qdrant, over gRPC only.

    Every call raises Unavailable when Qdrant cannot be reached and DeadlineExceeded when it does not answer
    within the timeout; calls that need an existing collection raise NotReady when it is missing.
    """

    def __init__(
        self,
        address: QdrantAddress,
        timeout_seconds: float,
        plan: IndexPlan,
        credentials: QdrantCredentials = NO_CREDENTIALS,
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._qdrant = QdrantConnection(address, credentials)
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
        credentials: QdrantCredentials = NO_CREDENTIALS,
    ) -> Self:
        """Create a client of the Qdrant at `host:grpc_port`; nothing is sent before the first call.

        Args:
            host: Host name or IP address.
            grpc_port: Port of the gRPC API.
            timeout_seconds: Timeout of a call.
            plan: Layout of the collections that this client creates.
            credentials: API key and TLS.

        Raises:
            CreditlineError: A file of the credentials cannot be used.
        """
        address = QdrantAddress(host, grpc_port)
        return cls(address, timeout_seconds, plan or IndexPlan(), credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._qdrant.close()

    def reconnect(self) -> None:
        """Replace the connection by a new one; calls in flight on the old one are cancelled.

        For use after a call without a reply: on a connection that the network has dropped silently, the
        replies of all later calls would be lost too.

        Raises:
            CreditlineError: A file of the credentials cannot be used now; the old connection stays.
        """
        replaced, self._qdrant = self._qdrant, QdrantConnection(self._address, self._credentials)
        replaced.close()

    def exists(self, collection: str) -> bool:
        """Whether a collection or an alias of that name exists."""
        request = qdrant.CollectionExistsRequest(collection_name=collection)
        with translate_errors(self._address, collection):
            answer = self._qdrant.collections.CollectionExists(request, timeout=self._timeout)
        return answer.result.exists

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        with translate_errors(self._address, "*"):
            answer = self._qdrant.collections.List(qdrant.ListCollectionsRequest(), timeout=self._timeout)
        return sorted(found.name for found in answer.collections)

    def plan(self, collection: str) -> IndexPlan:
        """The plan that the collection was created with. Raises NotReady when the collection is missing."""
        return IndexPlan.of_collection(self._info(collection).config)

    def dimension(self, collection: str) -> int:
        """Dimension of the collection's vectors. Raises NotReady when the collection is missing."""
        if collection not in self._dimensions:
            self._dimensions[collection] = self._info(collection).config.params.vectors_config.params.size
        return self._dimensions[collection]

    def create(self, collection: str, dimension: int) -> None:
        """Create a collection and its field indexes; for an existing collection, only missing field indexes.

        Args:
            collection: Name of the collection.
            dimension: Dimension of its vectors.

        Raises:
            Conflict: A collection of that name has vectors of another dimension.
        """
        if self.exists(collection):
            self._dimensions.pop(collection, None)
            self._refuse_other_dimension(collection, dimension)
            self.create_missing_field_indexes(collection)
        else:
            self.create_new(collection, dimension)

    def create_new(self, collection: str, dimension: int, metadata: Mapping[str, str] | None = None) -> None:
        """Create a collection and its field indexes.

        Args:
            collection: Name of the collection.
            dimension: Dimension of its vectors.
            metadata: Texts that are stored with the collection, see `metadata`.

        Raises:
            Conflict: A collection or an alias of that name exists.
        """
        self._dimensions.pop(collection, None)
        request = self._plan.creation(collection, dimension)
        for key, text in (metadata or {}).items():
            request.metadata[key].string_value = text
        with translate_errors(self._address, collection):
            self._qdrant.collections.Create(request, timeout=self._timeout)
        self._create_field_indexes(collection, self._plan, known=())

    def create_missing_field_indexes(self, collection: str) -> None:
        """Create the field indexes that an interrupted creation left out.

        Raises:
            NotReady: The collection is missing.
        """
        found = self._info(collection)
        self._create_field_indexes(
            collection, IndexPlan.of_collection(found.config), known=found.payload_schema
        )

    def indexed_fields(self, collection: str) -> frozenset[str]:
        """Payload fields that are indexed. Raises NotReady when the collection is missing."""
        return frozenset(self._info(collection).payload_schema)

    def distinct_values(self, collection: str, field: str, *, limit: int = _MOST_FACET_VALUES) -> set[str]:
        """The distinct texts of an indexed payload field, in all works of the collection.

        Args:
            collection: Name of a collection or an alias.
            field: Name of the field; its values are texts or lists of texts.
            limit: Number of values from which all works are read instead: Qdrant returns only the most
                frequent values, and a server reserves memory for as many as are requested.
        """
        request = qdrant.FacetCounts(collection_name=collection, key=field, limit=limit, exact=True)
        with translate_errors(self._address, collection):
            answer = self._qdrant.points.Facet(request, timeout=self._timeout)
        if len(answer.hits) < limit:
            return {hit.value.string_value for hit in answer.hits}
        values = self._scrolled(collection, field, qdrant.Filter())
        return {text for value in values for text in _texts(value)}

    def metadata(self, collection: str) -> dict[str, str]:
        """Texts stored with the collection, by key. Raises NotReady when the collection is missing."""
        found = self._info(collection).config.metadata
        return {key: value.string_value for key, value in found.items() if value.HasField("string_value")}

    def set_metadata(self, collection: str, metadata: Mapping[str, str]) -> None:
        """Add texts to the collection's metadata, or replace those with the same keys.

        Raises:
            NotReady: The collection is missing.
        """
        request = qdrant.UpdateCollection(
            collection_name=collection,
            metadata={key: qdrant.Value(string_value=text) for key, text in metadata.items()},
        )
        with translate_errors(self._address, collection):
            self._qdrant.collections.Update(request, timeout=self._timeout)

    def upsert(self, collection: str, points: Iterable[WorkPoint]) -> int:
        """Write works in batches, each acknowledged as durable.

        The call is idempotent: writing the same works again changes nothing.

        Returns:
            The number of works written.

        Raises:
            InvalidInput: A vector is not valid; its batch is not sent.
            NotReady: The collection is missing.
        """

        def send(batch: Sequence[WorkPoint]) -> PendingUpsert:
            return self.send(collection, batch, NO_RETRY, random.Random())

        written = acknowledged_in_order(_batches(points, self.batch_size), send, limit=_BATCHES_IN_FLIGHT)
        return sum(len(batch) for batch in written)

    @property
    def batch_size(self) -> int:
        """Number of works per write call."""
        return self._plan.upsert_batch

    def send(
        self, collection: str, points: Sequence[WorkPoint], retries: RetryPolicy, rng: random.Random
    ) -> PendingUpsert:
        """Start to write one batch; it is durable once it is acknowledged.

        Args:
            collection: Name of a collection or an alias.
            points: Works of the batch.
            retries: Policy while Qdrant is unavailable, overloaded, full or too slow.
            rng: Random generator of the retry jitter.

        Raises:
            InvalidInput: A vector is not valid; nothing is sent.
        """
        vectors = checked_vectors(points, self.dimension(collection))
        request = qdrant.UpsertPoints(
            collection_name=collection,
            wait=True,
            points=[to_qdrant(point, vector) for point, vector in zip(points, vectors, strict=True)],
        )

        def start() -> Any:
            return self._qdrant.points.Upsert.future(request, timeout=self._timeout)

        return PendingUpsert(start, self._address, collection, retries, rng)

    def count(self, collection: str, *, withdrawn: bool | None = None) -> int:
        """Exact number of works in the collection.

        Args:
            collection: Name of a collection or an alias.
            withdrawn: Count only withdrawn works, or only listed ones; None: all works.
        """
        request = qdrant.CountPoints(collection_name=collection, exact=True)
        if withdrawn is not None:
            request.filter.must.append(withdrawn_is(withdrawn))
        with translate_errors(self._address, collection):
            return self._qdrant.points.Count(request, timeout=self._timeout).result.count

    def withdraw(self, collection: str, work_ids: Iterable[str], *, withdrawn: bool = True) -> None:
        """Hide works from every search, or list them again.

        Args:
            collection: Name of a collection or an alias.
            work_ids: The works; unknown ids have no effect.
            withdrawn: True hides the works, False lists them again.
        """
        ids = [qdrant.PointId(uuid=point_id(work_id)) for work_id in work_ids]
        # As a filter, because an unknown id in a list of ids would be an error.
        which = qdrant.Condition(has_id=qdrant.HasIdCondition(has_id=ids))
        self.withdraw_matching(collection, qdrant.Filter(must=[which]), withdrawn=withdrawn)

    def count_matching(self, collection: str, which: qdrant.Filter) -> int:
        """Exact number of works that pass a filter."""
        request = qdrant.CountPoints(collection_name=collection, exact=True, filter=which)
        with translate_errors(self._address, collection):
            return self._qdrant.points.Count(request, timeout=self._timeout).result.count

    def withdraw_matching(self, collection: str, which: qdrant.Filter, *, withdrawn: bool = True) -> None:
        """Hide all works that pass a filter, or list them again; see `withdraw`."""
        request = qdrant.SetPayloadPoints(
            collection_name=collection,
            wait=True,
            payload={"withdrawn": qdrant.Value(integer_value=int(withdrawn))},
            points_selector=qdrant.PointsSelector(filter=which),
        )
        with translate_errors(self._address, collection):
            self._qdrant.points.SetPayload(request, timeout=self._timeout)

    def withdrawn_works(self, collection: str) -> frozenset[str]:
        """Ids of all withdrawn works of the collection."""
        which = qdrant.Filter(must=[withdrawn_is(True)])
        return frozenset(value.string_value for value in self._scrolled(collection, "work_id", which))

    def _scrolled(self, collection: str, field: str, which: qdrant.Filter) -> Iterator[qdrant.Value]:
        """The payload field of all works that pass a filter."""
        request = qdrant.ScrollPoints(
            collection_name=collection,
            filter=which,
            limit=_SCROLL_PAGE,
            with_payload=qdrant.WithPayloadSelector(include=qdrant.PayloadIncludeSelector(fields=[field])),
        )
        while True:
            with translate_errors(self._address, collection):
                page = self._qdrant.points.Scroll(request, timeout=self._timeout)
            yield from (point.payload[field] for point in page.result)
            if not page.HasField("next_page_offset"):
                return
            request.offset.CopyFrom(page.next_page_offset)

    def vectors(self, collection: str, work_ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Stored vectors of the given works.

        Returns:
            (F, D) float32 with one row for each work that was found, in the order of `work_ids`.
        """
        ids = [point_id(work_id) for work_id in work_ids]
        request = qdrant.GetPoints(
            collection_name=collection,
            ids=[qdrant.PointId(uuid=each) for each in ids],
            with_payload=qdrant.WithPayloadSelector(enable=False),
            with_vectors=qdrant.WithVectorsSelector(enable=True),
        )
        with translate_errors(self._address, collection):
            answer = self._qdrant.points.Get(request, timeout=self._timeout)
        found = {point.id.uuid: stored_vector(point) for point in answer.result}
        kept = [found[each] for each in ids if each in found]
        return np.array(kept, dtype=np.float32).reshape(len(kept), self.dimension(collection))

    def stored_works(
        self, collection: str, work_ids: Sequence[str], *, with_vectors: bool = False
    ) -> dict[str, StoredWork]:
        """Those of the given works that the collection holds, by work id.

        Args:
            collection: Name of a collection or an alias.
            work_ids: Ids of works.
            with_vectors: Whether their vectors are read too.
        """
        ids = {point_id(work_id): work_id for work_id in work_ids}
        request = qdrant.GetPoints(
            collection_name=collection,
            ids=[qdrant.PointId(uuid=each) for each in ids],
            with_payload=qdrant.WithPayloadSelector(enable=True),
            with_vectors=qdrant.WithVectorsSelector(enable=with_vectors),
        )
        with translate_errors(self._address, collection):
            answer = self._qdrant.points.Get(request, timeout=self._timeout)
        return {
            ids[point.id.uuid]: StoredWork(
                point.payload, np.asarray(stored_vector(point), np.float32) if with_vectors else None
            )
            for point in answer.result
        }

    def set_trained_on(self, collection: str, work_ids: Iterable[str], generators: Sequence[str]) -> None:
        """Replace the generators that were trained on some works; unknown ids have no effect.

        Args:
            collection: Name of a collection or an alias.
            work_ids: Ids of works that were added to a release.
            generators: Fingerprints of the generators.
        """
        ids = [qdrant.PointId(uuid=point_id(work_id)) for work_id in work_ids]
        which = qdrant.Filter(must=[qdrant.Condition(has_id=qdrant.HasIdCondition(has_id=ids))])
        names = [qdrant.Value(string_value=each) for each in generators]
        request = qdrant.SetPayloadPoints(
            collection_name=collection,
            wait=True,
            payload={"trained_on": qdrant.Value(list_value=qdrant.ListValue(values=names))},
            points_selector=qdrant.PointsSelector(filter=which),
        )
        with translate_errors(self._address, collection):
            self._qdrant.points.SetPayload(request, timeout=self._timeout)

    def create_trained_on_index(self, collection: str) -> None:
        """Create the field index by which added works are found, unless the collection has it.

        Raises:
            NotReady: The collection is missing.
        """
        name, kind, params = trained_on_index()
        if name not in self._info(collection).payload_schema:
            self._create_field_index(collection, name, kind, params)

    def remove(self, collection: str, work_ids: Iterable[str]) -> None:
        """Delete works from the collection; unknown ids have no effect.

        A deleted work returns when the collection is rebuilt. For a withdrawal request use `withdraw`.
        """
        ids = [qdrant.PointId(uuid=point_id(work_id)) for work_id in work_ids]
        request = qdrant.DeletePoints(
            collection_name=collection,
            wait=True,
            points=qdrant.PointsSelector(points=qdrant.PointsIdsList(ids=ids)),
        )
        with translate_errors(self._address, collection):
            self._qdrant.points.Delete(request, timeout=self._timeout)

    def nearest(
        self, collection: str, queries: npt.NDArray[np.float32], limit: int, *, exact: bool = False
    ) -> list[list[str]]:
        """Point ids of the nearest listed works of several queries.

        Args:
            collection: Name of a collection or an alias.
            queries: (Q, D) float32.
            limit: Number of works per query.
            exact: Scan all works instead of searching the graph.

        Returns:
            Q lists of point ids, nearest first.
        """
        params, condition = (
            self.plan(collection).effort(limit, narrow=False, exact=exact),
            WorkFilter().condition(),
        )
        found: list[list[str]] = []
        for batch_queries in np.array_split(
            queries, range(_QUERIES_PER_CALL, len(queries), _QUERIES_PER_CALL)
        ):
            requests = [nearest(collection, query, limit, condition, params, ()) for query in batch_queries]
            batch = qdrant.QueryBatchPoints(collection_name=collection, query_points=requests)
            with translate_errors(self._address, collection):
                answer = self._qdrant.points.QueryBatch(batch, timeout=self._timeout)
            found += [[point.id.uuid for point in each.result] for each in answer.result]
        return found

    def aliases(self) -> dict[str, str]:
        """Target collection of every alias, by alias."""
        with translate_errors(self._address, "*"):
            answer = self._qdrant.collections.ListAliases(qdrant.ListAliasesRequest(), timeout=self._timeout)
        return {found.alias_name: found.collection_name for found in answer.aliases}

    def point_aliases(self, targets: Mapping[str, str]) -> None:
        """Point aliases to collections, in the order of the mapping.

        Qdrant applies and persists the actions of one request one by one and does not roll back: when the
        server stops in between or rejects an action, the earlier ones remain in force. Readers see all of
        them at once. Creating an alias overwrites an existing one, and leaves it unchanged when the action is
        rejected; deleting it first would leave a moment without the alias.

        Args:
            targets: Target collection of each alias.

        Raises:
            NotReady: A collection is missing; aliases before it in the mapping have been changed.
        """
        actions = [
            qdrant.AliasOperations(
                create_alias=qdrant.CreateAlias(alias_name=alias, collection_name=collection)
            )
            for alias, collection in targets.items()
        ]
        with translate_errors(self._address, ", ".join(targets.values())):
            self._qdrant.collections.UpdateAliases(
                qdrant.ChangeAliases(actions=actions), timeout=self._timeout
            )

    def delete(self, collection: str) -> None:
        """Drop the collection with all its works; a missing collection is not an error."""
        self._dimensions.pop(collection, None)
        request = qdrant.DeleteCollection(collection_name=collection)
        with translate_errors(self._address, collection):
            self._qdrant.collections.Delete(request, timeout=self._timeout)

    def optimize(self, collection: str, *, timeout_seconds: float = _OPTIMIZE_SECONDS) -> None:
        """Make Qdrant build its graph now, and wait until it is built.

        Updating the settings of the optimizers starts them, on a server and in the local process. Searches
        continue to work meanwhile.

        Args:
            collection: Name of a collection or an alias.
            timeout_seconds: Maximum waiting time.

        Raises:
            DeadlineExceeded: The graph was not built in time.
            Unavailable: The optimizers failed.
        """
        request = qdrant.UpdateCollection(
            collection_name=collection, optimizers_config=self.plan(collection).optimizers()
        )
        with translate_errors(self._address, collection):
            self._qdrant.collections.Update(request, timeout=timeout_seconds)
        found = self._info_when_built(collection, timeout_seconds)
        if found.optimizer_status.error:
            raise Unavailable(
                f"Qdrant at {self._address} could not build the graph of {collection!r}:"
                f" {found.optimizer_status.error}; searches still work but are slower",
                service="qdrant",
            )

    def _info_when_built(self, collection: str, timeout_seconds: float) -> qdrant.CollectionInfo:
        for _ in RetryPolicy.polling(_OPTIMIZE_POLL_SECONDS, for_seconds=timeout_seconds).attempts():
            found = self._info(collection)
            if found.status == qdrant.CollectionStatus.Green:
                return found
        raise DeadlineExceeded(
            f"Qdrant at {self._address} was still building the graph of {collection!r} after "
            f"{timeout_seconds:.0f} s; searches work meanwhile but are slower"
        )

    def _info(self, collection: str) -> qdrant.CollectionInfo:
        request = qdrant.GetCollectionInfoRequest(collection_name=collection)
        with translate_errors(self._address, collection):
            return self._qdrant.collections.Get(request, timeout=self._timeout).result

    def _refuse_other_dimension(self, collection: str, dimension: int) -> None:
        found = self.dimension(collection)
        if found != dimension:
            raise Conflict(
                f"collection {collection!r} has vectors of dimension {found}, not {dimension}; drop it with "
                f"`creditline index drop {collection}` or use another release name",
                field="collection",
            )

    def _create_field_indexes(self, collection: str, plan: IndexPlan, *, known: Container[str]) -> None:
        """Create all field indexes except the `known` ones."""
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
            self._qdrant.points.CreateFieldIndex(request, timeout=self._timeout)


def _texts(value: qdrant.Value) -> list[str]:
    """The texts of a payload value that is a text or a list of texts."""
    if value.HasField("list_value"):
        return [each.string_value for each in value.list_value.values]
    return [value.string_value]


def _batches(points: Iterable[WorkPoint], size: int) -> Iterator[list[WorkPoint]]:
    remaining = iter(points)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def stored_vector(point: qdrant.RetrievedPoint) -> Sequence[float]:
    """The vector of a retrieved point; servers before 1.16 fill only `data`."""
    vector = point.vectors.vector
    return vector.dense.data if vector.HasField("dense") else vector.data
