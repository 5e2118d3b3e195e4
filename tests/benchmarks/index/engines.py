"""The bare engines: Qdrant Edge on a copy of a collection's shard, and Faiss's HNSW on the same vectors."""

from __future__ import annotations

import shutil
from pathlib import Path

import faiss
import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from creditline.files import replace_file
from creditline.index.filters import field_indexes
from creditline.index.plan import OVERSAMPLING, Quantization
from tests.benchmarks.index.running import PLAN, WORKPLACE, corpus_of

DEPTH = 100


class BareEdge:
    """One shard's query without a process, a wire or a payload between. Listed works only if `listed`."""

    def __init__(
        self, shard: Path, *, quantization: Quantization = Quantization.INT8, listed: bool = True
    ) -> None:
        self._shard = edge.EdgeShard.load(str(shard))
        self._rescoring = edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING[quantization])
        condition = edge.FieldCondition("withdrawn", match=edge.MatchValue(0))
        self._filter = edge.Filter(must=[condition]) if listed else None

    def nearest(self, query: list[float], ef: int) -> list[str]:
        """Ids of the nearest points."""
        request = edge.QueryRequest(
            limit=DEPTH,
            query=edge.Query.Nearest(query),
            filter=self._filter,
            params=edge.SearchParams(hnsw_ef=ef, quantization=self._rescoring),
            with_payload=False,
        )
        return [str(point.id) for point in self._shard.query(request)]

    def close(self) -> None:
        """Give the shard up."""
        self._shard.close()


def copied_shard(directory: Path, collection: str) -> Path:
    """A copy of a collection's only shard, so that it can be opened beside its process."""
    home = directory / "collections" / collection / "0"
    source = home / (home / "current").read_text()
    copy = WORKPLACE / f"bare-{collection}"
    if copy.exists():
        shutil.rmtree(copy)
    shutil.copytree(source, copy)
    return copy


def without_fields(shard: Path) -> Path:
    """A copy of a shard without the indexes of its payload: vectors, codes, graph and ids, as Faiss has."""
    copy = shard.with_name(f"{shard.name}-without-fields")
    if copy.exists():
        shutil.rmtree(copy)
    shutil.copytree(shard, copy)
    opened = edge.EdgeShard.load(str(copy))
    for name, _, _ in field_indexes(on_disk=False):
        opened.update(edge.UpdateOperation.delete_field_index(name))
    opened.flush()
    opened.close()
    return copy


class FaissHnsw:
    """Faiss's HNSW of whole float32 vectors, with as many links as ours (m = 16), on one thread."""

    def __init__(self, works: int) -> None:
        path = WORKPLACE / f"faiss-{works}.index"
        if not path.is_file():
            _build(works, path)
        self._index = faiss.read_index(str(path))
        faiss.omp_set_num_threads(1)

    def nearest(self, query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        """Numbers of the nearest works: (100,)."""
        self._index.hnsw.efSearch = ef
        _, dtype = self._index.search(query[None, :], DEPTH)
        return dtype[0]


def _build(works: int, path: Path) -> None:
    corpus = corpus_of(works)
    index = faiss.IndexHNSWFlat(corpus.width, PLAN.graph_links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = PLAN.build_ef
    faiss.omp_set_num_threads(2)
    index.add(corpus.vectors())
    with replace_file(path) as draft:
        faiss.write_index(index, str(draft))
