"""How much of the credit goes to decoys, and whether a work's own loss can tell them from works."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from creditline.attribution.membership import DRAWS, Membership, own_losses
from creditline.attribution.unlearning.teacher import encode_works
from creditline.files import replace_file
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus, reference_decoys
from tests.benchmarks.reference_parts import generator_directory
from tests.benchmarks.result_files import REPOSITORY

_KEPT = REPOSITORY / "runs" / "own-losses.npz"
_FOLDS = 5


def measured_losses() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Own losses of all works and of all decoys of the reference generator, kept: (N, T), (D, T)."""
    with Generator.open(generator_directory(None)) as generator:
        made_of = generator.fingerprint, repr(DRAWS)
        if _KEPT.is_file():
            with np.load(_KEPT) as kept:
                if "draws" in kept and (str(kept["generator"]), str(kept["draws"])) == made_of:
                    return kept["works"], kept["decoys"]
        works, decoys = (
            own_losses(generator, encode_works(generator, corpus.works))
            for corpus in (reference_corpus(), reference_decoys())
        )
        _KEPT.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(_KEPT) as draft:
            np.savez(draft, generator=made_of[0], draws=made_of[1], works=works, decoys=decoys)
    return works, decoys


def membership_probabilities(odds: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """That each work, and each decoy, was trained on, at such odds before any loss is seen: (N,), (D,).

    Each is judged by a fit on four fifths of the duplicate groups, its own not among them.
    """
    works, decoys = measured_losses()
    losses = np.concatenate([works, decoys])
    is_member = np.repeat([True, False], [len(works), len(decoys)])
    groups = [work.duplicate_group for work in (*reference_corpus(), *reference_decoys())]
    found = np.empty(len(losses))
    for fitted, judged in GroupKFold(_FOLDS, shuffle=True, random_state=0).split(losses, is_member, groups):
        members, strangers = fitted[is_member[fitted]], fitted[~is_member[fitted]]
        found[judged] = Membership.fit(losses[members], losses[strangers]).probability(
            losses[judged], odds=odds
        )
    return found[: len(works)], found[len(works) :]


def auroc(members: Sequence[float] | NDArray[np.float64], strangers: NDArray[np.float64]) -> float:
    """How well probabilities tell members from strangers."""
    labels = [1] * len(members) + [0] * len(strangers)
    return float(roc_auc_score(labels, np.concatenate([members, strangers])))
