"""Leave-K-out: the lab's generator retrained without some works, and its losses and pictures of the queries.

A removal names the works that a model is trained without, and the reason: the first K works of a method for
one query, K random works, all works of one contributor, or no works (the effect of retraining as such). All
models of removals are trained from one seed, which differs from the generator's.
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
from creditline.files import replace_file
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Generator
from creditline.tensor_files import read_artifact, write_arrays

RETRAINING_SEED = 1
RANDOM, NOTHING, CONTRIBUTOR = "random", "nothing", "contributor"


@dataclass(frozen=True)
class Removal:
    """Works that a model is trained without."""

    name: str
    """Name of the removal, used in file names."""
    reason: str
    """Name of a method, or "random", "nothing" or "contributor"."""
    subject: str
    """Id of the query for a method, name of the contributor for "contributor", else empty."""
    rows: tuple[int, ...]
    """Rows of the lab's works that are left out."""
    queries: tuple[str, ...]
    """Ids of the queries whose pictures are generated again."""
    seed: int = RETRAINING_SEED
    """Seed of the model."""

    def job(self, works: int) -> ModelJob:
        """The model to train, on all of the lab's `works` works except the removed ones."""
        removed = set(self.rows)
        kept = tuple(row for row in range(works) if row not in removed)
        return ModelJob(f"without-{self.name}", kept, self.seed)


def method_removals(
    method: str, scores: NDArray[np.float64], queries: Sequence[str], count: int
) -> list[Removal]:
    """One removal per query: the `count` works that a method ranks first.

    Args:
        method: Name of the method.
        scores: (queries, N) float64, scores of the works for each query.
        queries: Ids of the queries.
        count: Number of works to remove.
    """
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
    """Removals of random works, the control for every query.

    Args:
        works: Number of works in the lab.
        count: Number of works to remove.
        models: Number of removals.
        queries: Ids of the queries whose pictures are generated again.
        seed: Seed of the random works.
    """
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
    """Models of all works from other seeds, which show the effect of retraining as such."""
    return [Removal(f"{NOTHING}-{seed}", NOTHING, "", (), tuple(queries), seed) for seed in seeds]


def contributor_removals(works: Corpus, count: int, seed: int = RETRAINING_SEED) -> list[Removal]:
    """One removal for each of the `count` contributors with the most works: all works of the contributor.

    Args:
        works: The lab's works.
        count: Number of contributors.
        seed: Seed of the models; a seed other than `RETRAINING_SEED` is part of the removals' names.
    """
    by_contributor: dict[str, list[int]] = {}
    for row, work in enumerate(works.works):
        by_contributor.setdefault(work.contributor, []).append(row)
    leading = sorted(by_contributor.items(), key=lambda item: (-len(item[1]), item[0]))[:count]
    again = "" if seed == RETRAINING_SEED else f"-seed-{seed}"
    return [
        Removal(f"{CONTRIBUTOR}-{number:02d}{again}", CONTRIBUTOR, name, tuple(rows), (), seed)
        for number, (name, rows) in enumerate(leading)
    ]


@dataclass(frozen=True)
class RemovalPlan:
    """The removals of a lab; K is a twentieth of all works."""

    queries: int = 12
    """Number of generated queries for which each method's first works are removed."""
    random_models: int = 4
    """Number of models without K random works."""
    contributors: int = 40
    """Number of contributors whose works are removed."""
    contributor_seeds: tuple[int, ...] = (RETRAINING_SEED,)
    """Seeds of the models without a contributor."""
    nothing_seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the models of all works."""
    seed: int = 77
    """Seed of the random works."""

    def query_rows(self, record: LabRecord) -> list[int]:
        """Rows of the generated queries, evenly spaced."""
        return record.spread_rows(self.queries, ["generated"])

    def removals(self, record: LabRecord, works: Corpus, scores: Mapping[str, MethodScores]) -> list[Removal]:
        """All removals: controls first, then each method's first works query by query, then contributors.

        Args:
            record: The lab's record.
            works: The lab's works.
            scores: Scores of the methods, by name.

        Raises:
            InvalidInput: A method did not score one of the queries.
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
            *(
                removal
                for seed in self.contributor_seeds
                for removal in contributor_removals(works, self.contributors, seed)
            ),
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
    """Train the model of every removal; write the losses and pictures of its queries.

    An interrupted run resumes at the first missing model.

    Args:
        directory: The lab's directory.
        corpus: The corpus from which the lab's works were drawn.
        plan: Sizes and seeds of the lab.
        removals: The removals.
        workers: Number of processes, of one thread each.
        device: Device on which the models run.
    """
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
    """Train every `workers`-th removal, starting with number `worker`."""
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
    queries = [query for query in workshop.queries if query.id in removal.queries]
    generated = generator.sample([query.prompt for query in queries], [query.seed for query in queries])
    arrays: dict[str, Any] = {
        query.id: np.asarray(picture) for query, picture in zip(queries, generated, strict=True)
    }
    with replace_file(pictures) as draft:
        np.savez(draft, **arrays)


def pictures_path(workshop: Workshop, removal: Removal) -> Path:
    """Path of the pictures that the model of a removal generated for its queries."""
    return workshop.directory / "losses" / f"without-{removal.name}.npz"


@dataclass(frozen=True)
class RemovalRecord:
    """Losses and pictures of the models of removals."""

    removals: tuple[Removal, ...]
    """The R removals."""
    losses: NDArray[np.float32]
    """(R, Q, timesteps) float32, losses of all queries of the lab under each model."""
    pictures: tuple[dict[str, NDArray[np.uint8]], ...]
    """For each removal, the newly generated pictures by query id: (H, W, 3) uint8."""

    def rows(self, reason: str) -> list[int]:
        """Rows of the removals with the given reason."""
        return [row for row, removal in enumerate(self.removals) if removal.reason == reason]


def collect_removals(workshop: Workshop, removals: Sequence[Removal]) -> RemovalRecord:
    """Collect the record of all removals whose models are finished.

    Raises:
        NotReady: No model is finished.
    """
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
    """Write a record of removals as a safetensors file."""
    tensors: dict[str, NDArray[Any]] = {"losses": record.losses}
    for removal, pictures in zip(record.removals, record.pictures, strict=True):
        tensors |= {f"{removal.name}|{query}": picture for query, picture in pictures.items()}
    metadata = {"removals": json.dumps([asdict(removal) for removal in record.removals], ensure_ascii=False)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, tensors, metadata)


def read_removals(path: Path) -> RemovalRecord:
    """Read a record of removals.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
    """
    tensors, metadata = read_artifact(
        path, what="record of removals", command="creditline lab remove", remedy="fetch it again", field="lab"
    )
    removals = tuple(removal_from_json(content) for content in json.loads(metadata["removals"]))
    pictures = tuple(
        {query: tensors[f"{removal.name}|{query}"] for query in removal.queries} for removal in removals
    )
    return RemovalRecord(removals, tensors["losses"], pictures)


def removal_from_json(content: dict[str, object]) -> Removal:
    """Restore a removal from the JSON form of `asdict`, in which tuples are lists."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Removal(**values)  # type: ignore[arg-type]
