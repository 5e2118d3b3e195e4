"""Translates a collection's settings from Qdrant's requests to Qdrant Edge's configuration."""

from __future__ import annotations

from typing import Literal, Protocol, TypedDict

import qdrant_edge as edge

from creditline.errors import InvalidInput
from creditline.local.qdrant.translation.unsupported import Unsupported, reject_unsupported_fields
from creditline.qdrant_messages import qdrant

_MOST_SHARDS = 64
_DISTANCES = {
    qdrant.Distance.Cosine: edge.Distance.Cosine,
    qdrant.Distance.Dot: edge.Distance.Dot,
    qdrant.Distance.Euclid: edge.Distance.Euclid,
    qdrant.Distance.Manhattan: edge.Distance.Manhattan,
}
_DATATYPES = {
    qdrant.Datatype.Default: None,
    qdrant.Datatype.Float32: edge.VectorStorageDatatype.Float32,
    qdrant.Datatype.Float16: edge.VectorStorageDatatype.Float16,
    qdrant.Datatype.Uint8: edge.VectorStorageDatatype.Uint8,
    qdrant.Datatype.Turbo4: edge.VectorStorageDatatype.Turbo4,  # type: ignore[attr-defined]  # not in its stubs
    qdrant.Datatype.Turbo8: edge.VectorStorageDatatype.Turbo8,
    qdrant.Datatype.Turbo16: edge.VectorStorageDatatype.Turbo16,
}
_MEMORIES = {
    qdrant.Memory.MemoryUnknown: None,
    qdrant.Memory.Cold: edge.Memory.Cold,
    qdrant.Memory.Cached: edge.Memory.Cached,
    qdrant.Memory.Pinned: edge.Memory.Pinned,
}
_TURBO_BITS = {
    qdrant.TurboQuantBitSize.Bits1: edge.TurboQuantBitSize.Bits1,
    qdrant.TurboQuantBitSize.Bits1_5: edge.TurboQuantBitSize.Bits1_5,
    qdrant.TurboQuantBitSize.Bits2: edge.TurboQuantBitSize.Bits2,
    qdrant.TurboQuantBitSize.Bits4: edge.TurboQuantBitSize.Bits4,
    qdrant.TurboQuantBitSize.Bits8: edge.TurboQuantBitSize.Bits8,
}
_RATIOS = {
    qdrant.CompressionRatio.x4: edge.CompressionRatio.X4,
    qdrant.CompressionRatio.x8: edge.CompressionRatio.X8,
    qdrant.CompressionRatio.x16: edge.CompressionRatio.X16,
    qdrant.CompressionRatio.x32: edge.CompressionRatio.X32,
    qdrant.CompressionRatio.x64: edge.CompressionRatio.X64,
}
_ENCODINGS = {
    qdrant.BinaryQuantizationEncoding.OneBit: edge.BinaryQuantizationEncoding.OneBit,
    qdrant.BinaryQuantizationEncoding.TwoBits: edge.BinaryQuantizationEncoding.TwoBits,
    qdrant.BinaryQuantizationEncoding.OneAndHalfBits: edge.BinaryQuantizationEncoding.OneAndHalfBits,
}
_QUERY_ENCODINGS = (
    edge.BinaryQuantizationQueryEncoding.Default,
    edge.BinaryQuantizationQueryEncoding.Binary,
    edge.BinaryQuantizationQueryEncoding.Scalar4Bits,
    edge.BinaryQuantizationQueryEncoding.Scalar8Bits,
)
_CREATION_FIELDS = frozenset(
    {
        *("collection_name", "timeout", "metadata", "vectors_config", "hnsw_config", "optimizers_config"),
        *("quantization_config", "on_disk_payload", "payload", "id_tracker", "shard_number"),
        *("replication_factor", "write_consistency_factor", "sharding_method"),
    }
)
_VECTOR_FIELDS = frozenset(
    {"size", "distance", "hnsw_config", "quantization_config", "on_disk", "datatype", "memory"}
)
_HNSW_FIELDS = frozenset(
    {
        *("m", "ef_construct", "full_scan_threshold", "max_indexing_threads"),
        *("on_disk", "payload_m", "inline_storage", "memory"),
    }
)
# Stored and reported without effect: every acknowledged batch is on disk, whatever the flush interval.
_IGNORED_FIELDS = frozenset({"flush_interval_sec"})
_OPTIMIZER_FIELDS = frozenset(
    {
        *("deleted_threshold", "vacuum_min_vector_number", "default_segment_number"),
        *("max_segment_size", "indexing_threshold"),
    }
)
_UPDATE_FIELDS = frozenset(
    {
        *("collection_name", "timeout", "metadata", "optimizers_config", "hnsw_config"),
        *("vectors_config", "quantization_config", "params"),
    }
)


