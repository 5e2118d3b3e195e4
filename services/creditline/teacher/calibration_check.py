"""Whether a release's calibration holds for works added to it, by a small sample of the teacher's labels.

The generator makes pictures from captions of added works, and as many from captions of the release's own
works for comparison. For each picture, the teacher labels a sample of works of that kind and one of all the
others. The calibration says how much of the positive influence is expected on the works of the kind, in
proportion to the others; the labels say how much there is. Where the ratio of the two is another for added
works than for the release's own, the calibration does not hold for them. Whatever the teacher's scale and
noise do to both kinds alike cancels out.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from creditline.attribution.unlearning.teacher import Query
from creditline.calibration import Calibration
from creditline.credentials.tls_files import TlsFiles
from creditline.embedder_client.queries import embed_query
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.index import WorkIndex
from creditline.ledger import AdditionKind, AdditionRecord, Additions, Ledger
from creditline.pictures.queries import query_pixels
from creditline.teacher.additions import GrownCorpora
from creditline.teacher.expectations import Expectations
from creditline.teacher.loading import Loaded

# A calibration that is off by less than this factor is taken to hold.
TOLERATED_RATIO = 1.5
_EMBED_SECONDS = 60.0
_LEAST_WORKS = 4


@dataclass(frozen=True)
class CheckPlan:
    """Size of a check.

    Raises:
        InvalidInput: There are too few queries or works for an interval.
    """

    embedder: str
    """`host:port` of the embedder."""
    queries: int = 8
    """Number of pictures of each kind."""
    works: int = 48
    """Number of works of the kind, and of the others, that are labelled for each picture."""
    tls: TlsFiles | None = None
    """Files of TLS to the embedder; None: no TLS."""

    def __post_init__(self) -> None:
        if self.queries < 2 or self.works < _LEAST_WORKS:
            raise InvalidInput(
                f"a check of {self.queries} queries with {self.works} works each says nothing; give at least"
                f" 2 queries and {_LEAST_WORKS} works",
                field="queries",
            )


@dataclass(frozen=True)
class CalibrationOutcome:
    """Outcome of a check, as the ledger records it."""

    holds: str
    """`yes`, `no`, or `unknown` where the sample is too small to tell."""
    ratio: float
    """Labelled over expected part of the influence on added works, relative to the release's own; best: 1."""
    low: float
    """Lower end of its 95 % interval over queries."""
    high: float
    """Upper end of its 95 % interval over queries."""
    queries: int
    """Number of pictures of each kind."""
    works: int
    """Number of works of the kind that were labelled for each picture."""


def check_calibration(
    loaded: Loaded, ledger: Ledger, index: WorkIndex, release: str, addition: str, plan: CheckPlan
) -> CalibrationOutcome:
    """Compare the calibration with the teacher's labels for one addition, and record the outcome.

    Args:
        loaded: The models and data of the release.
        ledger: The ledger with the statement.
        index: Client of the index, which holds the added works' vectors.
        release: Name of the release.
        addition: Id of the statement.
        plan: Size of the check.

    Raises:
        NotFound: The ledger holds no such statement.
        NotReady: The release, or the packed works, are missing.
        FingerprintMismatch: The generator or the release of this worker is another one.
        InvalidInput: Too few works were added for an interval.
    """
    statement = ledger.additions(release).statement(addition)
    expectations = _expectations_of(loaded, statement)
    grown = GrownCorpora().grown(loaded, Additions((statement,)))
    check = _Check(grown, expectations, len(loaded.corpus), index, plan, seed=int(addition[:8], 16))
    outcome = check.outcome()
    ledger.record_addition(
        AdditionKind.CHECKED,
        release=release,
        generator=statement.generator,
        addition=addition,
        content=asdict(outcome),
    )
    return outcome


def _expectations_of(loaded: Loaded, statement: AdditionRecord) -> Expectations:
    generator, expectations = loaded.teacher.generator, loaded.expectations
    if generator.fingerprint != statement.generator:
        raise FingerprintMismatch(
            f"addition {statement.id} is of generator {statement.generator}, but this teacher's"
            f" is {generator.fingerprint}; point CREDITLINE_GENERATOR_DIRECTORY at that one, with"
            " statistics that were prepared for it",
            field="generator",
        )
    if expectations is None or expectations.release != statement.release:
        raise NotReady(
            f"this teacher does not have release {statement.release!r}; set its CREDITLINE_RELEASE_DIRECTORY",
            field="release",
        )
    return expectations


