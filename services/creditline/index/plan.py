"""Layout and search effort of a collection of works, and the Qdrant messages made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from creditline.errors import InvalidInput
from creditline.qdrant_messages import qdrant


class Quantization(StrEnum):
    """Quantization of the vectors in the graph search; the best hits are rescored by the full vectors."""

    NONE = "none"
    INT8 = "int8"
    TURBO4 = "turbo4"
    BINARY = "binary"


class Dtype(StrEnum):
    """Data type of the full vectors."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


# Default oversampling: ratio of rescored works to requested works. Larger where quantization loses more
# (measured as recall at one dimension).
OVERSAMPLING = {
    Quantization.NONE: 1.0,
    Quantization.INT8: 2.0,
    Quantization.TURBO4: 2.0,
    Quantization.BINARY: 4.0,
}
_DATATYPES = {Dtype.FLOAT32: qdrant.Datatype.Float32, Dtype.FLOAT16: qdrant.Datatype.Float16}

# Where a smaller fraction of works passes a filter, the graph of these works is disconnected: the search then
# expands to neighbours of neighbours (ACORN).
_ACORN_MAX_SELECTIVITY = 0.3
# Metadata key of the plan in a collection, from which every client learns the right search effort.
_METADATA = "creditline_plan"
# Field names in plans of collections made before version 0.2, and their present names.
_FORMER_NAMES = {"codes": "quantization", "numbers": "dtype"}
_POSITIVE_FIELDS = ("graph_links", "build_ef", "segments", "shards", "replicas", "search_ef", "upsert_batch")


@dataclass(frozen=True)
class IndexPlan:
    """Layout and search effort of a collection; the defaults suit up to a few million works.

    Quantized vectors always stay in RAM.

    Raises:
        InvalidInput: A value that no collection can have; the error names the field.
    """

    graph_links: int = 16
    """HNSW's m: links per work in the graph."""
    build_ef: int = 128
    """HNSW's ef_construct: size of the candidate list while the graph is built."""
    graph_on_disk: bool = False
    """Keep the graph on disk instead of in RAM."""
    full_scan_threshold_kilobytes: int = 10_000
    """Size of raw vectors, in kilobytes, below which Qdrant scans them instead of searching the graph."""
    indexing_threshold_kilobytes: int = 10_000
    """Size of a segment's raw vectors, in kilobytes, from which Qdrant builds a graph for it."""
    segments: int = 2
    """Segments per shard."""
    shards: int = 1
    """Number of shards."""
    replicas: int = 1
    """Number of copies of each shard."""
    write_consistency: int = 1
    """Number of replicas that must acknowledge a write, from 1 to `replicas`."""
    quantization: Quantization = Quantization.INT8
    """Quantization of the vectors used in the graph search."""
    int8_quantile: float = 0.99
    """Fraction of vector components that the range of int8 covers; the others are clipped."""
    oversampling: float = 0.0
    """Ratio of rescored works to requested works; 0: the value of `OVERSAMPLING`."""
    dtype: Dtype = Dtype.FLOAT16
    """Data type of the full vectors."""
    vectors_on_disk: bool = True
    """Keep full vectors on disk instead of in RAM."""
    payload_on_disk: bool = True
    """Keep the payload on disk instead of in RAM."""
    indexes_on_disk: bool = False
    """Keep the indexes of payload fields on disk instead of in RAM, except that of `withdrawn`."""
    search_ef: int = 256
    """HNSW's ef: size of the candidate list of a search without a filter."""
    filtered_search_ef: int = 512
    """Size of the candidate list of a search with a filter, which thins out the graph's neighbourhoods.

    With 1M works of which half pass, recall@100 is 0.92 at ef 128 and 0.97 at 512.
    """
    upsert_batch: int = 512
    """Number of works per write call."""

    def __post_init__(self) -> None:
        for name in _POSITIVE_FIELDS:
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
        """Read a plan; fields that are missing have their defaults.

        Raises:
            InvalidInput: The text is not a JSON object, or has an unknown field or a value of the wrong type.
        """
        try:
            content: Mapping[str, Any] = json.loads(text)
            if not isinstance(content, Mapping):
                raise TypeError("it is not a JSON object")
            given = {_FORMER_NAMES.get(name, name): value for name, value in content.items()}
            for name in given:
                _check_field(name)
            return _READER.validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "plan"
            raise InvalidInput(f"{name} of an index plan is not valid: {first['msg']}", field=name) from error
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"this is not an index plan: {error}", field="plan") from error

    def to_json(self) -> str:
        """The plan as JSON with all fields, so that later defaults do not change it."""
        return json.dumps(asdict(self), indent=1)

    def creation(self, collection: str, dimension: int) -> qdrant.CreateCollection:
        """The request that creates a collection of works under cosine distance.

        Args:
            collection: Name of the collection.
            dimension: Dimension of its vectors.

        Raises:
            InvalidInput: The dimension is less than 1.
        """
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
        """The plan stored in a collection; the defaults where the collection stores none."""
        if _METADATA not in config.metadata:
            return cls()
        return cls.from_json(config.metadata[_METADATA].string_value)

    def optimizers(self) -> qdrant.OptimizersConfigDiff:
        """Optimizer settings: with several segments, a few new works do not cause a rebuild of all graphs."""
        return qdrant.OptimizersConfigDiff(
            default_segment_number=self.segments,
            indexing_threshold=self.indexing_threshold_kilobytes,
        )

    def effort(self, limit: int, *, narrow: bool, exact: bool) -> qdrant.SearchParams:
        """Search parameters for one query.

        Args:
            limit: Number of works to return.
            narrow: Whether the search has a filter.
            exact: Scan all works instead of searching the graph.
        """
        if exact:
            return qdrant.SearchParams(exact=True)
        ef = self.filtered_search_ef if narrow else self.search_ef
        acorn = qdrant.AcornSearchParams(enable=True, max_selectivity=_ACORN_MAX_SELECTIVITY)
        return qdrant.SearchParams(
            hnsw_ef=max(ef, limit), quantization=self._rescoring(), acorn=acorn if narrow else None
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


def _check_field(name: str) -> None:
    known = [field.name for field in fields(IndexPlan)]
    if name in known:
        return
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"its fields are {', '.join(known)}"
    raise InvalidInput(f"an index plan has no {name!r}; {hint}", field=name)
