"""One collection: its settings, its shards, and operations on all of them.

NAME/collection.json  the complete settings; written last, removed first
NAME/0/, NAME/1/ …    the shards
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import qdrant_edge as edge
from google.protobuf import json_format

from creditline.errors import NotFound
from creditline.local.qdrant.storage.disk_space import DiskSpace
from creditline.local.qdrant.storage.durability import write_durably
from creditline.local.qdrant.storage.optimizing import read_settings
from creditline.local.qdrant.storage.shard import Shard
from creditline.local.qdrant.translation.edge_types import (
    EdgeShard,
    FacetValue,
    Record,
    ScoredPoint,
    WithPayload,
)
from creditline.local.qdrant.translation.grouping import Group, find_groups
from creditline.local.qdrant.translation.merging import Page, best, by_shard, in_order, most_frequent, page
from creditline.local.qdrant.translation.queries import Facet, GroupSearch, Scroll, Search
from creditline.local.qdrant.translation.settings import edge_config, updated
from creditline.local.qdrant.translation.values import PointId
from creditline.qdrant_messages import qdrant

_LOGGER = logging.getLogger(__name__)
SETTINGS = "collection.json"
_SMALLER_IS_BETTER = (qdrant.Distance.Euclid, qdrant.Distance.Manhattan)
# Edge counts every value anyway, and counts of several shards can be added only if no value is left out.
_ALL_VALUES = 2**31
_T = TypeVar("_T")


class StoredCollection:
    """An open collection.

    Args:
        directory: the collection's directory.
        settings: the complete settings (see `translation.settings.completed`).
        shards: the open shards, by number.
        disk_space: checks for free disk space before writes.
    """

    def __init__(
        self,
        directory: Path,
        settings: qdrant.CreateCollection,
        shards: Sequence[Shard],
        disk_space: DiskSpace,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.optimizer_error = ""
        self._shards = tuple(shards)
        self._disk_space = disk_space
        self._counting = threading.Lock()
        self._operations = 0
        self._closed = False
        self._optimizer = _Background(f"optimize-{directory.name}", self._optimize)

    @classmethod
    def create(cls, directory: Path, settings: qdrant.CreateCollection, disk_space: DiskSpace) -> Self:
        """Create the shards; the settings file, written last, marks the collection as complete.

        Raises:
            InvalidInput: A setting has an invalid value.
            Unsupported: A setting is not supported.
            ResourceExhausted: The disk has too little free space.
        """
        config = edge_config(settings)
        disk_space.require("a new collection")
        directory.mkdir(parents=True)
        homes = [directory / str(number) for number in range(settings.shard_number)]
        shards = [Shard.create(home, config, disk_space) for home in homes]
        _write_settings(directory, settings)
        return cls(directory, settings, shards, disk_space)

    @classmethod
    def load(cls, directory: Path, disk_space: DiskSpace) -> Self:
        """Open an existing collection."""
        settings = read_settings(directory / SETTINGS)
        settings.shard_number = max(1, settings.shard_number)
        _adopt_single_shard(directory)
        homes = [directory / str(number) for number in range(settings.shard_number)]
        return cls(directory, settings, [Shard.load(home, disk_space) for home in homes], disk_space)

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return self.settings.vectors_config.params.size

    @property
    def points_of_shards(self) -> list[int]:
        """Number of points in each shard."""
        return [info.points_count for info in self.infos()]

    def infos(self) -> list[edge.ShardInfo]:
        """Edge's information on each shard."""
        return self._on_each(lambda shard: shard.info())

    def query(self, searches: Sequence[Search]) -> list[Sequence[ScoredPoint]]:
        """The points that each search finds, best first."""
        if not searches:
            return []
        parts = self._on_each(lambda shard: _search_shard(shard, searches))
        smaller = self.settings.vectors_config.params.distance in _SMALLER_IS_BETTER
        return [
            best(found, search, smaller_is_better=smaller)
            for search, found in zip(searches, zip(*parts, strict=True), strict=True)
        ]

    def query_groups(self, query: GroupSearch) -> tuple[list[Group], dict[PointId, Record]]:
        """The best groups, and the records of their points with the requested payload and vectors."""
        groups = find_groups(query, self.query)
        ids = [point.id for group in groups for point in group.points]
        search = query.search
        return groups, self.records(ids, search.with_payload, with_vector=search.with_vector)

    def scroll(self, scroll: Scroll) -> Page:
        """One page of records, ordered by id."""
        request = scroll.on_one_shard()
        return page(self._on_each(lambda shard: shard.scroll(request)), scroll)

    def count(self, count: edge.CountRequest) -> int:
        """Number of points that pass the request's filter."""
        return sum(self._on_each(lambda shard: shard.count(count)))

    def facet(self, facet: Facet) -> list[tuple[FacetValue, int]]:
        """Values with the number of points that have them, most frequent first."""
        request = edge.FacetRequest(facet.key, _ALL_VALUES, facet.exact, facet.filter)
        return most_frequent((part.hits for part in self._on_each(lambda shard: shard.facet(request))), facet)

    def retrieve(
        self, ids: Sequence[PointId], with_payload: WithPayload, *, with_vector: bool
    ) -> list[Record]:
        """The records of those `ids` that exist, in the order of `ids`."""
        return in_order(ids, self.records(ids, with_payload, with_vector=with_vector))

    def records(
        self, ids: Sequence[PointId], with_payload: WithPayload, *, with_vector: bool
    ) -> dict[PointId, Record]:
        """The records of those `ids` that exist, by id."""
        found: dict[PointId, Record] = {}
        for number, part in self._by_shard(ids, lambda point: point).items():
            unique = list(dict.fromkeys(part))
            records = self._shards[number].read(partial(_retrieve, unique, with_payload, with_vector))
            found.update((record.id, record) for record in records)
        return found

    def _on_each(self, call: Callable[[EdgeShard], _T]) -> list[_T]:
        return [shard.read(call) for shard in self._shards]

    def _by_shard(self, items: Sequence[_T], identity: Callable[[_T], PointId]) -> Mapping[int, Sequence[_T]]:
        return {0: items} if len(self._shards) == 1 else by_shard(items, len(self._shards), identity)

    def upsert(
        self,
        points: Sequence[tuple[PointId, edge.Point]],
        condition: edge.Filter | None = None,
        mode: edge.UpdateMode | None = None,
    ) -> int:
        """Insert or replace points, durably.

        Args:
            points: the points with their ids.
            condition: filter that an existing point must pass to be replaced; None: no condition.
            mode: whether to only insert or only update; None: both.

        Returns:
            The operation's number.

        Raises:
            ResourceExhausted: The disk has too little free space.
        """
        self._disk_space.require("an upsert")
        for number, part in self._by_shard(points, lambda point: point[0]).items():
            operation = edge.UpdateOperation.upsert_points([point for _, point in part], condition, mode)
            self._shards[number].write(operation, selects=condition is not None or mode is not None)
        return self._next_number()

    def write_to(
        self, ids: Sequence[PointId], operation: Callable[[list[edge.PointId]], edge.UpdateOperation]
    ) -> int:
        """Apply an update of given points, durably; returns the operation's number.

        Args:
            ids: the points.
            operation: makes the update of one shard from the ids of its points.

        Raises:
            NotFound: Some points do not exist; the others have been changed.
        """
        missing: NotFound | None = None
        for number, part in self._by_shard(ids, lambda point: point).items():
            try:
                self._shards[number].write(operation(list(part)))
            except NotFound as error:
                missing = missing or error
        if missing is not None:
            raise missing
        return self._next_number()

    def write_everywhere(self, operation: edge.UpdateOperation, *, selects: bool = False) -> int:
        """Apply an update to all shards, durably (see `Shard.write`); returns the operation's number."""
        for shard in self._shards:
            shard.write(operation, selects=selects)
        return self._next_number()

    def _next_number(self) -> int:
        with self._counting:
            self._operations += 1
            return self._operations

    def update_settings(self, request: qdrant.UpdateCollection) -> None:
        """Save changed settings and start the optimizer, which applies them.

        As on a server, a change of the metadata alone does not start the optimizer.

        Raises:
            InvalidInput: A setting has an invalid value.
            Unsupported: A setting cannot be changed.
        """
        settings = updated(self.settings, request)
        edge_config(settings)  # raises before anything is saved
        if settings != self.settings:
            _write_settings(self.directory, settings)
            self.settings = settings
        if not _changes_metadata_only(request):
            self._optimizer.start()

    @property
    def is_optimizing(self) -> bool:
        """Whether an optimization is running; it blocks neither queries nor writes."""
        return self._optimizer.is_running

    def _optimize(self) -> None:
        """Optimize the shards one by one; `optimizer_error` is the last run's error, or empty."""
        try:
            for shard in self._shards:
                shard.optimize(self.directory / SETTINGS)
            self.optimizer_error = ""
        except Exception as error:
            if self._closed:
                _LOGGER.info("collection %s was closed during its optimization", self.directory.name)
            else:
                self.optimizer_error = str(error)
                _LOGGER.exception("the optimization of collection %s failed", self.directory.name)

    @contextmanager
    def held(self) -> Iterator[list[Path]]:
        """Flush the shards and block writes, not reads, until the block ends; yields Edge's directories."""
        with contextlib.ExitStack() as holding:
            yield [holding.enter_context(shard.held()) for shard in self._shards]

    def close(self) -> None:
        """Flush and close all shards; a running optimization is cancelled."""
        self._closed = True
        for shard in self._shards:
            shard.close()
        self._optimizer.join()


