"""Part of `make lab`: every method's scores mapped to expected ΔL, and whether that foretells retraining.

Writes `one-unit.json`. The maps are fitted on one half of the judging subsets and tested on the other. The
controls: random scores, which must explain nothing, and pictures of noise, which must owe nobody much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.expected_change import ExpectedChange
from creditline.attribution.methods.hyperparameters import CONSENSUSES
from creditline.calibration.concentration import concentration
from creditline.evaluation.lab.common_scale import (
    ScaleTest,
    check_scale,
    fit_expected_change,
    predicted_losses,
    write_maps,
)
from creditline.evaluation.lab.judging.fitting import consensus_scores
from creditline.evaluation.lab.judging.scoring import CHOOSING, SEED, MethodScores, read_all_scores
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.removal.removals import NOTHING, read_removals
from creditline.evaluation.lab.setting import REFERENCE
from creditline.evaluation.lds import RetrainedModels
from tests.benchmarks.lab_plots import plot_expected_changes
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
METHODS = (
    "consensus",
    "consensus-all",
    "consensus-fast",
    "consensus-gradients",
    "abu-plus",
    "abu-plus-fast",
    "mucs",
    "d-trak",
    "influence-noise",
    "text-sharpened",
    "nda",
    "joined",
    "random",
)
OURS = "consensus"
CONCENTRATED = {"concentration": "consensus-fast", "concentration_by_gradients": "consensus-gradients"}


@dataclass(frozen=True)
class Mapped:
    """A method's map with what became of it. foretold, measured: (M, Q), less their means over subsets."""

    method: str
    expected: ExpectedChange
    test: ScaleTest
    changes: NDArray[np.float64]
    predicted: NDArray[np.float64]
    measured: NDArray[np.float64]


def whole_losses(record: LabRecord) -> NDArray[np.float64]:
    """Every query's loss under models of all works, of other seeds: (Q,), relative."""
    removals = read_removals(REFERENCE / "removals.safetensors")
    weights = record.timestep_weights("relative")
    losses: NDArray[np.float64] = removals.losses[removals.rows(NOTHING)].astype(np.float64) @ weights
    return losses.mean(axis=0) / len(weights)


def mapped(record: LabRecord, scores: MethodScores, whole: NDArray[np.float64]) -> Mapped:
    """Fit on every second judging subset, test on the others; generated queries that were scored."""
    generated = record.query_rows("generated")
    rows = [int(row) for row in np.intersect1d(generated, scores.rows)]
    retrained = record.retrained("generated")
    columns = np.searchsorted(generated, rows)
    values = scores.of_rows(rows)

    def part(start: int) -> RetrainedModels:
        places = slice(CHOOSING + start, None, 2)
        return RetrainedModels(retrained.subsets[places], retrained.losses[places][:, :, columns])

    fitting, testing = part(0), part(1)
    expected = fit_expected_change(
        values,
        fitting,
        whole_loss=float(whole[rows].mean()),
        comparable=scores.method in CONSENSUSES,
    )
    predicted = predicted_losses(expected, values, testing.subsets)
    measured = testing.losses.mean(axis=1)
    return Mapped(
        scores.method,
        expected,
        check_scale(predicted, testing, seed=SEED),
        expected.of(values),
        predicted - predicted.mean(axis=0),
        measured - measured.mean(axis=0),
    )


def row(found: Mapped, noise: MethodScores | None) -> dict[str, Any]:
    """One method."""
    spread = concentration(found.changes)
    listed: dict[str, Any] = {
        "method": found.method,
        "queries": len(found.changes),
        "slope": found.test.slope.value,
        "slope_low": found.test.slope.low,
        "slope_high": found.test.slope.high,
        "explained": found.test.explained,
        "correlation": found.test.correlation,
        "correlation_of_ceiling": found.test.correlation / found.test.ceiling,
        "first_work": float(found.changes.max(axis=1).mean()),
        "any_work": found.expected.common,
        "all_works": float(found.changes.sum(axis=1).mean()),
        "concentration": float(spread.mean()),
        "heights": list(found.expected.heights),
    }
    if noise is not None:
        of_noise = concentration(found.expected.of(noise.values.astype(np.float64)))
        listed |= {"concentration_noise": float(of_noise.mean()), "noise_queries": len(of_noise)}
    return listed


def figures(by_name: dict[str, Mapped], noise: Mapping[str, MethodScores]) -> dict[str, Figure]:
    """What the maps must do."""
    slope = by_name[OURS].test.slope
    found = {
        "slope": Figure(
            slope.value,
            low=slope.low,
            high=slope.high,
            what=f"measured over foretold ΔL of {OURS}, on subsets that it was not fitted on (1 is right)",
        ),
        "random_explained": Figure(
            by_name["random"].test.explained,
            target="<= 0.03",
            what="control: what random scores explain",
        ),
    }
    for key, name in CONCENTRATED.items():
        mapped_to = by_name[name]
        of_noise = concentration(mapped_to.expected.of(noise[name].values.astype(np.float64)))
        found[f"noise_{key}"] = Figure(
            float(of_noise.mean()),
            low=float(of_noise.min()),
            high=float(of_noise.max()),
            target="<= 0.01",
            what=f"concentration of {len(of_noise)} pictures of noise, least and most ({name})",
        )
        found[f"generated_{key}"] = Figure(
            float(concentration(mapped_to.changes).mean()), what=f"the same of generated pictures ({name})"
        )
    return found


def map_of_all(record: LabRecord, scores: MethodScores, whole: NDArray[np.float64]) -> ExpectedChange:
    """A consensus's map, fitted on all subsets: for labels, which are of other pictures."""
    generated = record.query_rows("generated")
    rows = [int(row) for row in np.intersect1d(generated, scores.rows)]
    retrained = record.retrained("generated")
    losses = retrained.losses[:, :, np.searchsorted(generated, rows)]
    return fit_expected_change(
        scores.of_rows(rows),
        RetrainedModels(retrained.subsets, losses),
        whole_loss=float(whole[rows].mean()),
        comparable=True,
    )


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    scores = read_all_scores(REFERENCE / "scores", record)
    noise, whole = read_all_scores(REFERENCE / "noise", record), whole_losses(record)
    for name, members in CONSENSUSES.items():
        if set(members) <= set(noise):
            noise[name] = consensus_scores(name, noise)
    found = {name: mapped(record, scores[name], whole) for name in METHODS if name in scores}
    write_maps({name: map_of_all(record, scores[name], whole) for name in CONSENSUSES})
    write_result(
        "one-unit",
        command=COMMAND,
        seed=SEED,
        figures=figures(found, noise),
        rows=[row(one, noise.get(name)) for name, one in found.items()],
    )
    plot_expected_changes(
        [
            (found[name].method, found[name].predicted, found[name].measured)
            for name in (OURS, "abu-plus", "random")
        ]
    )


if __name__ == "__main__":
    main()
