"""An audit: unlearn a served query, measure which works were forgotten with it, and judge the served list."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.api.answers import Verdict
from creditline.attribution.unlearning.ascent import Step
from creditline.attribution.unlearning.teacher import Query, Teacher
from creditline.errors import CreditlineError, Unavailable
from creditline.evaluation.verdict import JudgedWork, judge
from creditline.ledger import Audit, AuditState, Ledger, StoredAttribution
from creditline.ledger.verification import ADDITIONS_KNOWN
from creditline.teacher.additions import GrownCorpora
from creditline.teacher.audits.lease import held_lease
from creditline.teacher.audits.samples import ServedWork, audit_seed, draw_sample, served_works
from creditline.teacher.loading import Loaded, Loader
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.stopping import GivenBack, Stop

# Works scored between two checks for a stop.
_WORKS_PER_BLOCK = 12
_log = logging.getLogger(__name__)


class AuditFailed(CreditlineError):
    """The audit failed for good; the message gives the reason and the remedy."""


class Busy(CreditlineError):
    """Another worker holds the audit's lease.

    Args:
        message: the error message.
        seconds: longest time until the lease expires.
    """

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclasses.dataclass(frozen=True)
class AuditPlan:
    """How a worker audits."""

    worker: str
    """Name of the worker, for leases."""
    lease_seconds: float
    """Length of a lease, which is renewed during the audit."""
    sampled_works: int
    """Number of unlisted works to score."""


class Auditor:
    """Audits the attributions of a ledger, one at a time. A repeated audit returns the first verdict.

    Args:
        ledger: attributions, audits and leases.
        loader: the models and data.
        metrics: counts and times the audits.
        stop: checked between blocks of works.
        plan: leases and the sample's size.
    """

    def __init__(
        self, ledger: Ledger, loader: Loader, metrics: TeacherMetrics, stop: Stop, plan: AuditPlan
    ) -> None:
        self._ledger = ledger
        self._loader = loader
        self._metrics = metrics
        self._stop = stop
        self._plan = plan
        self._corpora = GrownCorpora()

    def audit(self, attribution_id: str) -> Verdict:
        """Audit an attribution, or return the verdict that it has already.

        Args:
            attribution_id: id of the attribution.

        Raises:
            NotFound: The ledger holds no such attribution.
            AuditFailed: The audit failed, now or before; the message names the reason.
            Busy: Another worker holds the audit's lease.
            GivenBack: This worker is stopping; the audit goes back into the queue.
            Unavailable: The ledger does not answer.
        """
        audit = self._ledger.submit_audit(attribution_id, publish=False)
        if audit.state in (AuditState.DONE, AuditState.FAILED):
            self._metrics.count("repeated")
            return _verdict_of(audit)
        self._take(audit)
        lease = held_lease(
            self._ledger,
            audit.id,
            self._plan.worker,
            self._plan.lease_seconds,
            on_failure=self._metrics.lease_failures.inc,
        )
        with lease, self._metrics.running.track_inprogress(), self._metrics.timed_audit():
            self._run(audit)
        return _verdict_of(self._ledger.audit(audit.id))

    def _take(self, audit: Audit) -> None:
        if not self._ledger.acquire_audit(audit.id, self._plan.worker, self._plan.lease_seconds):
            self._metrics.count("busy")
            raise Busy(f"audit {audit.id} is held by another worker", seconds=self._plan.lease_seconds)
        if audit.state is AuditState.RUNNING:
            self._metrics.leases_taken_over.inc()

    def _run(self, audit: Audit) -> None:
        """Write the verdict, or the reason for the failure, into the ledger."""
        try:
            attribution = self._ledger.attribution(audit.attribution_id)
            verdict = self._judge(audit, attribution)
            ordinary = not attribution.from_picture_alone
            self._ledger.finish_audit(audit.id, verdict, ordinary=ordinary, form=attribution.form)
            self._metrics.count("done")
            self._metrics.last_verdict.set_to_current_time()
        except GivenBack:
            self._metrics.count("given_back")
            raise
        except Unavailable:
            raise
        except CreditlineError as error:
            self._fail(audit, error.message)
        except Exception as error:
            _log.exception("audit %s failed", audit.id)
            self._fail(
                audit, f"unhandled error in the teacher ({type(error).__name__}: {error}); see its log"
            )

    def _fail(self, audit: Audit, message: str) -> None:
        _log.warning("audit %s failed: %s", audit.id, message)
        self._ledger.fail_audit(audit.id, message)
        self._metrics.count("failed")

    def _judge(self, audit: Audit, attribution: StoredAttribution) -> Verdict:
        began = time.perf_counter()
        loaded = self._loader.get()
        loaded.refuse_foreign(attribution)
        additions = self._ledger.additions(attribution.release).of_generator(attribution.generator)
        known = additions.until(int(attribution.answer.get(ADDITIONS_KNOWN, 0)))
        verdict = self._verdict(attribution, self._corpora.grown(loaded, known), began)
        _log.info("audit %s done in %.1f s", audit.id, time.perf_counter() - began)
        return verdict

    def _verdict(self, attribution: StoredAttribution, loaded: Loaded, began: float) -> Verdict:
        served, seed = served_works(attribution.answer), audit_seed(attribution.id)
        sample = draw_sample(
            loaded.corpus,
            served,
            size=self._plan.sampled_works,
            seed=seed,
            withdrawn=self._ledger.withdrawn(),
        )
        step = loaded.teacher.unlearn(query_of(attribution))
        rows = [*sample.listed, *sample.drawn]
        influence = self._influence_in_blocks(loaded.teacher, step, rows)
        ids = [loaded.corpus.ids[row] for row in rows]
        judged = [
            JudgedWork(work_id, float(value), expectation)
            for work_id, value, expectation in zip(
                ids, influence, _expected(attribution, loaded, served, ids), strict=True
            )
        ]
        return judge(
            judged[: len(served)],
            judged[len(served) :],
            others=sample.others,
            query_rise=step.rise,
            seconds=time.perf_counter() - began,
            seed=seed,
        )

    def _influence_in_blocks(self, teacher: Teacher, step: Step, rows: Sequence[int]) -> NDArray[np.float64]:
        """The step's influence on the works in `rows`: (R,) float64. Raises GivenBack."""
        values = []
        for start in range(0, len(rows), _WORKS_PER_BLOCK):
            self._stop.refuse_when_over()
            block = rows[start : start + _WORKS_PER_BLOCK]
            values.append(teacher.influence_after(step, block))
            self._metrics.passes.inc(len(block) * len(teacher.origin.draws))
        return np.concatenate(values)


