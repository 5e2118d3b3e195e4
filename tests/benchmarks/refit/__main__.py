"""Fit the packaged release's agreement of pictures with prompts, and its figures (a minute).

Run `make refit` after the labels, the corpus or the towers have changed. Features are computed by the
release's towers, from the committed labels that its encoder was trained on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from creditline.distillation.assessment.prompt_swaps import prompt_swap_figures
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.assessment.uncertainty import fit_prompt_agreement
from creditline.distillation.labels.label_set import TRAIN, read_labels
from creditline.distillation.training.feature_store import FeatureStore
from creditline.errors import FingerprintMismatch
from creditline.evaluation.bootstrap import Estimate
from creditline.generator.reference import reference_corpus
from creditline.release import EVALUATION, PROMPT_AGREEMENT, open_release, write_manifest
from creditline.release.manifest import packaged_release_directory
from creditline.towers.towers import Towers
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make refit"
SEED = 17
_LABELS = Path(__file__).parents[1] / "reference-labels"
_TARGETS = {"prompt_swap_found": ">= 0.8"}
_WHAT = {
    "prompt_swap_found": "prompts swapped for another query's, drawn uniformly, flagged at 5 % false alarms;"
    " 400 held-out generated pictures",
    "prompt_swap_false_alarms": "genuine pairs flagged, judged by the other half of them",
    "prompt_swap_auroc": "genuine pairs against swapped ones",
}


def refit(directory: Path) -> dict[str, Estimate]:
    """Replace the agreement of a release and its figures; returns the figures.

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
    held_out = held_out_queries(labels, corpus, None, store)
    known = store.queries(labels.queries)[labels.rows(TRAIN)]
    agreement = fit_prompt_agreement(known, held_out, seed=SEED)
    assert agreement is not None, "the packaged release has pictures and prompts enough"
    agreement.save(directory / PROMPT_AGREEMENT)
    figures = prompt_swap_figures(agreement, held_out.queries, seed=SEED)
    _state(directory, figures)
    return figures


def _state(directory: Path, figures: dict[str, Estimate]) -> None:
    """Write the figures into the release's evaluation, and the manifest of its files."""
    path, stated = directory / EVALUATION, {name: asdict(figure) for name, figure in figures.items()}
    path.write_text(json.dumps({**json.loads(path.read_text()), **stated}, indent=1) + "\n")
    release = open_release(directory)
    values = {name: figure.value for name, figure in figures.items()}
    write_manifest(
        directory, {**release.description, "figures": {**release.description["figures"], **values}}
    )


def main() -> None:
    """Refit the packaged release, and write the figures."""
    figures = refit(packaged_release_directory())
    written = {
        name: Figure(figure.value, "share", figure.low, figure.high, _TARGETS.get(name), what=_WHAT[name])
        for name, figure in figures.items()
    }
    for name, figure in written.items():
        print(f"{name}: {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})  {figure.what}")
    write_result("serving", COMMAND, SEED, written, [], merge=True)


if __name__ == "__main__":
    main()
