"""Part of `make lab`: what retraining without each method's first works did, from the committed record.

Writes `leave-k-out.json` and a sheet of the pictures; nothing where no removal is recorded yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from creditline.evaluation.lab.counterfactuals import (
    SEED,
    Counterfactuals,
    PictureChange,
    mean_squared_error,
    structural_dissimilarity,
)
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.removals import NOTHING, RANDOM, read_removals
from creditline.evaluation.lab.setting import REFERENCE
from tests.benchmarks.lab_plots import IMAGES
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
TEACHER, OURS = "abu-plus", "consensus"
CHANGES: dict[str, PictureChange] = {"mse": mean_squared_error, "dssim": structural_dissimilarity}
_GAP = 4


def rows(found: Counterfactuals) -> list[dict[str, Any]]:
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
        for name, change in CHANGES.items():
            auroc, mean = found.auroc(method, change), found.mean_change(method, change)
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
            row |= {
                f"auroc_{name}": auroc.value,
                f"auroc_{name}_low": auroc.low,
                f"auroc_{name}_high": auroc.high,
            }
        listed.append(row)
    for control in (RANDOM, NOTHING):
        row = {"method": control, "models": len(found.removals.rows(control))}
        if control == RANDOM:
            queries = sorted({query for method in found.methods() for query in found.queries(method)})
            row["loss_change"] = float(found.random_loss_changes(queries).mean())
        for name, change in CHANGES.items():
            row[name] = found.mean_change(control, change).value
        listed.append(row)
    return listed


def figures(found: Counterfactuals) -> dict[str, Figure]:
    """The issue's figures. The interval of a ratio is over queries; those of AUROC as well."""
    over = found.over_random(TEACHER)
    by_change = {name: found.auroc(OURS, change) for name, change in CHANGES.items()}
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
    queries = [query.id for query in found.record.queries]
    shared = [query for query in queries if all(query in found.queries(method) for method in methods)]
    lines = []
    for query in shared:
        line = [found.record.pictures[queries.index(query)]]
        line += [
            found.removals.pictures[found.removals.rows(reason)[0]][query] for reason in (NOTHING, RANDOM)
        ]
        for method in methods:
            row = found.removals.rows(method)[found.queries(method).index(query)]
            line.append(found.removals.pictures[row][query])
        lines.append(line)
    side = lines[0][0].shape[0] + _GAP
    sheet = np.full((side * len(lines), side * len(lines[0]), 3), 255, dtype=np.uint8)
    for down, line in enumerate(lines):
        for across, picture in enumerate(line):
            sheet[down * side :, across * side :][: side - _GAP, : side - _GAP] = picture
    return Image.fromarray(sheet)


def main() -> None:
    path = REFERENCE / "removals.safetensors"
    if not path.exists():
        print(f"no {path.name} yet: `make lab-train` makes it")
        return
    found = Counterfactuals(read_record(REFERENCE / "record.safetensors"), read_removals(path))
    write_result("leave-k-out", command=COMMAND, seed=SEED, figures=figures(found), rows=rows(found))
    IMAGES.mkdir(parents=True, exist_ok=True)
    pictures_sheet(found).save(IMAGES / "leave-k-out.png", optimize=True)


if __name__ == "__main__":
    main()
