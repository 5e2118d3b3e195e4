"""Loading of a release into the index without overriding an operator's decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.corpus.works import Corpus
from creditline.index.builds.ownership import BuildMark, BuildState, fingerprint_of, mark_of, owned_build
from creditline.index.builds.promotion import builds, live_build
from creditline.index.builds.releases import IndexedRelease, LoadReport, index_release, is_loaded, promote_own
from creditline.index.withdrawal import enforce_withdrawals
from creditline.index.works import WorkIndex


class LoadAction(StrEnum):
    """Action taken by a load."""

    BUILT = "built"
    """A new build was created and promoted."""

    PROMOTED = "promoted"
    """A build that an earlier load had created but not promoted was promoted."""

    ALREADY_THERE = "already there"
    """None: the release's build exists, and is live or was replaced by an operator's rollback."""

    LIVE_BUILD_KEPT = "live build kept"
    """None: the live build is not the release's, and `replace_live` was not set."""


@dataclass(frozen=True)
class LoadOutcome:
    """Action and outcome of a load."""

    action: LoadAction
    """Action taken."""

    live: str
    """The collection that the release's alias points to after the load."""

    report: LoadReport | None = None
    """Report of the new build; None: nothing was built."""

    unpromoted: tuple[str, ...] = ()
    """Builds of the release that have never been promoted; another load may still be filling them."""


def load_release(
    release: IndexedRelease,
    corpus: Callable[[], Corpus],
    index: WorkIndex,
    withdrawn: Withdrawn = NOTHING_WITHDRAWN,
    *,
    replace_live: bool = False,
    rebuild: bool = False,
) -> LoadOutcome:
    """Make a release live, unless it is already live or an operator has decided otherwise.

    A live build is an operator's when this release did not create it, when works were added to it or removed
    from it, or when a rollback made it live. The withdrawals are enforced on the build that is live after the
    load, whatever the action.

    Args:
        release: The release.
        corpus: Reads the release's corpus; called only when a build is created.
        index: Client of the index.
        withdrawn: The withdrawals in force.
        replace_live: Also replace an operator's live build.
        rebuild: Create a new build although the release's build exists.

    Raises:
        CreditlineError: The errors of `index_release`.
    """
    state = _LoadState.of(release, index)
    action = state.action(replace_live=replace_live, rebuild=rebuild)
    report = None
    if action is LoadAction.BUILT:
        report = index_release(release, corpus(), index, withdrawn)
    elif action is LoadAction.PROMOTED and state.own is not None:
        enforce_withdrawals(index, withdrawn, state.own)
        promote_own(index, release, state.own)
    else:
        enforce_withdrawals(index, withdrawn, release.collection)
    live = live_build(index, release.collection) or release.collection
    return LoadOutcome(action, live, report, _unpromoted(index, release, live))


@dataclass(frozen=True)
class _LoadState:
    """State of the index before a load."""

    own: str | None
    """The release's complete build with its current vectors; None: there is none."""

    is_loaded: bool
    """Whether the live build has the release's works and vectors."""

    operators_live: bool
    """Whether the live build belongs to an operator."""

    rolled_back: bool
    """Whether `own` has been live, and an operator has made another build live since."""

    @classmethod
    def of(cls, release: IndexedRelease, index: WorkIndex) -> _LoadState:
        live, own = live_build(index, release.collection), _own_build(release, index)
        loaded = (own is not None and own == live) or is_loaded(release, index)
        return cls(
            own=own,
            is_loaded=loaded,
            operators_live=not loaded and live is not None and owned_build(index, live, release.name) is None,
            rolled_back=None not in (own, live) and own != live and _has_been_live(index, own),
        )

    def action(self, *, replace_live: bool, rebuild: bool) -> LoadAction:
        """The action that a load takes in this state."""
        if self.operators_live and not replace_live:
            return LoadAction.LIVE_BUILD_KEPT
        if rebuild:
            return LoadAction.BUILT
        if self.is_loaded or (self.rolled_back and not replace_live):
            return LoadAction.ALREADY_THERE
        return LoadAction.BUILT if self.own is None else LoadAction.PROMOTED


def _own_build(release: IndexedRelease, index: WorkIndex) -> str | None:
    """The release's complete build with its current vectors: the live one if possible, else the newest."""
    fingerprint = fingerprint_of(release.work_ids(), release.vectors())
    live = live_build(index, release.collection)
    found = [
        build
        for build, mark in _owned_builds(index, release)
        if mark.is_whole and mark.fingerprint == fingerprint
    ]
    return live if live in found else next(iter(found), None)


def _has_been_live(index: WorkIndex, build: str | None) -> bool:
    mark = mark_of(index, build) if build else None
    return mark is not None and mark.state is BuildState.PROMOTED


def _unpromoted(index: WorkIndex, release: IndexedRelease, live: str) -> tuple[str, ...]:
    return tuple(
        build
        for build, mark in _owned_builds(index, release)
        if mark.state is not BuildState.PROMOTED and build != live
    )


def _owned_builds(index: WorkIndex, release: IndexedRelease) -> Iterator[tuple[str, BuildMark]]:
    """Builds that the release owns with their marks, newest first."""
    for build in reversed(builds(index, release.collection)):
        mark = owned_build(index, build, release.name)
        if mark is not None:
            yield build, mark
