"""Builds of a release behind an alias: made beside the live one, verified, promoted in one step, and back.

The works of a release are found under an alias, its collection's name; the collections behind it are its
builds, ALIAS.1, ALIAS.2 … A second alias, ALIAS.before, keeps the build that was live before, for a rollback.

Qdrant changes aliases one by one and may end between two of them. A switch therefore copies ALIAS.before to
ALIAS.before.kept, then the live build to ALIAS.before, and only then changes ALIAS. Where ALIAS.before means
the live build itself, such a switch was cut short and ALIAS.before.kept still names the build before:
whatever part of a switch is in force, both the live build and the one before it are known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from creditline.errors import Conflict, CreditlineError, DeadlineExceeded, NotFound, Unavailable
from creditline.index.sending import NO_RETRY
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy, any_of

_BUILD = re.compile(r"(.+)\.(\d+)")
# float16 rows and Qdrant's own scaling to length 1 keep the cosine above this.
_SAME_VECTOR_COSINE = 0.999
_QUERY_NOISE = 0.3
# Endings of the aliases that keep the way back: the build before, and a copy of it while a switch changes
# that.
_WAYS_BACK = (".before", ".before.kept")
# How long to ask what became of a switch: a server that is started again needs a few seconds.
SETTLING = RetryPolicy(max_seconds=20.0)
_is_transient = any_of(Unavailable, DeadlineExceeded)


@dataclass(frozen=True, eq=False)
class Expected:
    """What a build shall hold: `works` of them, of which `ids` (S,) have `vectors` (S, width), of length 1.

    recall: the least part of the exact nearest `depth` that the graph must find of queries near `vectors`.
    """

    works: int
    ids: Sequence[str]
    vectors: npt.NDArray[np.float32]
    recall: float = 0.95
    depth: int = 10


@dataclass(frozen=True)
class Verified:
    """What was found of a build: all its works, so many of them compared, and the graph's recall."""

    works: int
    compared: int
    recall: float


def live_build(index: WorkIndex, alias: str) -> str | None:
    """The collection that the alias means now; None when it means none."""
    return index.aliases().get(alias)


def previous_build(index: WorkIndex, alias: str) -> str | None:
    """The collection that a rollback goes to; None when there is none."""
    return _Pointers.of(index, alias).previous


def builds(index: WorkIndex, alias: str) -> list[str]:
    """All builds of the alias that are there, oldest first."""
    found = [match for name in index.collections() if (match := _BUILD.fullmatch(name)) and match[1] == alias]
    return [match[0] for match in sorted(found, key=lambda match: int(match[2]))]


def next_build(index: WorkIndex, alias: str) -> str:
    """A name for a new build, one higher than any. Raises Conflict when the alias is a collection."""
    if alias in index.collections():
        raise Conflict(
            f"{alias!r} is a collection itself, not an alias of builds; drop it with `creditline index drop"
            f" {alias}` and load the release again",
            field="collection",
        )
    numbers = [int(name.rpartition(".")[2]) for name in builds(index, alias)]
    return f"{alias}.{max(numbers, default=0) + 1}"


def verify(index: WorkIndex, build: str, expected: Expected, *, seed: int = 0) -> Verified:
    """Hold a build against what it shall be.

    Raises Conflict, naming the figure, when it has other works, other vectors, or a graph that finds too few.
    """
    works = index.count(build)
    if works != expected.works:
        raise _unfit(build, f"it holds {works} works, not {expected.works}")
    stored = index.vectors(build, expected.ids)
    if len(stored) != len(expected.ids):
        raise _unfit(
            build, f"it lacks {len(expected.ids) - len(stored)} of {len(expected.ids)} sampled works"
        )
    cosines = np.einsum("sd,sd->s", stored, expected.vectors)
    if not (cosines > _SAME_VECTOR_COSINE).all():
        row = int(np.argmin(cosines))
        raise _unfit(
            build, f"the vector of work {expected.ids[row]!r} is another (cosine {cosines[row]:.4f})"
        )
    recall = graph_recall(index, build, _near(expected.vectors, seed), expected.depth)
    if recall < expected.recall:
        raise _unfit(build, f"its graph finds {recall:.3f} of the nearest works, not {expected.recall}")
    return Verified(works, len(expected.ids), recall)


