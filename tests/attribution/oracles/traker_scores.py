"""Makes `traker.safetensors`: TRAK scores by traker's own score computer, for `traker_setting`'s cases.

Run it from the repository's root with an interpreter that has traker (0.3.2 made what is committed):
`python -m tests.attribution.oracles.traker_scores`. Its features are X (XᵀX + λ)⁻¹, its scores their products
with the queries' gradients; weighting by the loss's slope, which TRAK adds for classifiers, is left out.
"""

from __future__ import annotations

import numpy as np
import torch
from safetensors.numpy import save_file
from trak.score_computers import BasicScoreComputer

from tests.attribution.oracles.traker_setting import CASES, ORACLE


def main() -> None:
    scores = {}
    for case in CASES:
        works, queries = (torch.from_numpy(rows) for rows in case.gradients())
        computer = BasicScoreComputer(torch.float32, "cpu", lambda_reg=case.regularisation)
        features = computer.get_x_xtx_inv(works, computer.get_xtx(works))
        accumulator = torch.zeros(len(works), len(queries))
        computer.get_scores(features, queries, accumulator)
        scores[str(case)] = np.ascontiguousarray(accumulator.numpy().T)
    save_file(scores, ORACLE)
    print(f"{len(scores)} cases in {ORACLE}")


if __name__ == "__main__":
    main()
