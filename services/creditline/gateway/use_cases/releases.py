"""The served releases: at present one, the live one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from creditline.api.answers import AnswerForm, AuditedAccuracy, ReleaseAnswer, ReleaseSummary
from creditline.calibration import Calibration
from creditline.calibration.halves import Halves
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.remainder import CorpusSample
from creditline.calibration.reranking import Reranking
from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch, NotFound
from creditline.gateway.use_cases.requests import quoted
from creditline.ledger import Ledger
from creditline.release import Release

# The sample of a large corpus affects the answer: every gateway must draw the same one.
_SAMPLE_SEED = 0
# Audits take minutes, so that an answer need not read their mean anew.
_STATED_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class ServedRelease:
    """The parts of a release that answers need."""

    summary: ReleaseSummary
    """Name, fingerprints, dimension and collection."""
    calibration: Calibration
    """Calibration of cosines to expected influence."""
    intervals: AnswerIntervals | None
    """Intervals of shares and remainder; None where the release has none."""
    sample: CorpusSample
    """Vectors of the release's works, or of a sample of a large corpus, with their holders' keys."""
    work_ids: frozenset[str] = frozenset()
    """Ids of all works of the release."""
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Names and ids of people whom the corpus may not name, by key: those of added works."""
    encoder_fingerprint: str = ""
    """Fingerprint of towers and encoder, which vectors of private queries must name."""
    halves: Halves | None = None
    """Calibrations of pictures and prompts alone; None where the release has none."""
    reranking: Reranking | None = None
    """Calibration of re-ranked answers; None where the release has no gradient rows."""


def open_served_release(release: Release, corpus: Corpus) -> ServedRelease:
    """Check a release, and read what answers need of it.

    Args:
        release: The release.
        corpus: The gateway's corpus.

    Raises:
        FingerprintMismatch: The release is damaged, or was made from another corpus.
    """
    release.verify_files()
    work_ids = release.work_ids()
    _check_corpus(release, work_ids, corpus)
    return ServedRelease(
        summary=_summary(release),
        calibration=release.calibration(),
        intervals=release.intervals(),
        sample=CorpusSample.draw(
            work_ids,
            [corpus.works[corpus.row(work_id)].keyed_holders for work_id in work_ids],
            release.vectors(),
            seed=_SAMPLE_SEED,
        ),
        work_ids=frozenset(work_ids),
        encoder_fingerprint=release.encoder_fingerprint,
        halves=release.halves(),
        reranking=release.reranking(),
    )


def _check_corpus(release: Release, work_ids: tuple[str, ...], corpus: Corpus) -> None:
    known = set(corpus.ids)
    missing = next((work_id for work_id in work_ids if work_id not in known), None)
    if missing is not None:
        raise FingerprintMismatch(
            f"release {release.name!r} holds work {missing!r}, which corpus {corpus.name!r} does not; set "
            "CREDITLINE_CORPUS_FILE to the corpus that the release was made from",
            field="corpus_file",
        )


def _summary(release: Release) -> ReleaseSummary:
    created = datetime.fromisoformat(release.created)
    return ReleaseSummary(
        name=release.name,
        created=created if created.tzinfo else created.replace(tzinfo=UTC),
        generator_fingerprint=release.generator_fingerprint,
        corpus_fingerprint=release.corpus_fingerprint,
        towers_fingerprint=release.towers_fingerprint,
        dimension=release.dimension,
        works=release.works,
        collection=release.collection,
    )


class Releases:
    """The served releases, by name, with their audited accuracy."""

    def __init__(self, live: ServedRelease, ledger: Ledger) -> None:
        self.live = live
        self._ledger = ledger
        self._stated: dict[tuple[str, AnswerForm], tuple[float, AuditedAccuracy]] = {}

    def named(self, name: str) -> ServedRelease:
        """The release of that name, or the live one for an empty name. Raises NotFound."""
        live = self.live.summary.name
        if name in ("", live):
            return self.live
        raise NotFound(
            f"release {quoted(name)} is not served here; leave it empty, or request {live!r}", field="release"
        )

    def accuracy(self, name: str, form: AnswerForm = AnswerForm.FAST) -> AuditedAccuracy:
        """Accuracy of a release's answers of one form by its audits so far. Blocks on the ledger."""
        found = self._ledger.accuracy(name, form)
        return AuditedAccuracy(
            found.audits, found.recall, found.recall_low, found.recall_high, found.missed_influence
        )

    def stated_accuracy(self, name: str, form: AnswerForm) -> AuditedAccuracy:
        """The accuracy that answers of one form state: at most a second old. Blocks on the ledger once a
        second."""
        now, stated = time.monotonic(), self._stated.get((name, form))
        if stated is None or now - stated[0] >= _STATED_SECONDS:
            stated = self._stated[name, form] = (now, self.accuracy(name, form))
        return stated[1]

    async def answer(self, name: str) -> ReleaseAnswer:
        """A release with its audited accuracy. Raises NotFound, Unavailable."""
        summary = self.named(name).summary
        return ReleaseAnswer(summary, await self._ledger.threads.read(self.accuracy, summary.name))
