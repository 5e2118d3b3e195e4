"""CLIP features in the layout of clip-retrieval: numbered parts of float16 rows with their metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from creditline.corpus.works import Work


def write_clip_parts(
    directory: Path,
    works: Sequence[Work],
    images: np.ndarray,
    texts: np.ndarray | None = None,
    *,
    per_part: int = 16,
) -> Path:
    """images, texts: (N, width). Metadata has LAION-400M's columns."""
    for name in ("img_emb", "metadata", "text_emb"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(works), per_part)):
        rows, part = slice(start, start + per_part), works[start : start + per_part]
        np.save(directory / "img_emb" / f"img_emb_{number}.npy", images[rows].astype(np.float16))
        if texts is not None:
            np.save(directory / "text_emb" / f"text_emb_{number}.npy", texts[rows].astype(np.float16))
        columns = {
            "image_path": [f"{number:05d}/{row:09d}" for row in range(len(part))],
            "caption": [work.caption for work in part],
            "NSFW": ["UNLIKELY"] * len(part),
            "similarity": [0.3] * len(part),
            "LICENSE": ["?"] * len(part),
            "url": [f"https://pictures.example/{work.id}.png" for work in part],
            "key": [work.id for work in part],
        }
        pq.write_table(pa.table(columns), directory / "metadata" / f"metadata_{number}.parquet")
    return directory
