"""How a collection of works is laid out in Qdrant: one frozen plan, turned into Qdrant's own messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError
from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput


class Quantization(StrEnum):
    """How vectors are shortened for the walk through the graph; the best are scored anew by whole vectors."""

    NONE = "none"
    INT8 = "int8"
    TURBO4 = "turbo4"
    BINARY = "binary"


class Dtype(StrEnum):
    """What the numbers of whole vectors are kept in."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


# How many more works than asked for are scored anew, by what loses more (measured: recall at one width).
OVERSAMPLING = {
    Quantization.NONE: 1.0,
    Quantization.INT8: 2.0,
    Quantization.TURBO4: 2.0,
    Quantization.BINARY: 4.0,
}
_DATATYPES = {Dtype.FLOAT32: qdrant.Datatype.Float32, Dtype.FLOAT16: qdrant.Datatype.Float16}

# Where fewer works than this part pass a filter, the graph falls apart without the others: the search then
# goes on to neighbours of neighbours (ACORN).
_SELECTIVE = 0.3
# Where a collection tells its plan, so that whoever searches it searches as far as it needs.
_METADATA = "creditline_plan"
# Fields by the names that plans of collections made before version 0.2 carry.
_FORMER_NAMES = {"codes": "quantization", "numbers": "dtype"}
_COUNTS = ("graph_links", "build_ef", "segments", "shards", "replicas", "search_ef", "upsert_batch")


@dataclass(frozen=True)
class IndexPlan:
    """Layout and search effort of a collection; the defaults hold for up to a few million works.

    Thresholds are in kilobytes of raw vectors, as Qdrant counts them: below them a full scan is faster than
    the graph. Codes stay in RAM, whole vectors and payload on disk; `indexes_on_disk`: of the fields that
    works are filtered by, all but `withdrawn`. `oversampling` 0 means that of OVERSAMPLING. A filter thins
    out the graph's neighbourhoods, so a search with one walks further (`filtered_search_ef`; of 1M works,
    half passing: recall@100 of 0.92 at ef 128, 0.97 at 512).
    """

    graph_links: int = 16
    build_ef: int = 128
    graph_on_disk: bool = False
    full_scan_threshold_kilobytes: int = 10_000
    indexing_threshold_kilobytes: int = 10_000
    segments: int = 2
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1
    quantization: Quantization = Quantization.INT8
    int8_quantile: float = 0.99
    oversampling: float = 0.0
    dtype: Dtype = Dtype.FLOAT16
    vectors_on_disk: bool = True
    payload_on_disk: bool = True
    indexes_on_disk: bool = False
    search_ef: int = 256
    filtered_search_ef: int = 512
    upsert_batch: int = 512

    def __post_init__(self) -> None:
        """Raises InvalidInput naming the first value that no collection can have."""
        for name in (
            "graph_links",
            "build_ef",
            "segments",
            "shards",
            "replicas",
            "search_ef",
            "upsert_batch",
        ):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; give 1 or more", field=name)
        if not 1 <= self.write_consistency <= self.replicas:
            raise InvalidInput(
                f"write_consistency is {self.write_consistency}; give 1 to the number of replicas,"
                f" {self.replicas}",
                field="write_consistency",
            )

    @classmethod
    def from_json(cls, text: str) -> IndexPlan:
        """Read a plan, also one that gives only what differs.

        Raises InvalidInput for what is no JSON object, an unknown name or a value of the wrong kind.
        """
        try:
            given: Mapping[str, Any] = json.loads(text)
            given = {_FORMER_NAMES.get(name, name): value for name, value in dict(given).items()}
            for name in given:
                _refuse_unknown(name)
            return _READER.validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "plan"
            raise InvalidInput(f"{name} of an index plan: {first['msg']}", field=name) from error
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"this is not an index plan: {error}", field="plan") from error

    def to_json(self) -> str:
        """All values, so that a later default changes nothing."""
        return json.dumps(asdict(self), indent=1)

    def creation(self, collection: str, dimension: int) -> qdrant.CreateCollection:
        """The request for a collection of cosine vectors of `dimension`. Raises InvalidInput."""
        if dimension < 1:
            raise InvalidInput(
                f"vectors of dimension {dimension} cannot be indexed; use 1 or more", field="dimension"
            )
        return qdrant.CreateCollection(
            collection_name=collection,
            vectors_config=qdrant.VectorsConfig(
                params=qdrant.VectorParams(
                    size=dimension,
                    distance=qdrant.Distance.Cosine,
                    datatype=_DATATYPES[self.dtype],
                    on_disk=self.vectors_on_disk,
                )
            ),
            hnsw_config=qdrant.HnswConfigDiff(
                m=self.graph_links,
                ef_construct=self.build_ef,
                full_scan_threshold=self.full_scan_threshold_kilobytes,
                on_disk=self.graph_on_disk,
            ),
            optimizers_config=self.optimizers(),
            quantization_config=self._quantization(),
            shard_number=self.shards,
            replication_factor=self.replicas,
            write_consistency_factor=self.write_consistency,
            on_disk_payload=self.payload_on_disk,
            metadata={_METADATA: qdrant.Value(string_value=self.to_json())},
        )

    @classmethod
    def of_collection(cls, config: qdrant.CollectionConfig) -> IndexPlan:
        """The plan that a collection was made by; the defaults for one that does not tell."""
        if _METADATA not in config.metadata:
            return cls()
        return cls.from_json(config.metadata[_METADATA].string_value)

    def optimizers(self) -> qdrant.OptimizersConfigDiff:
        """Several segments, so that a few new works do not rebuild the graph of all."""
        return qdrant.OptimizersConfigDiff(
            default_segment_number=self.segments,
            indexing_threshold=self.indexing_threshold_kilobytes,
        )

    def effort(self, limit: int, *, narrow: bool, exact: bool) -> qdrant.SearchParams:
        """Search effort for the best `limit` works; `narrow` when a filter leaves few of them."""
        if exact:
            return qdrant.SearchParams(exact=True)
        ef = self.filtered_search_ef if narrow else self.search_ef
        wide = qdrant.AcornSearchParams(enable=True, max_selectivity=_SELECTIVE)
        return qdrant.SearchParams(
            hnsw_ef=max(ef, limit), quantization=self._rescoring(), acorn=wide if narrow else None
        )

    def _rescoring(self) -> qdrant.QuantizationSearchParams | None:
        if self.quantization is Quantization.NONE:
            return None
        oversampling = self.oversampling or OVERSAMPLING[self.quantization]
        return qdrant.QuantizationSearchParams(rescore=True, oversampling=oversampling)

    def _quantization(self) -> qdrant.QuantizationConfig | None:
        match self.quantization:
            case Quantization.NONE:
                return None
            case Quantization.INT8:
                scalar = qdrant.ScalarQuantization(
                    type=qdrant.QuantizationType.Int8, quantile=self.int8_quantile, always_ram=True
                )
                return qdrant.QuantizationConfig(scalar=scalar)
            case Quantization.TURBO4:
                turbo = qdrant.TurboQuantization(always_ram=True, bits=qdrant.TurboQuantBitSize.Bits4)
                return qdrant.QuantizationConfig(turboquant=turbo)
            case Quantization.BINARY:
                return qdrant.QuantizationConfig(binary=qdrant.BinaryQuantization(always_ram=True))


_READER = TypeAdapter(IndexPlan)


def _refuse_unknown(name: str) -> None:
    known = [field.name for field in fields(IndexPlan)]
    if name in known:
        return
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise InvalidInput(f"an index plan has no {name!r}; {hint}", field=name)
