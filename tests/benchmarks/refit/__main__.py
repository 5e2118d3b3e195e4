"""Fit all of the packaged release that is fitted on its encoder, and its figures (minutes).

That is the calibration with its ranges, the out-of-distribution detector, the agreement of pictures with
prompts, the imputation of one from the other, and the calibrations of each alone.

Run `make refit` after the labels, the corpus or the towers have changed. Features are computed by the
release's towers, from the committed labels.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.distillation.assessment.halves_figures import halves_figures, prompt_part_figures
from creditline.distillation.assessment.halves_fitting import fit_halves
from creditline.distillation.assessment.held_out import HeldOut, assess
from creditline.distillation.assessment.prompt_swaps import prompt_swap_figures
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.assessment.transfer import transfer_figures
from creditline.distillation.assessment.uncertainty import Uncertainty, fit_uncertainty
from creditline.distillation.labels.label_set import HELD_OUT, TRAIN, TRANSFER, LabelSet, read_labels
from creditline.distillation.release.model_card import HISTORY, model_card
from creditline.distillation.training.feature_store import FeatureStore
from creditline.encoder.encoder import Encoder
from creditline.encoder.imputation import Imputation
from creditline.errors import FingerprintMismatch
from creditline.evaluation.bootstrap import Estimate
from creditline.generator.reference import reference_corpus, reference_decoys
from creditline.release import (
    CALIBRATION,
    ENCODER,
    EVALUATION,
    IMPUTATION,
    INTERVALS,
    MODEL_CARD,
    OOD_DETECTOR,
    PROMPT_AGREEMENT,
    open_release,
    write_manifest,
)
from creditline.release.manifest import packaged_release_directory
from creditline.towers.towers import Towers
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make refit"
SEED = 17
_LABELS = Path(__file__).parents[1] / "reference-labels"
_TRANSFER_LABELS = _LABELS.with_name("transfer-labels")
_TARGETS = {"prompt_swap_found": ">= 0.8"}
_WHAT = {
    "prompt_swap_found": "prompts swapped for another query's, drawn uniformly, flagged at 5 % false alarms;"
    " 400 held-out generated pictures",
    "prompt_swap_false_alarms": "genuine pairs flagged, judged by the other half of them",
    "prompt_swap_auroc": "genuine pairs against swapped ones",
    "picture_alone_ndcg100": "answers from pictures alone: agreement with the teacher; 400 held-out queries",
    "picture_alone_recall10": "of the ten most influential works, those among the first ten; pictures alone",
    "prompt_alone_ndcg100": "the same of prompts alone",
    "prompt_alone_recall10": "the same of prompts alone",
    "picture_and_prompt_ndcg100": "the same of ordinary answers",
    "picture_and_prompt_recall10": "the same of ordinary answers",
    "picture_alone_remainder": "stated remainder of answers from pictures alone, by the other half",
    "picture_alone_remainder_true": "the same by the teacher",
    "picture_alone_calibration_error": "of pictures alone, as encoder.calibration_error",
    "picture_alone_coverage": "works in their 90 % intervals in answers from pictures alone",
    "prompt_part": "part of the listed shares that rests on the prompt; genuine queries",
    "prompt_part_by_swaps": "the same by what swaps of pictures and of prompts do to these shares",
    "prompt_part_correlation": "Spearman over listed works of the parts as stated and by swaps",
    "prompt_part_swapped": "prompts of other queries; above 1: the picture speaks against the listed works",
    "prompt_part_auroc": "works of the picture's and of the prompt's own answer told apart by their parts, in"
    " swapped queries that list both",
    "prompt_part_auroc_queries": "swapped queries of 400 that list works of both; exact",
    "prompt_part_noise": "noise as the picture, with the prompts of 100 held-out queries",
    "prompt_part_wordless": "pictures of 100 held-out queries with the prompt “a picture”",
    "prompt_part_noise_by_swaps": "the same by what swaps do to these shares",
    "prompt_part_wordless_by_swaps": "the same by what swaps do to these shares",
}
_CONTROLS = 100
_NOISE_PIXELS = 64
_WORDLESS = "a picture"


def refit(directory: Path) -> dict[str, Estimate]:
    """Replace all of a release that is fitted on its encoder, and its figures.

    Returns:
        Figures of pictures and prompts, by their benchmark names.

    Args:
        directory: Directory of the release.

    Raises:
        FingerprintMismatch: Corpus, labels or towers are not those of the release.
    """
    release, corpus, towers = open_release(directory), reference_corpus(), Towers.open()
    release.verify_files()
    labels = read_labels(_LABELS)
    for name, ours, theirs in (
        ("corpus", corpus.fingerprint, release.corpus_fingerprint),
        ("labels' generator", labels.generator_fingerprint, release.generator_fingerprint),
        ("towers", towers.fingerprint, release.towers_fingerprint),
    ):
        if ours != theirs:
            raise FingerprintMismatch(
                f"the {name} is {ours[:16]}…, that of release {release.name!r} {theirs[:16]}…; check out the"
                " files that belong together",
                field=name,
            )
    store = FeatureStore(towers, None, print)
    held_out = held_out_queries(labels, corpus, reference_decoys(), store)
    transfer = held_out_queries(read_labels(_TRANSFER_LABELS), corpus, None, store, TRANSFER)
    known = store.queries(labels.queries)[labels.rows(TRAIN)]
    fingerprint, encoder = release.files[ENCODER], Encoder.load(directory / ENCODER)
    holders = tuple(work.keyed_holders for work in corpus)
    uncertainty = fit_uncertainty(encoder, known, held_out, holders, seed=SEED)
    agreement = uncertainty.prompt_agreement
    assert agreement is not None, "the packaged release has pictures and prompts enough"
    _save(uncertainty, directory, fingerprint)
    halves = fit_halves(encoder, known, held_out, holders, seed=SEED)
    assert halves is not None, "the packaged release has pictures and prompts enough"
    halves.save(directory, encoder=fingerprint)
    imputation = Imputation.load(directory / IMPUTATION)
    figures = {
        **prompt_swap_figures(agreement, held_out.queries, seed=SEED),
        **halves_figures(encoder, imputation, held_out, seed=SEED),
    }
    controls = _controls(towers, labels)
    figures |= prompt_part_figures(encoder, imputation, held_out, controls, seed=SEED)
    _state(directory, {**_agreement_figures(encoder, held_out, transfer, uncertainty), **figures})
    return figures


def _save(uncertainty: Uncertainty, directory: Path, encoder: str) -> None:
    """Write calibration, ranges and both detectors.

    Args:
        uncertainty: What was fitted.
        directory: Directory of the release.
        encoder: SHA-256 of the encoder's file that it was fitted on.
    """
    assert uncertainty.ood_detector is not None, "the packaged release has pictures enough"
    assert uncertainty.prompt_agreement is not None, "the packaged release has prompts enough"
    (directory / CALIBRATION).write_text(uncertainty.calibration.to_json() + "\n")
    (directory / INTERVALS).write_text(uncertainty.intervals.to_json() + "\n")
    uncertainty.ood_detector.save(directory / OOD_DETECTOR)
    replace(uncertainty.prompt_agreement, encoder=encoder).save(directory / PROMPT_AGREEMENT)


def _agreement_figures(
    encoder: Encoder, held_out: HeldOut, transfer: HeldOut, uncertainty: Uncertainty
) -> dict[str, Estimate]:
    """Agreement with the teacher on usual queries and on those of another kind."""
    return {
        **assess(encoder, held_out, seed=SEED).figures,
        **transfer_figures(encoder, transfer, uncertainty.intervals, seed=SEED),
    }


def _controls(towers: Towers, labels: LabelSet) -> dict[str, NDArray[np.float32]]:
    """Joined features of queries with one half that says nothing, by kind."""
    queries = [labels.queries[row] for row in labels.rows(HELD_OUT)[:_CONTROLS]]
    rng = np.random.default_rng(SEED)
    size = (len(queries), _NOISE_PIXELS, _NOISE_PIXELS, 3)
    noise = [Image.fromarray(pixels) for pixels in rng.integers(0, 256, size, dtype=np.uint8)]
    return {
        "noise": towers.features(noise, [query.prompt for query in queries]),
        "wordless": towers.features([query.image() for query in queries], [_WORDLESS] * len(queries)),
    }


def _state(directory: Path, figures: dict[str, Estimate]) -> None:
    """Write the figures into the release's evaluation and model card, and the manifest of its files."""
    path, stated = directory / EVALUATION, {name: asdict(figure) for name, figure in figures.items()}
    path.write_text(json.dumps({**json.loads(path.read_text()), **stated}, indent=1) + "\n")
    release = open_release(directory)
    values = {name: figure.value for name, figure in figures.items()}
    description = {**release.description, "figures": {**release.description["figures"], **values}}
    card = directory / MODEL_CARD
    history = card.read_text().split(f"{HISTORY}\n", 1)[1].split("\n\n## Figures\n", 1)[0]
    card.write_text(model_card(description, history))
    write_manifest(directory, description)


def _figure(name: str, estimate: Estimate) -> Figure:
    """A figure as result files hold it; without an interval where all queries have the same value."""
    unit = "queries" if name.endswith("_queries") else "share"
    spans = estimate.low < estimate.high
    low, high = (estimate.low, estimate.high) if spans else (None, None)
    return Figure(estimate.value, unit, low, high, _TARGETS.get(name), what=_WHAT[name])


def main() -> None:
    """Refit the packaged release, and write the figures."""
    figures = refit(packaged_release_directory())
    written = {name: _figure(name, figure) for name, figure in figures.items()}
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})  {_WHAT[name]}")
    write_result("serving", COMMAND, SEED, written, [], merge=True)


if __name__ == "__main__":
    main()