def _changes_metadata_only(request: qdrant.UpdateCollection) -> bool:
    changed = {field.name for field, _ in request.ListFields()} - {"collection_name", "timeout"}
    return changed == {"metadata"}


def _retrieve(
    ids: list[PointId], with_payload: WithPayload, with_vector: bool, shard: EdgeShard
) -> Sequence[Record]:
    return shard.retrieve(ids, with_payload, with_vector)


def _search_shard(shard: EdgeShard, searches: Sequence[Search]) -> list[Sequence[ScoredPoint]]:
    """The results of one shard; a search that may have stopped in a dead end is repeated with ACORN."""
    requests = [search.on_one_shard() for search in searches]
    if len(requests) == 1:
        found: Sequence[Sequence[ScoredPoint]] = [shard.query(requests[0])]
    else:
        found = shard.query_batch(edge.QueryBatchRequest(requests))
    return [
        shard.query(search.through_neighbours().on_one_shard())
        if search.may_have_missed(len(points))
        else points
        for search, points in zip(searches, found, strict=True)
    ]


class _Background:
    """Runs a function in a thread, never twice at once; a start during a run causes one more run."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._name = name
        self._run = run
        self._changed = threading.Condition()
        self._requested = self._running = False

    @property
    def is_running(self) -> bool:
        with self._changed:
            return self._running

    def start(self) -> None:
        with self._changed:
            self._requested = True
            if not self._running:
                self._running = True
                threading.Thread(target=self._run_while_requested, name=self._name).start()

    def join(self) -> None:
        with self._changed:
            self._requested = False
            self._changed.wait_for(lambda: not self._running)

    def _run_while_requested(self) -> None:
        while self._is_requested():
            self._run()

    def _is_requested(self) -> bool:
        with self._changed:
            requested, self._requested = self._requested, False
            if not requested:
                self._running = False
                self._changed.notify_all()
            return requested


def _write_settings(directory: Path, settings: qdrant.CreateCollection) -> None:
    write_durably(directory / SETTINGS, json_format.MessageToJson(settings))


def _adopt_single_shard(directory: Path) -> None:
    """Move the files of a collection from before there were several shards into shard 0."""
    home = directory / "0"
    old = [found for found in directory.iterdir() if found.name.startswith("shard")]
    pointer = directory / "current"
    if not old and not pointer.exists():
        return
    home.mkdir(exist_ok=True)
    # The pointer moves last: until then a restart repeats the rest.
    for found in old:
        shutil.move(found, home / found.name)
    if pointer.exists():
        pointer.rename(home / pointer.name)
