"""The synthetic works as files: CLIP features as clip-retrieval writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.index.synthetic import SyntheticCorpus

_WORKS_A_PART = 100_000


def write_features(corpus: SyntheticCorpus, directory: Path) -> Path:
    """Parts of up to 100,000 works; nothing is done for parts that are there. Returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, corpus.count, _WORKS_A_PART)):
        metadata = directory / f"metadata_{number}.parquet"
        if not metadata.is_file():
            _write_part(corpus, first, min(first + _WORKS_A_PART, corpus.count), directory, number)
    return directory


def _write_part(corpus: SyntheticCorpus, first: int, last: int, directory: Path, number: int) -> None:
    vectors = corpus.vectors(first, last).astype(np.float16)
    np.save(directory / f"img_emb_{number}.npy", vectors)
    points = list(corpus.points(first, last))
    columns = {
        "key": [point.work_id for point in points],
        "title": [point.title for point in points],
        "caption": [point.caption for point in points],
        "contributor": [point.contributor for point in points],
        "license": [point.licence for point in points],
        "url": [point.source for point in points],
        "created": [point.created for point in points],
    }
    pq.write_table(pa.table(columns), directory / f"metadata_{number}.parquet")
