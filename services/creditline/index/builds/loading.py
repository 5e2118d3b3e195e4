"""Whether a release is loaded: its build is made or promoted only where that undoes nobody's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.corpus.works import Corpus
from creditline.index.builds.ownership import BuildMark, BuildState, fingerprint_of, owned_build
from creditline.index.builds.promotion import builds, live_build, previous_build
from creditline.index.builds.releases import IndexedRelease, LoadReport, index_release, is_loaded, promote_own
from creditline.index.withdrawal import enforced
from creditline.index.works import WorkIndex


class LoadAction(StrEnum):
    """What a load did."""

    BUILT = "built"
    """A new build was made and promoted."""

    PROMOTED = "promoted"
    """A build that an earlier load had made, but not promoted, was promoted."""

    ALREADY_THERE = "already there"
    """Nothing: the release's build exists, and is live or was replaced by an operator's rollback."""

    LIVE_BUILD_KEPT = "live build kept"
    """Nothing: the live build is not the release's, and replacing it was not asked for."""


@dataclass(frozen=True)
class LoadOutcome:
    """What a load did and what is live after it."""

    action: LoadAction

    live: str
    """The collection that answers for the release's alias."""

    report: LoadReport | None = None
    """What was built; None when nothing was."""

    unpromoted: tuple[str, ...] = ()
    """Builds of the release that no load has promoted yet: another load may still fill them."""


def load_release(
    release: IndexedRelease,
    corpus: Callable[[], Corpus],
    index: WorkIndex,
    withdrawn: Withdrawn = NOTHING_WITHDRAWN,
    *,
    replace_live: bool = False,
    rebuild: bool = False,
) -> LoadOutcome:
    """Make the release answer, unless it does already or an operator has decided otherwise.

    An operator's live build is one that this release did not make, one to which works were added or from
    which some were removed, and one that a rollback made live. Whatever is live in the end has been checked
    against what is withdrawn.

    Args:
        release: the release.
        corpus: reads its corpus; called only when something is built.
        index: the index.
        withdrawn: what is withdrawn.
        replace_live: replace an operator's live build too.
        rebuild: build again although the release's build exists.

    Raises:
        CreditlineError: what `index_release` raises.
    """
    found = _Standing.of(release, index)
    action = found.action(replace_live=replace_live, rebuild=rebuild)
    report = None
    if action is LoadAction.BUILT:
        report = index_release(release, corpus(), index, withdrawn)
    elif action is LoadAction.PROMOTED and found.own is not None:
        enforced(index, withdrawn, found.own)
        promote_own(index, release, found.own)
    else:
        enforced(index, withdrawn, release.collection)
    live = live_build(index, release.collection) or release.collection
    return LoadOutcome(action, live, report, _unpromoted(index, release, live))


@dataclass(frozen=True)
class _Standing:
    """What a load finds."""

    own: str | None
    """The release's whole build with its present vectors."""

    is_loaded: bool
    """Whether the live build holds what the release holds."""

    operators_live: bool
    """Whether the live build is an operator's."""

    rolled_back: bool
    """Whether `own` is the build that was live before the present one."""

    @classmethod
    def of(cls, release: IndexedRelease, index: WorkIndex) -> _Standing:
        live, own = live_build(index, release.collection), _own_build(release, index)
        loaded = (own is not None and own == live) or is_loaded(release, index)
        return cls(
            own=own,
            is_loaded=loaded,
            operators_live=not loaded and live is not None and owned_build(index, live, release.name) is None,
            rolled_back=None not in (own, live) and own == previous_build(index, release.collection),
        )

    def action(self, *, replace_live: bool, rebuild: bool) -> LoadAction:
        """What the load is to do."""
        if self.operators_live and not replace_live:
            return LoadAction.LIVE_BUILD_KEPT
        if rebuild:
            return LoadAction.BUILT
        if self.is_loaded or (self.rolled_back and not replace_live):
            return LoadAction.ALREADY_THERE
        return LoadAction.BUILT if self.own is None else LoadAction.PROMOTED


def _own_build(release: IndexedRelease, index: WorkIndex) -> str | None:
    """The release's whole build with its present vectors: the live one if it is, else the newest."""
    wanted = fingerprint_of(release.work_ids(), release.vectors())
    live = live_build(index, release.collection)
    found = [build for build, mark in _marked(index, release) if mark.is_whole and mark.fingerprint == wanted]
    return live if live in found else next(iter(found), None)


def _unpromoted(index: WorkIndex, release: IndexedRelease, live: str) -> tuple[str, ...]:
    return tuple(
        build
        for build, mark in _marked(index, release)
        if mark.state is not BuildState.PROMOTED and build != live
    )


def _marked(index: WorkIndex, release: IndexedRelease) -> Iterator[tuple[str, BuildMark]]:
    """Builds that the release made, newest first."""
    for build in reversed(builds(index, release.collection)):
        mark = owned_build(index, build, release.name)
        if mark is not None:
            yield build, mark
