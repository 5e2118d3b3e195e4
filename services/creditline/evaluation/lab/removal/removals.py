"""Leave-K-out: the lab's generator trained again without some works, and what it then makes of the queries.

A removal names the works that a model must do without and why: a method's first K for one query, K random
works, all works of one contributor, or none (what training again does by itself). All models of removals are
trained from one seed that is not the generator's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from creditline.build_lock import build_lock
from creditline.corpus.works import Corpus
from creditline.device_setting import CPU
from creditline.errors import NotReady
from creditline.evaluation.lab.judging.scoring import MethodScores
from creditline.evaluation.lab.plan import LabPlan, ModelJob
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lab.retraining.models import spread
from creditline.evaluation.lab.retraining.workshop import Workshop, load_weights, train_model, write_losses
from creditline.evaluation.lab.tensor_file import read_arrays, write_arrays
from creditline.files import replace_file
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Generator

RETRAINING_SEED = 1
RANDOM, NOTHING, CONTRIBUTOR = "random", "nothing", "contributor"


@dataclass(frozen=True)
class Removal:
    """reason: a method's name, "random", "nothing" or "contributor"; subject: a query's id or a contributor.

    rows: the lab's works that are left out; queries: ids of those whose pictures are made again.
    """

    name: str
    reason: str
    subject: str
    rows: tuple[int, ...]
    queries: tuple[str, ...]
    seed: int = RETRAINING_SEED

    def job(self, works: int) -> ModelJob:
        """The model to train: on all works but these."""
        removed = set(self.rows)
        kept = tuple(row for row in range(works) if row not in removed)
        return ModelJob(f"without-{self.name}", kept, self.seed)


def method_removals(
    method: str, scores: NDArray[np.float64], queries: Sequence[str], count: int
) -> list[Removal]:
    """One removal a query: the `count` works that the method ranks first. scores: (queries, N)."""
    return [
        Removal(
            f"{method}-{query}",
            method,
            query,
            tuple(int(row) for row in np.sort(np.argsort(-row_scores, kind="stable")[:count])),
            (query,),
        )
        for query, row_scores in zip(queries, scores, strict=True)
    ]


def random_removals(
    works: int, count: int, models: int, queries: Sequence[str], *, seed: int
) -> list[Removal]:
    """Models without `count` random works each, the control of every query."""
    random = np.random.default_rng(seed)
    return [
        Removal(
            f"{RANDOM}-{number}",
            RANDOM,
            "",
            tuple(int(row) for row in np.sort(random.permutation(works)[:count])),
            tuple(queries),
        )
        for number in range(models)
    ]


def nothing_removed(queries: Sequence[str], seeds: Sequence[int]) -> list[Removal]:
    """Models of all works from other seeds: what training again does by itself."""
    return [Removal(f"{NOTHING}-{seed}", NOTHING, "", (), tuple(queries), seed) for seed in seeds]


def contributor_removals(works: Corpus, count: int) -> list[Removal]:
    """The `count` contributors with most works, each with all its works."""
    by_contributor: dict[str, list[int]] = {}
    for row, work in enumerate(works.works):
        by_contributor.setdefault(work.contributor, []).append(row)
    leading = sorted(by_contributor.items(), key=lambda item: (-len(item[1]), item[0]))[:count]
    return [
        Removal(f"{CONTRIBUTOR}-{number:02d}", CONTRIBUTOR, name, tuple(rows), ())
        for number, (name, rows) in enumerate(leading)
    ]


@dataclass(frozen=True)
class RemovalPlan:
    """Which removals a lab tries. The K works are a twentieth of all."""

    queries: int = 12
    random_models: int = 4
    contributors: int = 12
    nothing_seeds: tuple[int, ...] = (1, 2, 3)
    seed: int = 77

    def query_rows(self, record: LabRecord) -> list[int]:
        """Generated queries, every so many."""
        return record.spread_rows(self.queries, ["generated"])

    def removals(self, record: LabRecord, works: Corpus, scores: Mapping[str, MethodScores]) -> list[Removal]:
        """Controls first, then query by query what each method ranks first, then contributors.

        Raises InvalidInput when a method did not score one of the queries.
        """
        rows = self.query_rows(record)
        queries, count = [record.queries[row].id for row in rows], len(works) // 20
        by_method = [
            method_removals(name, method.of_rows(rows), queries, count) for name, method in scores.items()
        ]
        return [
            *nothing_removed(queries, self.nothing_seeds),
            *random_removals(len(works), count, self.random_models, queries, seed=self.seed),
            *(removal for of_query in zip(*by_method, strict=True) for removal in of_query),
            *contributor_removals(works, self.contributors),
        ]


def retrain_without(
    directory: Path,
    corpus: Corpus,
    plan: LabPlan,
    removals: Sequence[Removal],
    *,
    workers: int,
    device: str = CPU,
) -> None:
    """Train every removal's model, resuming at any; writes its queries' losses and pictures."""
    spread(_retrain_share, (directory, corpus, plan, tuple(removals), workers, device), workers)


def _retrain_share(
    worker: int,
    directory: Path,
    corpus: Corpus,
    plan: LabPlan,
    removals: tuple[Removal, ...],
    workers: int,
    device: str,
) -> None:
    """Every `workers`-th removal, beginning with number `worker`."""
    torch.set_num_threads(1)
    workshop = Workshop.open(directory, corpus, plan, device=device)
    examples, share = workshop.examples(), removals[worker::workers]
    with workshop.open_generator(workshop.generator) as generator:
        for number, removal in enumerate(share):
            _retrain_one(workshop, generator, examples, removal)
            print(f"{worker}: {removal.name} done ({number + 1} of {len(share)})", flush=True)


def _retrain_one(workshop: Workshop, generator: Generator, examples: Examples, removal: Removal) -> None:
    with build_lock(pictures_path(workshop, removal)):
        if not _retrained(workshop, removal):
            _retrain_and_sample(workshop, generator, examples, removal)


def _retrained(workshop: Workshop, removal: Removal) -> bool:
    job = removal.job(len(workshop.works))
    return workshop.losses(job).exists() and pictures_path(workshop, removal).exists()


def _retrain_and_sample(
    workshop: Workshop, generator: Generator, examples: Examples, removal: Removal
) -> None:
    job, pictures = removal.job(len(workshop.works)), pictures_path(workshop, removal)
    load_weights(generator, train_model(workshop, job, lambda line: None))
    write_losses(workshop, generator, examples, job)
    asked = [query for query in workshop.queries if query.id in removal.queries]
    made = generator.sample([query.prompt for query in asked], [query.seed for query in asked])
    arrays: dict[str, Any] = {
        query.id: np.asarray(picture) for query, picture in zip(asked, made, strict=True)
    }
    with replace_file(pictures) as draft:
        np.savez(draft, **arrays)


def pictures_path(workshop: Workshop, removal: Removal) -> Path:
    """Where the pictures are that a removal's model made of its queries."""
    return workshop.directory / "losses" / f"without-{removal.name}.npz"


