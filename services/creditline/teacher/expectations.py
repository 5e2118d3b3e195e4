"""The influence that a release expects of any work: its calibrated score for the query's vector."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.halves import Halves
from creditline.errors import CreditlineError
from creditline.ledger import EXPECTED, StoredAttribution
from creditline.release import open_release

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expectations:
    """A release's vectors and calibration."""

    release: str
    """Name of the release."""
    rows: Mapping[str, int]
    """Rows of `vectors` by work id."""
    vectors: NDArray[np.float32]
    """Vectors of the works: (N, dimension) float32."""
    calibration: Calibration
    """From cosine to expected influence."""
    collection: str = ""
    """Alias under which the release's works are searched."""
    halves: Halves | None = None
    """Calibrations of pictures and prompts alone; None where the release has none."""

    @classmethod
    def open(cls, directory: Path) -> Expectations:
        """Read a release. Raises NotReady if there is none, FingerprintMismatch if it is damaged."""
        release = open_release(directory)
        rows = {work_id: row for row, work_id in enumerate(release.work_ids())}
        return cls(
            release.name, rows, release.vectors(), release.calibration(), release.collection, release.halves()
        )

    def of(self, attribution: StoredAttribution, work_ids: Sequence[str]) -> list[float | None]:
        """Expected influence of each work on the query.

        The stored vector is that of the query as the answer read it: an answer from the picture alone is
        compared by the calibration of such answers. A re-ranked answer stores what it expected of all works
        that were re-ranked. None for a work that the release does not know, and for
        all works if another release answered.
        """
        calibration = self._calibration_of(attribution)
        query = np.asarray(attribution.answer.get("vector", ()), dtype=np.float32)
        if (
            calibration is None
            or attribution.release != self.release
            or query.shape != self.vectors.shape[1:]
        ):
            return [None] * len(work_ids)
        known = [work_id for work_id in work_ids if work_id in self.rows]
        all_cosines = self.vectors @ query
        cosines = all_cosines[[self.rows[work_id] for work_id in known]]
        curves = calibration.for_query(float(all_cosines.max(initial=-1.0)))
        influence = dict(zip(known, curves.expected_influence(cosines).tolist(), strict=True))
        influence |= attribution.answer.get(EXPECTED, {})
        return [float(influence[work_id]) if work_id in influence else None for work_id in work_ids]

    def _calibration_of(self, attribution: StoredAttribution) -> Calibration | None:
        """The calibration that an answer was made with; None where the release does not have it."""
        if not attribution.from_picture_alone:
            return self.calibration
        return None if self.halves is None else self.halves.picture


def open_expectations(directory: Path) -> Expectations | None:
    """As `Expectations.open`; without a release, logs a warning and returns None, and audits go on."""
    try:
        return Expectations.open(directory)
    except CreditlineError as error:
        _log.warning("rank correlations will cover listed works only: %s", error.message)
        return None