def completed(request: qdrant.CreateCollection) -> qdrant.CreateCollection:
    """The request with Qdrant's defaults in place of unset fields; clients expect to read them back.

    Raises:
        InvalidInput: The number of shards is out of range.
    """
    merged = qdrant.CreateCollection(
        shard_number=1,
        hnsw_config=qdrant.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
        optimizers_config=qdrant.OptimizersConfigDiff(
            deleted_threshold=0.2,
            vacuum_min_vector_number=1_000,
            default_segment_number=0,
            indexing_threshold=10_000,
            flush_interval_sec=0,
        ),
    )
    merged.MergeFrom(request)
    if not 1 <= merged.shard_number <= _MOST_SHARDS:
        raise InvalidInput(
            f"shard_number is {merged.shard_number}; a collection has between 1 and {_MOST_SHARDS} shards",
            field="shard_number",
        )
    return merged


def updated(settings: qdrant.CreateCollection, request: qdrant.UpdateCollection) -> qdrant.CreateCollection:
    """The collection's settings after an update. Raises Unsupported for a setting that cannot be changed."""
    reject_unsupported_fields(request, _UPDATE_FIELDS, "an update of a collection")
    merged = qdrant.CreateCollection()
    merged.CopyFrom(settings)
    merged.optimizers_config.MergeFrom(request.optimizers_config)
    merged.hnsw_config.MergeFrom(request.hnsw_config)
    merged.metadata.MergeFrom(request.metadata)
    if request.HasField("quantization_config"):
        merged.quantization_config.CopyFrom(_new_quantization(request.quantization_config))
    if request.HasField("vectors_config"):
        _update_vector(merged.vectors_config.params, request.vectors_config)
    if request.HasField("params"):
        _update_storage(merged, request.params)
    return merged


def _new_quantization(diff: qdrant.QuantizationConfigDiff) -> qdrant.QuantizationConfig:
    kind = diff.WhichOneof("quantization")
    if kind is None or kind == "disabled":
        raise Unsupported("the removal of a collection's quantization")
    return qdrant.QuantizationConfig(**{kind: getattr(diff, kind)})


def _update_vector(vector: qdrant.VectorParams, request: qdrant.VectorsConfigDiff) -> None:
    diff = request.params
    if request.WhichOneof("config") == "params_map":
        # qdrant-client names the one unnamed vector "".
        if set(request.params_map.map) != {""}:
            raise Unsupported("named vectors")
        diff = request.params_map.map[""]
    if diff.HasField("quantization_config"):
        vector.quantization_config.CopyFrom(_new_quantization(diff.quantization_config))
    if diff.HasField("hnsw_config"):
        vector.hnsw_config.MergeFrom(diff.hnsw_config)
    if diff.HasField("on_disk"):
        vector.on_disk = diff.on_disk
    if diff.HasField("memory"):
        vector.memory = diff.memory


def _update_storage(settings: qdrant.CreateCollection, diff: qdrant.CollectionParamsDiff) -> None:
    reject_unsupported_fields(diff, {"on_disk_payload", "payload", "id_tracker"}, "an update of a collection")
    if diff.HasField("on_disk_payload"):
        settings.on_disk_payload = diff.on_disk_payload
    settings.payload.MergeFrom(diff.payload)
    settings.id_tracker.MergeFrom(diff.id_tracker)


def edge_config(settings: qdrant.CreateCollection) -> edge.EdgeConfig:
    """A shard's configuration.

    Args:
        settings: a collection's settings, with the defaults of `completed`.

    Raises:
        InvalidInput: A setting has an invalid value.
        Unsupported: A setting is not supported.
    """
    reject_unsupported_fields(settings, _CREATION_FIELDS, "a collection")
    if settings.replication_factor > 1 or settings.write_consistency_factor > 1:
        raise Unsupported("replicas")
    if settings.sharding_method != qdrant.ShardingMethod.Auto:
        raise Unsupported("shards by a key")
    return edge.EdgeConfig(
        vectors=_vector(settings),
        hnsw_config=_hnsw(settings.hnsw_config),
        quantization_config=_optional_quantization(settings),
        optimizers=_optimizers(settings.optimizers_config),
        on_disk_payload=settings.on_disk_payload if settings.HasField("on_disk_payload") else None,
        payload_memory=edge_memory(settings.payload),
        id_tracker_memory=edge_memory(settings.id_tracker),
    )


def _vector(settings: qdrant.CreateCollection) -> edge.EdgeVectorParams:
    if settings.vectors_config.WhichOneof("config") != "params":
        raise Unsupported("named vectors")
    vector = settings.vectors_config.params
    reject_unsupported_fields(vector, _VECTOR_FIELDS, "a vector")
    if vector.size < 1:
        raise InvalidInput(
            f"the vector's size is {vector.size}; it must be at least 1", field="vectors_config"
        )
    if vector.distance not in _DISTANCES:
        raise InvalidInput(
            f"distance {vector.distance} is unknown; use Cosine, Dot, Euclid or Manhattan",
            field="vectors_config",
        )
    return edge.EdgeVectorParams(
        size=vector.size,
        distance=_DISTANCES[vector.distance],
        on_disk=vector.on_disk if vector.HasField("on_disk") else None,
        memory=edge_memory(vector),
        datatype=_DATATYPES[vector.datatype],
        quantization_config=_optional_quantization(vector),
        hnsw_config=_vector_hnsw(settings, vector),
    )


