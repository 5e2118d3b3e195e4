"""Part of `make lab`: contributors' shares against models that were trained without all their works.

Writes `contributors.json`; nothing where no such model is recorded. Sums are of expected ΔL, mapped as in
`one_unit`, over all subsets. The controls: how many works one has, and random scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import standardised
from creditline.attribution.methods.hyperparameters import CONSENSUSES
from creditline.attribution.unlearning.groups import group_sums
from creditline.corpus.works import Corpus
from creditline.evaluation.lab.common_scale import fit_expected_change
from creditline.evaluation.lab.judging.groups import (
    SEED,
    GroupAgreement,
    GroupScores,
    group_agreement,
    read_group_scores,
    rows_by_contributor,
)
from creditline.evaluation.lab.judging.scoring import MethodScores, read_all_scores
from creditline.evaluation.lab.plan import draw_works
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.removal.counterfactuals import Counterfactuals
from creditline.evaluation.lab.removal.removals import read_removals
from creditline.evaluation.lab.setting import REFERENCE
from creditline.evaluation.lds import RetrainedModels
from creditline.generator.reference import reference_corpus
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
SUMMED = (
    "consensus",
    "consensus-fast",
    "consensus-gradients",
    "abu-plus",
    "d-trak",
    "text-sharpened",
    "random",
)
SHARES = "expected ΔL, summed (consensus)"


def mapped_scores(record: LabRecord, scores: MethodScores, rows: Sequence[int]) -> NDArray[np.float64]:
    """Expected ΔL of every work for some generated queries, by the map of all subsets: (rows, N)."""
    columns = np.searchsorted(record.query_rows("generated"), rows)
    retrained = record.retrained("generated")
    values = scores.of_rows(rows)
    fitted = fit_expected_change(
        values,
        RetrainedModels(retrained.subsets, retrained.losses[:, :, columns]),
        comparable=scores.method in CONSENSUSES,
    )
    return fitted.of(values)


def predicted(
    record: LabRecord,
    scores: Mapping[str, MethodScores],
    guda: GroupScores,
    works: Corpus,
    rows: Sequence[int],
) -> dict[str, NDArray[np.float64]]:
    """What each way foretells of every contributor: name -> (rows, G)."""
    groups = rows_by_contributor([work.contributor for work in works], guda.contributors)
    found: dict[str, NDArray[np.float64]] = {}
    for name in SUMMED:
        found[f"expected ΔL, summed ({name})"] = group_sums(mapped_scores(record, scores[name], rows), groups)
    found["scores, summed (consensus)"] = group_sums(standardised(scores["consensus"].of_rows(rows)), groups)
    found |= {name: values[list(rows)].astype(np.float64) for name, values in guda.values.items()}
    sizes = np.array([float(len(group)) for group in groups])
    found["number of works"] = np.broadcast_to(sizes, (len(rows), len(groups))).copy()
    return found


def row(name: str, agreement: GroupAgreement) -> dict[str, Any]:
    """One way."""
    listed: dict[str, Any] = {"way": name}
    for key in ("by_query", "by_contributor"):
        estimate = getattr(agreement, key)
        listed |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
    return listed


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    scores = read_all_scores(REFERENCE / "scores", record)
    changes = Counterfactuals(record, read_removals(REFERENCE / "removals.safetensors")).contributor_changes()
    guda = read_group_scores(REFERENCE / "contributors.safetensors")
    places = [place for place, name in enumerate(guda.contributors) if name in changes]
    if not places:
        print("no model without a contributor is recorded yet: `make lab-train` makes them")
        return
    guda = GroupScores(
        tuple(guda.contributors[place] for place in places),
        {name: values[:, places] for name, values in guda.values.items()},
    )
    generated = {int(query) for query in record.query_rows("generated")}
    rows = sorted(generated.intersection(*(scores[name].rows for name in SUMMED)))
    measured = np.stack([changes[name] for name in guda.contributors], axis=1)[rows]
    works, _ = draw_works(reference_corpus(), record.plan)
    agreements = {
        name: group_agreement(values, measured)
        for name, values in predicted(record, scores, guda, works, rows).items()
    }
    ours = agreements[SHARES]
    write_result(
        "contributors",
        command=COMMAND,
        seed=SEED,
        figures={
            "sums_by_contributor": Figure(
                ours.by_contributor.value,
                low=ours.by_contributor.low,
                high=ours.by_contributor.high,
                target="> 0",
                what="rank correlation with retraining: which pictures owe one (mean over contributors)",
            ),
            "sums_by_query": Figure(
                ours.by_query.value,
                low=ours.by_query.low,
                high=ours.by_query.high,
                what="the same: whom a picture owes (mean over pictures)",
            ),
            "contributors": Figure(len(places), target=">= 12", what="contributors that were left out"),
            "queries": Figure(len(rows), what="generated queries"),
        },
        rows=[row(name, agreement) for name, agreement in agreements.items()],
    )


if __name__ == "__main__":
    main()
