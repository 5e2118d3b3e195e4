"""Part of `make lab`: what the methods say, to be looked at.

`lab-top-works.png`: a row of the first works by each method, for some queries. `nda-map.png`: where in a
query's picture its first works' influence sits, by NDA.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from creditline.attribution.methods.nda import SAME_PLACE, NonparametricAttribution
from creditline.evaluation.agreement import best_first
from creditline.evaluation.lab.judging.scoring import MethodScores, read_all_scores
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE, LabSetting, open_setting
from creditline.generator.reference import reference_corpus
from tests.benchmarks.lab_plots import IMAGES

METHODS = ("consensus", "abu-plus", "abu-plus-fast", "d-trak", "influence-noise", "nda", "joined", "random")
QUERIES, FIRST = 6, 6
_SIDE, _GAP, _LABEL, _LINE = 56, 4, 96, 14
_INK, _FAINT = "#222222", "#666666"
_CAPTION_CHARACTERS = 64
_PALE, _RED = 0.45, (200.0, 30.0, 20.0)


def sheet_font(size: int) -> ImageFont.FreeTypeFont:
    """The sheets' typeface, which comes with matplotlib."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(fonts / "DejaVuSans.ttf", size)


def sheet_queries(record: LabRecord, scores: Sequence[MethodScores]) -> list[int]:
    """Generated queries that every method scored, evenly spread."""
    shared = set.intersection(*(set(method.rows) for method in scores))
    rows = sorted(shared & {int(row) for row in record.query_rows("generated")})
    return [rows[round(place)] for place in np.linspace(0, len(rows) - 1, min(QUERIES, len(rows)))]


def top_works_sheet(
    record: LabRecord, scores: Sequence[MethodScores], works: Sequence[Image.Image]
) -> Image.Image:
    """Two blocks across: a query's picture and prompt, and below each method's first works, the best left."""
    queries = sheet_queries(record, scores)
    blocks = [_block(record, scores, works, query) for query in queries]
    width, height = blocks[0].size
    down = -(-len(blocks) // 2)
    sheet = Image.new("RGB", (2 * width + 3 * _GAP * 3, down * (height + 3 * _GAP)), "white")
    for number, block in enumerate(blocks):
        across, row = number % 2, number // 2
        sheet.paste(block, (3 * _GAP + across * (width + 3 * _GAP), row * (height + 3 * _GAP)))
    return sheet


def _block(
    record: LabRecord, scores: Sequence[MethodScores], works: Sequence[Image.Image], query: int
) -> Image.Image:
    head = _SIDE + 2 * _GAP
    step = _SIDE + _GAP
    block = Image.new("RGB", (_LABEL + FIRST * step, head + len(scores) * step), "white")
    draw = ImageDraw.Draw(block)
    block.paste(_square(Image.fromarray(record.pictures[query])), (0, _GAP))
    draw.text((step, _GAP), record.queries[query].id, fill=_FAINT, font=sheet_font(10))
    for number, line in enumerate(textwrap.wrap(record.queries[query].prompt, _CAPTION_CHARACTERS)[:3]):
        draw.text((step, _GAP + _LINE * (number + 1)), line, fill=_INK, font=sheet_font(10))
    for number, method in enumerate(scores):
        top = head + number * step
        draw.text((_GAP, top + _SIDE // 2 - 6), method.method, fill=_INK, font=sheet_font(11))
        for place, work in enumerate(best_first(method.of_rows([query])[0])[:FIRST]):
            block.paste(_square(works[int(work)]), (_LABEL + place * step, top))
    return block


def _square(picture: Image.Image, side: int = _SIDE) -> Image.Image:
    return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def nda_maps_sheet(setting: LabSetting, record: LabRecord, queries: Sequence[int]) -> Image.Image:
    """A line a query: its picture, then its first works by NDA, each with its map over that picture."""
    method = NonparametricAttribution(setting.generator.noising, SAME_PLACE)
    method.prepare(setting.works, Path())
    side, first = 2 * _SIDE, 3
    step = side + _GAP
    sheet = Image.new("RGB", (step * (1 + 2 * first), len(queries) * (step + _LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, query in enumerate(queries):
        gallery, top = setting.queries.rows([query]), number * (step + _LINE)
        draw.text((_GAP, top), record.queries[query].prompt[:110], fill=_INK, font=sheet_font(10))
        picture = _square(gallery.pictures[0], side)
        sheet.paste(picture, (0, top + _LINE))
        scores = method.scores(gallery)[0]
        for place, work in enumerate(best_first(scores)[:first]):
            across = step * (1 + 2 * place)
            influence = method.influence_map(gallery, setting.works.examples.ids[int(work)])
            sheet.paste(_square(setting.works.pictures[int(work)], side), (across, top + _LINE))
            sheet.paste(overlaid(picture, influence), (across + step, top + _LINE))
    return sheet


def overlaid(picture: Image.Image, influence: NDArray[np.float64]) -> Image.Image:
    """The picture, pale and grey, with red over it where a work has influence. influence: (H, W)."""
    weights = Image.fromarray((255 * influence / influence.max()).astype(np.uint8))
    red = (
        np.asarray(weights.resize(picture.size, Image.Resampling.BICUBIC), dtype=np.float64)[..., None] / 255
    )
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float64)
    pale = _PALE * 255 + (1 - _PALE) * grey
    return Image.fromarray(((1 - red) * pale + red * np.array(_RED)).astype(np.uint8))


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    by_name = read_all_scores(REFERENCE / "scores", record)
    scores = [by_name[name] for name in METHODS if name in by_name]
    IMAGES.mkdir(parents=True, exist_ok=True)
    with open_setting(record, reference_corpus()) as setting:
        sheets = {
            "lab-top-works": top_works_sheet(record, scores, setting.works.pictures),
            "nda-map": nda_maps_sheet(setting, record, sheet_queries(record, scores)[:4]),
        }
    for name, sheet in sheets.items():
        sheet.quantize(256).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
