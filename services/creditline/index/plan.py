"""How a collection of works is laid out in Qdrant: one frozen plan, turned into Qdrant's own messages."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput

# `withdrawn` is an integer on purpose: Qdrant Edge never matches a bool, so a withdrawn work would be
# listed without any error.
INTEGER_FIELDS = ("withdrawn",)
KEYWORD_FIELDS = ("work_id", "contributor", "rights_holders", "duplicate_group", "licence")


@dataclass(frozen=True)
class IndexPlan:
    """Graph, quantization and search effort of a collection; the defaults hold for up to a few million works.

    Thresholds are in kilobytes of raw vectors, as Qdrant counts them: below them a full scan is faster
    than the graph. `filtered_search_ef` applies when a contributor is asked for, because a filter thins
    out the graph's neighbourhoods (57 % passing: recall@100 of 0.925 at ef 128, 0.976 at 512).
    """

    graph_links: int = 16
    build_ef: int = 128
    full_scan_threshold_kilobytes: int = 10_000
    indexing_threshold_kilobytes: int = 10_000
    segments: int = 2
    int8_quantile: float = 0.99
    oversampling: float = 2.0
    search_ef: int = 128
    filtered_search_ef: int = 512
    upsert_batch: int = 256

    def creation(self, collection: str, width: int) -> qdrant.CreateCollection:
        """The request for a collection of cosine vectors of `width`, with int8 codes. Raises InvalidInput."""
        if width < 1:
            raise InvalidInput(f"a vector of width {width} cannot be indexed; use 1 or more", field="width")
        return qdrant.CreateCollection(
            collection_name=collection,
            vectors_config=qdrant.VectorsConfig(
                params=qdrant.VectorParams(size=width, distance=qdrant.Distance.Cosine)
            ),
            hnsw_config=qdrant.HnswConfigDiff(
                m=self.graph_links,
                ef_construct=self.build_ef,
                full_scan_threshold=self.full_scan_threshold_kilobytes,
            ),
            optimizers_config=self.optimizers(),
            quantization_config=qdrant.QuantizationConfig(
                scalar=qdrant.ScalarQuantization(
                    type=qdrant.QuantizationType.Int8, quantile=self.int8_quantile, always_ram=True
                )
            ),
        )

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
        return qdrant.SearchParams(
            hnsw_ef=max(ef, limit),
            quantization=qdrant.QuantizationSearchParams(rescore=True, oversampling=self.oversampling),
        )