def _vector_hnsw(
    settings: qdrant.CreateCollection, vector: qdrant.VectorParams
) -> edge.HnswIndexConfig | None:
    """The vector's own graph settings, merged over the collection's; None without any."""
    if not vector.HasField("hnsw_config"):
        return None
    merged = qdrant.HnswConfigDiff()
    merged.CopyFrom(settings.hnsw_config)
    merged.MergeFrom(vector.hnsw_config)
    return _hnsw(merged)


def _hnsw(diff: qdrant.HnswConfigDiff) -> edge.HnswIndexConfig:
    reject_unsupported_fields(diff, _HNSW_FIELDS, "hnsw_config")
    return edge.HnswIndexConfig(
        m=diff.m,
        ef_construct=diff.ef_construct,
        full_scan_threshold=diff.full_scan_threshold,
        max_indexing_threads=diff.max_indexing_threads,
        on_disk=diff.on_disk if diff.HasField("on_disk") else None,
        payload_m=diff.payload_m if diff.HasField("payload_m") else None,
        inline_storage=diff.inline_storage if diff.HasField("inline_storage") else None,
        memory=edge_memory(diff),
    )


def _optimizers(diff: qdrant.OptimizersConfigDiff) -> edge.EdgeOptimizersConfig:
    reject_unsupported_fields(diff, _OPTIMIZER_FIELDS | _IGNORED_FIELDS, "optimizers_config")
    return edge.EdgeOptimizersConfig(
        deleted_threshold=diff.deleted_threshold if diff.HasField("deleted_threshold") else None,
        vacuum_min_vector_number=(
            diff.vacuum_min_vector_number if diff.HasField("vacuum_min_vector_number") else None
        ),
        default_segment_number=(
            diff.default_segment_number if diff.HasField("default_segment_number") else None
        ),
        max_segment_size=diff.max_segment_size if diff.HasField("max_segment_size") else None,
        indexing_threshold=diff.indexing_threshold if diff.HasField("indexing_threshold") else None,
    )


def _optional_quantization(
    message: qdrant.CreateCollection | qdrant.VectorParams,
) -> edge.QuantizationConfigType | None:
    """Edge's quantization configuration; None without quantization."""
    if not message.HasField("quantization_config"):
        return None
    config = message.quantization_config
    match config.WhichOneof("quantization"):
        case None:
            return None
        case "scalar":
            return edge.ScalarQuantizationConfig(
                type=edge.ScalarType.Int8,
                quantile=config.scalar.quantile if config.scalar.HasField("quantile") else None,
                **_placement(config.scalar),
            )
        case "binary":
            return _binary(config.binary)
        case "turboquant":
            bits = _TURBO_BITS[config.turboquant.bits] if config.turboquant.HasField("bits") else None
            return edge.TurboQuantQuantizationConfig(bits=bits, **_placement(config.turboquant))
        case "product":
            return edge.ProductQuantizationConfig(
                compression=_RATIOS[config.product.compression], **_placement(config.product)
            )
        case kind:
            raise Unsupported(f"{kind} quantization")


def _binary(config: qdrant.BinaryQuantization) -> edge.BinaryQuantizationConfig:
    query_encoding = config.query_encoding.setting if config.HasField("query_encoding") else None
    return edge.BinaryQuantizationConfig(
        encoding=_ENCODINGS[config.encoding] if config.HasField("encoding") else None,
        query_encoding=None if query_encoding is None else _QUERY_ENCODINGS[query_encoding],
        **_placement(config),
    )


class _Placement(TypedDict):
    """Memory placement: the arguments that all of Edge's quantization configurations share."""

    always_ram: bool | None
    memory: edge.Memory | None


class _HasMemory(Protocol):
    """A message with the field `memory`."""

    @property
    def memory(self) -> qdrant.Memory.ValueType: ...
    def HasField(self, field_name: Literal["memory"]) -> bool: ...  # noqa: N802


def _placement(
    config: (
        qdrant.ScalarQuantization
        | qdrant.ProductQuantization
        | qdrant.BinaryQuantization
        | qdrant.TurboQuantization
    ),
) -> _Placement:
    return {
        "always_ram": config.always_ram if config.HasField("always_ram") else None,
        "memory": edge_memory(config),
    }


def edge_memory(message: _HasMemory) -> edge.Memory | None:
    """The memory placement that a message requests; None when it has none."""
    return _MEMORIES[message.memory] if message.HasField("memory") else None


def grpc_memory(placement: edge.Memory) -> qdrant.Memory.ValueType:
    """The protobuf value of a memory placement."""
    return next(value for value, memory in _MEMORIES.items() if memory == placement)
