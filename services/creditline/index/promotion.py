"""Builds of a release behind an alias: made beside the live one, verified, promoted in one step, and back.

The works of a release are found under an alias, its collection's name; the collections behind it are its
builds, ALIAS.1, ALIAS.2 … A second alias, ALIAS.before, keeps the build that was live before, for a rollback.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creditline.errors import Conflict, NotFound
from creditline.index.works import WorkIndex

_BUILD = re.compile(r"(.+)\.(\d+)")
# float16 rows and Qdrant's own scaling to length 1 keep the cosine above this.
_SAME_VECTOR_COSINE = 0.999
_QUERY_NOISE = 0.3


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
    return index.aliases().get(_before(alias))


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


def why_unfit(width: int, stored: npt.NDArray[np.float32], expected: Expected) -> str:
    """Why a build cannot answer for a release; empty when it can.

    It may hold more works than the release, or lack some. Its vectors must be those of the release's encoder.

    Args:
        width: dimension of the build's vectors.
        stored: (S, width) the build's vectors of those of `expected.ids` that it holds, in any order.
        expected: works of the release with their vectors.
    """
    if width != expected.vectors.shape[1]:
        return f"its vectors have {width} dimensions, those of the release {expected.vectors.shape[1]}"
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
    why = why_unfit(index.width(build), index.vectors(build, expected.ids), expected)
    if why:
        raise Conflict(
            f"{build!r} cannot answer for {alias!r}: {why}; build the release's own collection with"
            " `creditline index load --release DIRECTORY`, or promote one that the release's embedder filled",
            field="build",
        )


def _refuse_other_width(index: WorkIndex, alias: str, build: str, live: str) -> None:
    """Without the release at hand, the live build says how many dimensions its vectors have."""
    width, wanted = index.width(build), index.width(live)
    if width != wanted:
        raise Conflict(
            f"{build!r} cannot answer for {alias!r}: its vectors have {width} dimensions, those of the live"
            f" build {live!r} {wanted}; name the release that it was built for (`creditline index promote"
            " --release DIRECTORY`), or promote a build of the live one's encoder",
            field="build",
        )


def promote(index: WorkIndex, alias: str, build: str, *, serves: Expected | None = None) -> str | None:
    """Let `build` answer for the alias, in one step.

    Args:
        alias: the collection name of a release.
        build: the collection that is to answer from now on.
        serves: works of the alias's release with their vectors, which the build is compared with; None: only
            the dimension is compared, with the live build's.

    Returns:
        The build that answered before; None when there was none.

    Raises:
        NotFound: the build is not there.
        Conflict: it is a build of another alias, or cannot answer for the release.
    """
    if build not in index.collections():
        raise NotFound(f"there is no collection {build!r}; `creditline index show` names them", field="build")
    match = _BUILD.fullmatch(build)
    if match is None or match[1] != alias:
        raise Conflict(
            f"{build!r} is no build of {alias!r}: they are called {alias}.1 and so on", field="build"
        )
    before = live_build(index, alias)
    if before == build:
        return before
    if serves is not None:
        refuse_unfit(index, alias, build, serves)
    elif before is not None:
        _refuse_other_width(index, alias, build, before)
    index.point_aliases({alias: build, **({_before(alias): before} if before else {})})
    return before


def roll_back(index: WorkIndex, alias: str) -> str:
    """Let the build that was live before answer again, in one step; returns it. Raises NotFound."""
    live, before = live_build(index, alias), previous_build(index, alias)
    if live is None or before is None:
        raise NotFound(f"{alias!r} has no build to go back to; load one and promote it", field="alias")
    index.point_aliases({alias: before, _before(alias): live})
    return before


def drop_build(index: WorkIndex, build: str) -> None:
    """Delete a build that answers nothing. Raises Conflict when an alias means it to be live."""
    live = [alias for alias, target in index.aliases().items() if target == build]
    if any(not alias.endswith(_before("")) for alias in live):
        raise Conflict(f"{build!r} is live as {live[0]!r}; promote another build first", field="build")
    index.delete(build)


def _before(alias: str) -> str:
    return f"{alias}.before"


def _near(vectors: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """Queries like those that are served: near works, but none of them."""
    noise = np.random.default_rng(seed).normal(size=vectors.shape).astype(np.float32)
    queries = vectors + _QUERY_NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def _unfit(build: str, why: str) -> Conflict:
    return Conflict(f"{build!r} is not what was to be built: {why}; load it again", field="build")