def query_of(attribution: StoredAttribution) -> Query:
    """The query that was served. Its noise depends only on picture and prompt.

    An answer from the picture alone is held against what the picture owes without a prompt: the model
    unlearns it with the empty one.
    """
    prompt = "" if attribution.from_picture_alone else attribution.prompt
    with Image.open(io.BytesIO(attribution.image)) as opened:
        picture = opened.convert("RGB")
    content = hashlib.sha256(picture.tobytes() + prompt.encode()).hexdigest()
    return Query(content, picture, prompt)


def _expected(
    attribution: StoredAttribution, loaded: Loaded, served: Sequence[ServedWork], ids: Sequence[str]
) -> list[float | None]:
    """Expected influence of each scored work: as served, or as the release would have served it.

    The served works come first in `ids`; None where the release does not know the work.
    """
    known: list[float | None] = [None] * len(ids)
    if loaded.expectations is not None:
        known = loaded.expectations.of(attribution, ids)
    stated = [work.expected_influence for work in served]
    return [
        served_value if served_value is not None else release_value
        for served_value, release_value in zip(
            [*stated, *[None] * (len(ids) - len(served))], known, strict=True
        )
    ]


def _verdict_of(audit: Audit) -> Verdict:
    if audit.verdict is None:
        raise AuditFailed(f"audit {audit.id} failed: {audit.error}")
    return audit.verdict
