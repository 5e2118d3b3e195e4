"""Verification, promotion and rollback of builds behind an alias.

The works of a release are searched under an alias, the name of its collection; the collections behind the
alias are its builds, ALIAS.1, ALIAS.2 and so on. A second alias, ALIAS.before, keeps the build that was live
before, for a rollback.

Qdrant changes aliases one by one and may stop between two of them. A switch therefore copies ALIAS.before to
ALIAS.before.kept, then the live build to ALIAS.before, and only then changes ALIAS. When ALIAS.before points
to the live build itself, a switch was interrupted or rolled back, and ALIAS.before.kept still names the build
before it: whichever part of a switch is in force, the live build and the one before it are known.

A rollback goes back only: it never makes a build live again that was rolled back from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from creditline.errors import Conflict, CreditlineError, DeadlineExceeded, NotFound, Unavailable
from creditline.index.sending import NO_RETRY
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy, any_of

_BUILD = re.compile(r"(.+)\.(\d+)")
# Cosines of equal vectors stay above this after float16 rounding and Qdrant's normalisation.
_SAME_VECTOR_COSINE = 0.999
_QUERY_NOISE = 0.3
# Suffixes of the aliases that keep the build for a rollback, and a copy of it during a switch.
_ROLLBACK_SUFFIXES = (".before", ".before.kept")
# Policy for reading the alias after a switch without a reply: a server needs seconds to restart.
SETTLING = RetryPolicy(max_seconds=20.0)
_is_transient = any_of(Unavailable, DeadlineExceeded)


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected content of a build, against which it is verified."""

    works: int
    """Number of works."""
    ids: Sequence[str]
    """Ids of S sampled works."""
    vectors: npt.NDArray[np.float32]
    """(S, D) float32, vectors of the sampled works, of unit length."""
    recall: float = 0.95
    """Minimum recall@`depth` of the graph against exact search, for queries near `vectors`."""
    depth: int = 10
    """Number of works per query when recall is measured."""


@dataclass(frozen=True)
class Verified:
    """Result of the verification of a build."""

    works: int
    """Number of works of the build."""
    compared: int
    """Number of works whose vectors were compared."""
    recall: float
    """Measured recall of the graph."""


def live_build(index: WorkIndex, alias: str) -> str | None:
    """The collection that the alias points to; None: the alias does not exist."""
    return index.aliases().get(alias)


def previous_build(index: WorkIndex, alias: str) -> str | None:
    """The collection that a rollback would make live; None: there is none."""
    return _AliasTargets.of(index, alias).previous


def builds(index: WorkIndex, alias: str) -> list[str]:
    """All existing builds of the alias, oldest first."""
    found = [match for name in index.collections() if (match := _BUILD.fullmatch(name)) and match[1] == alias]
    return [match[0] for match in sorted(found, key=lambda match: int(match[2]))]


def next_build(index: WorkIndex, alias: str) -> str:
    """Name for a new build, numbered one higher than any existing build.

    Raises:
        Conflict: A collection has the name of the alias.
    """
    if alias in index.collections():
        raise Conflict(
            f"{alias!r} is a collection, not an alias of builds; drop it with `creditline index drop"
            f" {alias}` and load the release again",
            field="collection",
        )
    numbers = [int(name.rpartition(".")[2]) for name in builds(index, alias)]
    return f"{alias}.{max(numbers, default=0) + 1}"


def verify(index: WorkIndex, build: str, expected: Expected, *, seed: int = 0) -> Verified:
    """Compare a build with its expected content.

    Args:
        index: Client of the index.
        build: Name of the build.
        expected: The expected content.
        seed: Seed of the queries that measure the graph's recall.

    Raises:
        Conflict: The number of works or a vector differs, or the graph's recall is too low; the error names
            the figure.
    """
    works = index.count(build)
    if works != expected.works:
        raise _failed_verification(build, f"it holds {works} works, not {expected.works}")
    stored = index.vectors(build, expected.ids)
    if len(stored) != len(expected.ids):
        raise _failed_verification(
            build, f"it lacks {len(expected.ids) - len(stored)} of {len(expected.ids)} sampled works"
        )
    cosines = np.einsum("sd,sd->s", stored, expected.vectors)
    if not (cosines > _SAME_VECTOR_COSINE).all():
        row = int(np.argmin(cosines))
        raise _failed_verification(
            build, f"the vector of work {expected.ids[row]!r} differs (cosine {cosines[row]:.4f})"
        )
    recall = graph_recall(index, build, _queries_near(expected.vectors, seed), expected.depth)
    if recall < expected.recall:
        raise _failed_verification(
            build, f"its graph has a recall of {recall:.3f}, less than {expected.recall}"
        )
    return Verified(works, len(expected.ids), recall)


