"""Part of `make lab`: what retraining without each method's first works did, from the committed record.

Writes `leave-k-out.json` and a sheet of the pictures; nothing where no removal is recorded yet.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.removal.counterfactuals import (
    SEED,
    Counterfactuals,
    PictureChange,
    feature_distance,
    mean_squared_error,
    structural_dissimilarity,
)
from creditline.evaluation.lab.removal.removals import NOTHING, RANDOM, read_removals
from creditline.evaluation.lab.setting import REFERENCE
from creditline.towers.towers import Towers
from tests.benchmarks.lab_plots import IMAGES
from tests.benchmarks.lab_sheets import sheet_font
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
TEACHER, OURS = "abu-plus", "consensus"
_GAP, _HEAD, _LABEL, _COLUMN = 4, 18, 150, 100
_INK = "#222222"
_WORDS = {NOTHING: "trained again", RANDOM: "25 random out"}


def picture_changes() -> dict[str, PictureChange]:
    """How a picture's change is measured, by name."""
    towers = Towers.open()
    tower = feature_distance(lambda pictures: towers.image_features(pictures).numpy())
    return {"mse": mean_squared_error, "dssim": structural_dissimilarity, "tower": tower}


def rows(found: Counterfactuals, measures: dict[str, PictureChange]) -> list[dict[str, Any]]:
    """A row for each method, and for the controls."""
    listed = []
    for method in found.methods():
        changes, over = found.loss_changes(method), found.over_random(method)
        row: dict[str, Any] = {
            "method": method,
            "queries": len(changes),
            "loss_change": float(changes.mean()),
            "over_random": over.value,
            "over_random_low": over.low,
            "over_random_high": over.high,
        }
        for name, change in measures.items():
            auroc, mean = found.auroc(method, change), found.mean_change(method, change)
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
            row |= {
                f"auroc_{name}": auroc.value,
                f"auroc_{name}_low": auroc.low,
                f"auroc_{name}_high": auroc.high,
            }
        listed.append(row)
    for control in (RANDOM, NOTHING):
        row = {"method": control, "models": len(found.picture_changes(control, mean_squared_error))}
        if control == RANDOM:
            queries = sorted({query for method in found.methods() for query in found.queries(method)})
            row["loss_change"] = float(found.random_loss_changes(queries).mean())
        for name, change in measures.items():
            row[name] = found.mean_change(control, change).value
        listed.append(row)
    return listed


def figures(found: Counterfactuals, measures: dict[str, PictureChange]) -> dict[str, Figure]:
    """The issue's figures. The interval of a ratio is over queries; those of AUROC as well."""
    over = found.over_random(TEACHER)
    by_change = {name: found.auroc(OURS, change) for name, change in measures.items()}
    name, best = max(by_change.items(), key=lambda item: item[1].value)
    return {
        "abu_plus_over_random": Figure(
            over.value,
            low=over.low,
            high=over.high,
            target=">= 3",
            what="ΔL without AbU+'s first 25 works over ΔL without 25 random ones",
        ),
        "best_auroc": Figure(
            best.value,
            low=best.low,
            high=best.high,
            target=">= 0.75",
            what=f"how often the picture changes more without our first 25 than without 25 random ({name})",
        ),
        "queries": Figure(
            min(len(found.queries(method)) for method in found.methods()),
            target=">= 12",
            what="queries of which every method's removal is trained",
        ),
    }


def pictures_sheet(found: Counterfactuals) -> Image.Image:
    """A row a query: as made, trained again, without random works, without each method's first."""
    methods = found.methods()
    by_id = {query.id: place for place, query in enumerate(found.record.queries)}
    shared = [query for query in by_id if all(query in found.queries(method) for method in methods)]
    batch_prefixes = [
        "as made",
        *(_WORDS[reason] for reason in (NOTHING, RANDOM)),
        *(f"{method}'s 25" for method in methods),
    ]
    lines = [_line(found, query, by_id[query], methods) for query in shared]
    side = lines[0][0].shape[0] + _GAP
    across = max(side, _COLUMN)
    sheet = Image.new("RGB", (_LABEL + across * len(batch_prefixes), _HEAD + side * len(lines)), "white")
    draw, font = ImageDraw.Draw(sheet), sheet_font(10)
    for number, head in enumerate(batch_prefixes):
        draw.text((_LABEL + number * across, 2), head, fill=_INK, font=font)
    for number, (query, line) in enumerate(zip(shared, lines, strict=True)):
        top = _HEAD + number * side
        for row, words in enumerate(textwrap.wrap(found.record.queries[by_id[query]].prompt, 24)[:4]):
            draw.text((_GAP, top + 4 + row * 13), words, fill=_INK, font=font)
        for place, picture in enumerate(line):
            sheet.paste(Image.fromarray(picture), (_LABEL + place * across, top))
    return sheet


def _line(found: Counterfactuals, query: str, place: int, methods: Sequence[str]) -> list[NDArray[np.uint8]]:
    """One query's pictures, in the order of the columns."""
    pictures = found.removals.pictures
    line = [found.record.pictures[place], found.untouched_pictures[query]]
    line.append(pictures[found.removals.rows(RANDOM)[0]][query])
    for method in methods:
        row = found.removals.rows(method)[found.queries(method).index(query)]
        line.append(pictures[row][query])
    return line


def main() -> None:
    path = REFERENCE / "removals.safetensors"
    if not path.exists():
        print(f"no {path.name} yet: `make lab-train` makes it")
        return
    found = Counterfactuals(read_record(REFERENCE / "record.safetensors"), read_removals(path))
    measures = picture_changes()
    write_result(
        "leave-k-out",
        command=COMMAND,
        seed=SEED,
        figures=figures(found, measures),
        rows=rows(found, measures),
    )
    IMAGES.mkdir(parents=True, exist_ok=True)
    pictures_sheet(found).quantize(256).save(IMAGES / "leave-k-out.png", optimize=True)


if __name__ == "__main__":
    main()
