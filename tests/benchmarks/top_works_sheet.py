"""Part of `make distill-figures`: held-out pictures with the first works by their teacher and by its student.

`distillation-top-works.png`: for some pictures a row each by the teacher, by the teacher again with other
noise, by the released encoder and by the best raw feature. Works that are among the teacher's are framed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from creditline.distillation.assessment.held_out import encoder_cosines, raw_cosines
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.labels.common_scale import on_common_scale
from creditline.distillation.labels.label_set import HELD_OUT, LabelledQuery, read_labels
from creditline.distillation.training.feature_store import FeatureStore
from creditline.encoder.encoder import Encoder
from creditline.evaluation.agreement import best_first
from creditline.generator.reference import reference_corpus
from creditline.release import ENCODER, reference_release_directory
from creditline.towers.towers import Towers
from tests.benchmarks.distillation import FEATURES
from tests.benchmarks.distillation_reference import LABELS
from tests.benchmarks.lab_plots import IMAGES
from tests.benchmarks.lab_sheets import sheet_font

QUERIES, FIRST = 6, 8
_SIDE, _GAP, _LABEL, _MARGIN, _LINE = 64, 6, 104, 16, 15
_INK, _FAINT, _FRAME = "#23201c", "#6a635a", "#9c3d1f"
_CAPTION_CHARACTERS = 72
_TEACHER = "teacher"


@dataclass(frozen=True, eq=False)
class SheetQuery:
    """A picture with its prompt, and the first works by each method, rows of the corpus, best first."""

    query: LabelledQuery
    first: Mapping[str, Sequence[int]]


def sheet_queries(
    scores: Mapping[str, NDArray[np.floating]], queries: Sequence[LabelledQuery]
) -> list[SheetQuery]:
    """Evenly spread over all that judge. scores: (H, N) by method."""
    spread = np.linspace(0, len(queries) - 1, min(QUERIES, len(queries))).round().astype(int)
    return [
        SheetQuery(
            queries[row],
            {
                name: [int(work) for work in best_first(values[row])[:FIRST]]
                for name, values in scores.items()
            },
        )
        for row in spread
    ]


def sheet(asked: Sequence[SheetQuery], works: Mapping[int, Image.Image]) -> Image.Image:
    """Two blocks across."""
    blocks = [_block(each, works) for each in asked]
    width, height = blocks[0].size
    down = -(-len(blocks) // 2)
    size = (2 * width + 3 * _MARGIN, down * (height + _MARGIN) + _MARGIN)
    paper = Image.new("RGB", size, "white")
    for number, block in enumerate(blocks):
        down_row, across = divmod(number, 2)
        place = (_MARGIN + across * (width + _MARGIN), _MARGIN + down_row * (height + _MARGIN))
        paper.paste(block, place)
    return paper


def _block(asked: SheetQuery, works: Mapping[int, Image.Image]) -> Image.Image:
    step = _SIDE + _GAP
    size = (_LABEL + FIRST * step, (1 + len(asked.first)) * step + _GAP)
    block = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(block)
    block.paste(_square(asked.query.image()), (0, 0))
    for number, line in enumerate(textwrap.wrap(asked.query.prompt, _CAPTION_CHARACTERS)[:4]):
        draw.text((step + _GAP, _LINE * number), line, fill=_INK, font=sheet_font(12))
    for number, (name, first) in enumerate(asked.first.items(), start=1):
        top = number * step + _GAP
        draw.text((0, top + _SIDE // 2 - 8), name, fill=_FAINT, font=sheet_font(11))
        for place, work in enumerate(first):
            corner = (_LABEL + place * step, top)
            block.paste(_square(works[work]), corner)
            if name != _TEACHER and work in asked.first[_TEACHER]:
                draw.rectangle(
                    (corner[0] - 2, top - 2, corner[0] + _SIDE + 1, top + _SIDE + 1), outline=_FRAME, width=2
                )
    return block


def _square(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


def main() -> None:
    store, corpus = FeatureStore(Towers.open(), FEATURES, print), reference_corpus()
    labels = on_common_scale(read_labels(LABELS))
    held_out = held_out_queries(labels, corpus, None, store)
    assert held_out.influence_repeat is not None
    scores = {
        _TEACHER: held_out.influence,
        "teacher again": held_out.influence_repeat,
        "student": encoder_cosines(Encoder.load(reference_release_directory() / ENCODER), held_out),
        "raw text": raw_cosines(held_out)["raw text"],
    }
    asked = sheet_queries(scores, [labels.queries[row] for row in labels.rows(HELD_OUT)])
    shown = {work for each in asked for first in each.first.values() for work in first}
    pictures = {work: corpus.works[work].picture() for work in shown}
    sheet(asked, pictures).save(IMAGES / "distillation-top-works.png", optimize=True)


if __name__ == "__main__":
    main()