def same_vectors(stored: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> bool:
    """Whether two sets of unit vectors are equal up to float16 rounding.

    Args:
        stored: (S, D) float32.
        wanted: (S, D) float32.
    """
    if stored.shape != wanted.shape:
        return False
    return bool((np.einsum("sd,sd->s", stored, wanted) > _SAME_VECTOR_COSINE).all())


def graph_recall(index: WorkIndex, build: str, queries: npt.NDArray[np.float32], depth: int) -> float:
    """Recall of a build's graph against exact search.

    Args:
        index: Client of the index.
        build: Name of the build.
        queries: (Q, D) float32.
        depth: Number of works per query.

    Returns:
        Fraction of the exact nearest works that the graph finds; 1 without queries.
    """
    if not len(queries):
        return 1.0
    found, truth = (index.nearest(build, queries, depth, exact=exact) for exact in (False, True))
    hits = sum(len(set(ids) & set(true_ids)) for ids, true_ids in zip(found, truth, strict=True))
    return hits / max(sum(len(true_ids) for true_ids in truth), 1)


def mismatch_reason(dimension: int, stored: npt.NDArray[np.float32], expected: Expected) -> str:
    """Reason why a build cannot serve a release; empty when it can.

    The build may hold more works than the release or lack some, but its vectors must come from the release's
    encoder.

    Args:
        dimension: Dimension of the build's vectors.
        stored: (F, D) float32, the build's vectors of those of `expected.ids` that it holds, in any order.
        expected: Sampled works of the release with their vectors.
    """
    if dimension != expected.vectors.shape[1]:
        return f"its vectors have {dimension} dimensions, those of the release {expected.vectors.shape[1]}"
    if not expected.ids:
        return ""
    if not len(stored):
        return f"it holds none of {len(expected.ids)} works of the release that were sampled"
    closest = (stored @ expected.vectors.T).max(axis=1)
    if closest.min() <= _SAME_VECTOR_COSINE:
        return (
            "its vectors were made by another encoder than the release's (the two vectors of the same work"
            f" have a cosine of {closest.min():.4f})"
        )
    return ""


def check_serves_release(index: WorkIndex, alias: str, build: str, expected: Expected) -> None:
    """Verify that a build can serve the release of which `expected` is a sample.

    Raises:
        Conflict: The build cannot serve the release; the error gives the reason.
    """
    why = mismatch_reason(index.dimension(build), index.vectors(build, expected.ids), expected)
    if why:
        raise Conflict(
            f"{build!r} cannot serve {alias!r}: {why}; build the release's own collection with"
            " `creditline index load --release DIRECTORY`, or promote one that the release's embedder filled",
            field="build",
        )


def _refuse_other_dimension(index: WorkIndex, alias: str, build: str, live: str) -> None:
    """Compare the dimensions of a build and the live build, for a promotion without a release."""
    dimension, wanted = index.dimension(build), index.dimension(live)
    if dimension != wanted:
        raise Conflict(
            f"{build!r} cannot serve {alias!r}: its vectors have {dimension} dimensions, those of the"
            f" live build {live!r} {wanted}; name the release that it was built for (`creditline index"
            " promote --release DIRECTORY`), or promote a build of the live one's encoder",
            field="build",
        )


def promote(
    index: WorkIndex,
    alias: str,
    build: str,
    *,
    serves: Expected | None = None,
    retries: RetryPolicy = SETTLING,
) -> str | None:
    """Make a build live in one step, by pointing the alias to it.

    When the reply to the switch is lost, the alias is read again and decides the outcome.

    Args:
        index: Client of the index, which is reconnected when a reply was lost.
        alias: The alias that is searched: the collection name of a release.
        build: The collection to make live, named ALIAS.1 and so on.
        serves: Sampled works of the alias's release with their vectors, which the build is compared with;
            None: only the dimension is compared, with that of the live build.
        retries: Policy for reading the alias after a lost reply.

    Returns:
        The build that was live before; None: there was none.

    Raises:
        NotFound: The build does not exist.
        Conflict: The collection is not a build of the alias, or cannot serve the release.
        CreditlineError: The switch failed, or its outcome could not be read; a note says which.
    """
    if build not in index.collections():
        raise NotFound(f"there is no collection {build!r}; `creditline index show` lists them", field="build")
    match = _BUILD.fullmatch(build)
    if match is None or match[1] != alias:
        raise Conflict(
            f"{build!r} is not a build of {alias!r}; its builds are named {alias}.1 and so on", field="build"
        )
    targets = _AliasTargets.of(index, alias)
    if targets.live == build:
        return build
    if serves is not None:
        check_serves_release(index, alias, build, serves)
    elif targets.live is not None:
        _refuse_other_dimension(index, alias, build, targets.live)
    _change(index, alias, targets.switched_to(build), retries)
    return targets.live


def roll_back(
    index: WorkIndex, alias: str, *, serves: Expected | None = None, retries: RetryPolicy = SETTLING
) -> str:
    """Make the build that was live before live again, in one step.

    A second rollback goes further back, to the build before that one if it is still kept, and never forward
    again. A lost alias is restored to the build that ALIAS.before keeps.

    Args:
        index: Client of the index, which is reconnected when a reply was lost.
        alias: The alias that is searched.
        serves: Sampled works of the alias's release with their vectors, which the build is compared with;
            None: it is not compared.
        retries: Policy for reading the alias after a lost reply.

    Returns:
        The build that is live now.

    Raises:
        NotFound: There is no build to go back to.
        Conflict: The build cannot serve the release.
        CreditlineError: The switch failed, or its outcome could not be read; a note says which.
    """
    targets = _AliasTargets.of(index, alias)
    previous = targets.previous
    if previous is None:
        raise nothing_before(alias)
    if serves is not None:
        check_serves_release(index, alias, previous, serves)
    _change(index, alias, targets.rolled_back_to(previous), retries)
    return previous


def nothing_before(alias: str) -> NotFound:
    """The error for a rollback where no earlier build is kept."""
    return NotFound(
        f"{alias!r} has no earlier build to roll back to; `creditline index show` lists its builds, and"
        " `creditline index promote` makes any of them live",
        field="alias",
    )


def live_aliases(index: WorkIndex, build: str) -> list[str]:
    """Aliases under which a build is live, sorted, without those that only keep it for a rollback."""
    found = (alias for alias, target in index.aliases().items() if target == build)
    return sorted(alias for alias in found if not alias.endswith(_ROLLBACK_SUFFIXES))


def drop_build(index: WorkIndex, build: str) -> None:
    """Delete a build that is not live.

    Raises:
        Conflict: The build is live under an alias.
    """
    if live := live_aliases(index, build):
        raise Conflict(f"{build!r} is live as {live[0]!r}; promote another build first", field="build")
    index.delete(build)


@dataclass(frozen=True)
class _AliasTargets:
    """Targets of an alias and of its rollback aliases at one moment."""

    alias: str
    """The alias."""
    live: str | None
    """Target of ALIAS."""
    before: str | None
    """Target of ALIAS.before."""
    kept: str | None
    """Target of ALIAS.before.kept."""

    @classmethod
    def of(cls, index: WorkIndex, alias: str) -> Self:
        targets = index.aliases()
        return cls(alias, *(targets.get(alias + suffix) for suffix in ("", *_ROLLBACK_SUFFIXES)))

    @property
    def previous(self) -> str | None:
        """The build that a rollback would make live; None: there is none."""
        found = self.before if self.before != self.live else self.kept
        return found if found != self.live else None

    def switched_to(self, build: str) -> dict[str, str]:
        """Alias changes that make `build` live, ordered so that every prefix is a consistent state."""
        before, kept = (self.alias + suffix for suffix in _ROLLBACK_SUFFIXES)
        changes: dict[str, str] = {}
        if self.live is not None:
            if self.previous is not None or self.kept is not None:
                changes[kept] = self.previous or self.live
            changes[before] = self.live
        return {**changes, self.alias: build}

    def rolled_back_to(self, build: str) -> dict[str, str]:
        """Alias changes that go back to `build`, after which only builds before it can be gone back to.

        ALIAS.before then points to the live build itself, and ALIAS.before.kept is left as it is: the build
        before it, or the build itself when there is none.
        """
        before = self.alias + _ROLLBACK_SUFFIXES[0]
        changes = {before: build} if self.before != build else {}
        return {**changes, self.alias: build}


def _change(index: WorkIndex, alias: str, changes: Mapping[str, str], retries: RetryPolicy) -> None:
    """Change the aliases; after a failure, the alias that is read again decides whether this raises."""
    try:
        index.point_aliases(changes)
    except CreditlineError as error:
        if _live_after(index, alias, error, retries) != changes[alias]:
            raise
    except BaseException as error:
        _live_after(index, alias, error, NO_RETRY)
        raise


def _live_after(index: WorkIndex, alias: str, error: BaseException, retries: RetryPolicy) -> str | None:
    """The live build after a switch that failed with `error`; also added to the error as a note."""
    try:
        live = _read_again(index, alias, retries)
    except CreditlineError as failure:
        error.add_note(f"The build that {alias!r} points to could not be read: {failure.message}")
        return None
    error.add_note(f"{alias!r} now points to {live or 'no build'}")
    return live


def _read_again(index: WorkIndex, alias: str, retries: RetryPolicy) -> str | None:
    """The live build, read over a new connection at every attempt."""

    def read() -> str | None:
        index.reconnect()
        return live_build(index, alias)

    return retries.call(read, transient=_is_transient)


def _queries_near(vectors: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """Queries like real ones: (S, D) float32, near the given vectors but not equal to them."""
    noise = np.random.default_rng(seed).normal(size=vectors.shape).astype(np.float32)
    queries = vectors + _QUERY_NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def _failed_verification(build: str, why: str) -> Conflict:
    return Conflict(f"{build!r} failed verification: {why}; load it again", field="build")