def same_vectors(stored: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> bool:
    """Whether rows of length 1 are the same, but for what float16 loses; both (S, width)."""
    if stored.shape != wanted.shape:
        return False
    return bool((np.einsum("sd,sd->s", stored, wanted) > _SAME_VECTOR_COSINE).all())


def graph_recall(index: WorkIndex, build: str, queries: npt.NDArray[np.float32], depth: int) -> float:
    """The part of the exact nearest `depth` works that the graph finds; queries: (Q, width)."""
    if not len(queries):
        return 1.0
    found, exact = (index.nearest(build, queries, depth, exact=exact) for exact in (False, True))
    hits = sum(len(set(some) & set(every)) for some, every in zip(found, exact, strict=True))
    return hits / max(sum(len(every) for every in exact), 1)


def why_unfit(dimension: int, stored: npt.NDArray[np.float32], expected: Expected) -> str:
    """Why a build cannot answer for a release; empty when it can.

    It may hold more works than the release, or lack some. Its vectors must be those of the release's encoder.

    Args:
        width: dimension of the build's vectors.
        stored: (S, width) the build's vectors of those of `expected.ids` that it holds, in any order.
        expected: works of the release with their vectors.
    """
    if dimension != expected.vectors.shape[1]:
        return f"its vectors have {dimension} dimensions, those of the release {expected.vectors.shape[1]}"
    if not expected.ids:
        return ""
    if not len(stored):
        return f"it holds none of {len(expected.ids)} works of the release that were looked up"
    closest = (stored @ expected.vectors.T).max(axis=1)
    if closest.min() <= _SAME_VECTOR_COSINE:
        return (
            "its vectors were made by another encoder than the release's (the cosine of the same work's two"
            f" vectors is {closest.min():.4f})"
        )
    return ""


def refuse_unfit(index: WorkIndex, alias: str, build: str, expected: Expected) -> None:
    """Raises Conflict when the build cannot answer for the release that `expected` is a sample of."""
    why = why_unfit(index.dimension(build), index.vectors(build, expected.ids), expected)
    if why:
        raise Conflict(
            f"{build!r} cannot answer for {alias!r}: {why}; build the release's own collection with"
            " `creditline index load --release DIRECTORY`, or promote one that the release's embedder filled",
            field="build",
        )


def _refuse_other_dimension(index: WorkIndex, alias: str, build: str, live: str) -> None:
    """Without the release at hand, the live build says how many dimensions its vectors have."""
    dimension, wanted = index.dimension(build), index.dimension(live)
    if dimension != wanted:
        raise Conflict(
            f"{build!r} cannot answer for {alias!r}: its vectors have {dimension} dimensions, those of the"
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
    """Let `build` answer for the alias, in one step.

    When the reply of the switch is lost, the alias is read again and decides.

    Args:
        index: the index, which is connected anew when a reply was lost.
        alias: the alias that is searched: the collection name of a release.
        build: the collection that is to answer from now on, called ALIAS.1 and so on.
        serves: works of the alias's release with their vectors, which the build is compared with; None: only
            the dimension is compared, with the live build's.
        retries: policy for reading the alias after a lost reply.

    Returns:
        The build that answered before; None when there was none.

    Raises:
        NotFound: the build is not there.
        Conflict: it is a build of another alias, or cannot answer for the release.
        CreditlineError: the switch has failed, or its outcome could not be read; a note says which.
    """
    if build not in index.collections():
        raise NotFound(f"there is no collection {build!r}; `creditline index show` names them", field="build")
    match = _BUILD.fullmatch(build)
    if match is None or match[1] != alias:
        raise Conflict(
            f"{build!r} is no build of {alias!r}: they are called {alias}.1 and so on", field="build"
        )
    pointers = _Pointers.of(index, alias)
    if pointers.live == build:
        return build
    if serves is not None:
        refuse_unfit(index, alias, build, serves)
    elif pointers.live is not None:
        _refuse_other_dimension(index, alias, build, pointers.live)
    _switch(index, pointers, build, retries)
    return pointers.live


def roll_back(index: WorkIndex, alias: str, *, retries: RetryPolicy = SETTLING) -> str:
    """Let the build that was live before answer again, in one step; returns it.

    An alias that was lost altogether is restored from the build before. Raises NotFound when there is no
    build to go back to, and what `promote` raises.
    """
    pointers = _Pointers.of(index, alias)
    if pointers.previous is None:
        raise NotFound(f"{alias!r} has no build to go back to; load one and promote it", field="alias")
    _switch(index, pointers, pointers.previous, retries)
    return pointers.previous


def live_aliases(index: WorkIndex, build: str) -> list[str]:
    """The aliases by which a build answers, sorted; those that only keep the way back are left out."""
    found = (alias for alias, target in index.aliases().items() if target == build)
    return sorted(alias for alias in found if not alias.endswith(_WAYS_BACK))


def drop_build(index: WorkIndex, build: str) -> None:
    """Delete a build that answers nothing. Raises Conflict when an alias means it to be live."""
    if live := live_aliases(index, build):
        raise Conflict(f"{build!r} is live as {live[0]!r}; promote another build first", field="build")
    index.delete(build)


@dataclass(frozen=True)
class _Pointers:
    """What an alias and its ways back mean at one moment."""

    alias: str
    live: str | None
    before: str | None
    kept: str | None

    @classmethod
    def of(cls, index: WorkIndex, alias: str) -> Self:
        known = index.aliases()
        return cls(alias, *(known.get(alias + ending) for ending in ("", *_WAYS_BACK)))

    @property
    def previous(self) -> str | None:
        """The build that a rollback goes to."""
        found = self.before if self.before != self.live else self.kept
        return found if found != self.live else None

    def switched_to(self, build: str) -> dict[str, str]:
        """The changes that make `build` live, in an order of which every beginning is a whole state."""
        before, kept = (self.alias + ending for ending in _WAYS_BACK)
        steps: dict[str, str] = {}
        if self.live is not None:
            if self.previous is not None or self.kept is not None:
                steps[kept] = self.previous or self.live
            steps[before] = self.live
        return {**steps, self.alias: build}


def _switch(index: WorkIndex, pointers: _Pointers, build: str, retries: RetryPolicy) -> None:
    """Change the aliases. After a lost reply the alias decides whether this raises."""
    try:
        index.point_aliases(pointers.switched_to(build))
    except CreditlineError as error:
        if _live_after(index, pointers.alias, error, retries) != build:
            raise
    except BaseException as error:
        _live_after(index, pointers.alias, error, NO_RETRY)
        raise


def _live_after(index: WorkIndex, alias: str, error: BaseException, retries: RetryPolicy) -> str | None:
    """The build that is live after a switch failed with `error`, to which it is added as a note."""
    try:
        live = _read_again(index, alias, retries)
    except CreditlineError as failure:
        error.add_note(f"Which build {alias!r} means now could not be read: {failure.message}")
        return None
    error.add_note(f"{alias!r} means {live or 'no build'} now")
    return live


def _read_again(index: WorkIndex, alias: str, retries: RetryPolicy) -> str | None:
    """The live build, read on a new connection at every attempt."""

    def read() -> str | None:
        index.reconnect()
        return live_build(index, alias)

    return retries.call(read, transient=_is_transient)


def _near(vectors: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """Queries like those that are served: near works, but none of them."""
    noise = np.random.default_rng(seed).normal(size=vectors.shape).astype(np.float32)
    queries = vectors + _QUERY_NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def _unfit(build: str, why: str) -> Conflict:
    return Conflict(f"{build!r} is not what was to be built: {why}; load it again", field="build")