@dataclass(frozen=True)
class _Check:
    """One check: the queries of both kinds and their labels."""

    grown: Loaded
    """Models and data, with the added works after the release's own."""
    expectations: Expectations
    """The release's vectors and calibration."""
    own: int
    """Number of the release's own works."""
    index: WorkIndex
    """Client of the index."""
    plan: CheckPlan
    """Size of the check."""
    seed: int
    """Seed of all draws."""

    def outcome(self) -> CalibrationOutcome:
        """Generate, label and compare."""
        random, added = np.random.default_rng(self.seed), np.arange(self.own, len(self.grown.corpus))
        if len(added) < _LEAST_WORKS:
            raise InvalidInput(
                f"{len(added)} of the added works have pictures and are not the release's own; a check needs"
                f" {_LEAST_WORKS}",
                field="addition",
            )
        # As many of the release's own works take the place of the added ones in the comparison.
        own = random.permutation(self.own)
        size = min(len(added), self.own // 2)
        new = self._log_ratios(added, own, random)
        usual = self._log_ratios(own[:size], own[size:], random)
        return judged(new, usual, self.plan, works=min(self.plan.works, len(added)))

    def _log_ratios(
        self, kind: NDArray[np.int64], others: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.float64]:
        """Logarithm of labelled over expected part of the influence on works of a kind, by query: (Q,)."""
        corpus = self.grown.corpus
        subjects = random.choice(kind, self.plan.queries, replace=len(kind) < self.plan.queries)
        prompts = [corpus.works[int(row)].caption for row in subjects]
        seeds = [int(value) for value in random.integers(0, 2**31, len(prompts))]
        pictures = self.grown.teacher.generator.sample(prompts, seeds)
        ratios = []
        for number, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
            rows = [
                random.choice(each, min(self.plan.works, len(each)), replace=False)
                for each in (kind[kind != subjects[number]], others)
            ]
            rows[0] = np.append(rows[0], subjects[number])
            query = Query(f"check-{self.seed}-{seeds[number]}", picture, prompt)
            ratios.append(self._log_ratio(query, rows[0], rows[1]))
        return np.array(ratios)

    def _log_ratio(self, query: Query, kind: NDArray[np.int64], others: NDArray[np.int64]) -> float:
        rows = [int(row) for row in (*kind, *others)]
        step = self.grown.teacher.unlearn(query)
        labels = np.maximum(self.grown.teacher.influence_after(step, rows), 0.0)
        expected = self._expected(query, rows)
        return _log_part(labels, len(kind)) - _log_part(expected, len(kind))

    def _expected(self, query: Query, rows: Sequence[int]) -> NDArray[np.float64]:
        """Expected positive influence of works on a query: (R,) float64."""
        known = self.expectations
        vector = embed_query(
            self.plan.embedder,
            query_pixels(_png(query.picture)),
            query.prompt,
            release=known.release,
            dimension=known.vectors.shape[1],
            deadline_seconds=_EMBED_SECONDS,
            tls=self.plan.tls,
        ).vector
        nearest = float((known.vectors @ vector).max(initial=-1.0))
        calibration: Calibration = known.calibration.for_query(nearest)
        return calibration.expected_positive(self._vectors(rows) @ vector)

    def _vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Vectors of works, (R, D) float32: the release's own from the release, others from the index."""
        ids, known = [self.grown.corpus.ids[row] for row in rows], self.expectations
        missing = [work_id for work_id in ids if work_id not in known.rows]
        stored = self.index.stored_works(known.collection, missing, with_vectors=True) if missing else {}
        absent = [work_id for work_id in missing if work_id not in stored]
        if absent:
            raise NotReady(
                f"collection {known.collection!r} lacks {len(absent)} of the added works, such as"
                f" {absent[0]!r}; complete the addition with `creditline index add`",
                field="addition",
            )
        vectors = [
            known.vectors[known.rows[work_id]] if work_id in known.rows else stored[work_id].vector
            for work_id in ids
        ]
        return np.asarray(vectors, dtype=np.float32)


def _log_part(influence: NDArray[np.float64], kind: int) -> float:
    """Logarithm of mean influence on the first `kind` works over that on the others, kept finite."""
    least = max(float(influence.max()) * 1e-6, 1e-30)
    return math.log((influence[:kind].mean() + least) / (influence[kind:].mean() + least))


def judged(
    new: NDArray[np.float64], usual: NDArray[np.float64], plan: CheckPlan, *, works: int
) -> CalibrationOutcome:
    """The outcome of a check from the logarithms of labelled over expected influence.

    Args:
        new: (Q,) float64, of queries about added works.
        usual: (Q,) float64, of queries about the release's own works.
        plan: Size of the check.
        works: Number of works of the kind that were labelled for each query.
    """
    low, high = _interval(new, usual)
    tolerated = math.log(TOLERATED_RATIO)
    outcome = CalibrationOutcome(
        "unknown",
        math.exp(float(new.mean() - usual.mean())),
        math.exp(low),
        math.exp(high),
        plan.queries,
        works,
    )
    if low > tolerated or high < -tolerated:
        return replace(outcome, holds="no")
    if -tolerated < low and high < tolerated:
        return replace(outcome, holds="yes")
    return outcome


def _interval(new: NDArray[np.float64], usual: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a difference of means by Welch's t; a bootstrap of so few is too narrow."""
    found = stats.ttest_ind(new, usual, equal_var=False).confidence_interval(0.95)
    if not np.isfinite([found.low, found.high]).all():
        difference = float(new.mean() - usual.mean())
        return difference, difference
    return float(found.low), float(found.high)


def _png(picture: Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")
    return encoded.getvalue()