@dataclass(frozen=True)
class RemovalRecord:
    """What the models of removals say. losses: (R, Q, timesteps) float32, of all the lab's queries.

    pictures: for each removal, each of its queries' picture made again, (H, W, 3) uint8.
    """

    removals: tuple[Removal, ...]
    losses: NDArray[np.float32]
    pictures: tuple[dict[str, NDArray[np.uint8]], ...]

    def rows(self, reason: str) -> list[int]:
        """The removals of one reason."""
        return [row for row, removal in enumerate(self.removals) if removal.reason == reason]


def collect_removals(workshop: Workshop, removals: Sequence[Removal]) -> RemovalRecord:
    """Those whose model is done. Raises NotReady when none is."""
    works = len(workshop.works)
    done = [removal for removal in removals if _retrained(workshop, removal)]
    if not done:
        raise NotReady(f"{workshop.directory} holds no models of removals; run `creditline lab remove`")
    losses = np.stack([np.load(workshop.losses(removal.job(works))) for removal in done])
    pictures = []
    for removal in done:
        with np.load(pictures_path(workshop, removal)) as stored:
            pictures.append({query: stored[query] for query in stored.files})
    return RemovalRecord(tuple(done), losses.astype(np.float32), tuple(pictures))


def write_removals(record: RemovalRecord, path: Path) -> None:
    """One safetensors file."""
    tensors: dict[str, NDArray[Any]] = {"losses": record.losses}
    for removal, pictures in zip(record.removals, record.pictures, strict=True):
        tensors |= {f"{removal.name}|{query}": picture for query, picture in pictures.items()}
    metadata = {"removals": json.dumps([asdict(removal) for removal in record.removals], ensure_ascii=False)}
    write_arrays(path, tensors, metadata)


def read_removals(path: Path) -> RemovalRecord:
    """Raises NotReady when there is none, InvalidInput when it is cut off."""
    tensors, metadata = read_arrays(path, what="record of removals", command="creditline lab remove")
    removals = tuple(removal_from_json(content) for content in json.loads(metadata["removals"]))
    pictures = tuple(
        {query: tensors[f"{removal.name}|{query}"] for query in removal.queries} for removal in removals
    )
    return RemovalRecord(removals, tensors["losses"], pictures)


def removal_from_json(content: dict[str, object]) -> Removal:
    """From `asdict` after JSON, where tuples have become lists."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Removal(**values)  # type: ignore[arg-type]
