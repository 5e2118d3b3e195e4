"""How much of each listed work's share rests on the picture, and how much on the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.halves import divided
from creditline.calibration.query_cosines import QueryCosines
from creditline.calibration.shares import Group
from creditline.embedder_client.queries import EmbeddedQuery
from creditline.gateway.use_cases.added_works import Owed


@dataclass(frozen=True)
class SharesByHalf:
    """The parts of the listed works' shares, in the order of their ranks, and the sums of these parts."""

    pictures: tuple[float, ...] = ()
    """Parts that rest on the picture; empty: not known."""
    prompts: tuple[float, ...] = ()
    """Parts that rest on the prompt; empty: not known."""
    from_picture: float | None = None
    """Sum of the parts that rest on the picture; None: not known."""
    from_prompt: float | None = None
    """Sum of the parts that rest on the prompt; None: not known."""


NOT_DIVIDED = SharesByHalf()
"""Of shares whose parts are not known."""


def by_picture_alone(shares: Sequence[float]) -> SharesByHalf:
    """Parts of shares in which the prompt had no part."""
    return SharesByHalf(tuple(shares), (0.0,) * len(shares), sum(shares), 0.0)


def shares_by_half(
    shares: Sequence[float],
    listed: Sequence[Group],
    query: EmbeddedQuery,
    owed: Owed,
    vectors: Mapping[str, NDArray[np.float32]],
) -> SharesByHalf:
    """Divide the shares of listed works between picture and prompt (`calibration.halves.divided`).

    Args:
        shares: Shares of the listed works.
        listed: Their duplicate groups, in the same order.
        query: The query, with the vectors of its halves.
        owed: What may be owed, with the release's calibrations.
        vectors: Vectors of all members of the groups, by work id; where one is missing, nothing is divided.
    """
    halves, picture, prompt = owed.release.halves, query.picture_alone, query.prompt_alone
    members = [member.work_id for group in listed for member in group.members]
    if halves is None or picture is None or prompt is None or not shares:
        return NOT_DIVIDED
    if any(work_id not in vectors for work_id in members):
        return NOT_DIVIDED
    rows = np.stack([vectors[work_id] for work_id in members])
    sizes = [len(group.members) for group in listed]
    alone = []
    for half, curves in ((QueryCosines(picture), halves.picture), (QueryCosines(prompt), halves.prompt)):
        calibration = half.calibration(curves, owed.release.sample)
        others = _others(half, calibration, owed, members)
        alone.append(_shares(rows @ half.vector, sizes, calibration, others))
    parts = divided(np.array(shares), alone[0], alone[1])
    of_pictures, of_prompts = (tuple(part.tolist()) for part in parts)
    return SharesByHalf(of_pictures, of_prompts, float(parts[0].sum()), float(parts[1].sum()))


def _others(half: QueryCosines, calibration: Calibration, owed: Owed, members: Sequence[str]) -> float:
    """Expected influence of all works that are not listed, given one half of the query."""
    sample = owed.release.sample
    return sample.others_influence(
        half.vector, calibration, members, works=owed.works, cosines=half.with_works(sample)
    )


def _shares(
    cosines: NDArray[np.float32], sizes: Sequence[int], calibration: Calibration, others: float
) -> NDArray[np.float64]:
    """Shares of duplicate groups, given one half of the query.

    Args:
        cosines: (M,) of the members of all groups, one group after another.
        sizes: (G,) numbers of members.
        calibration: Curves of that half.
        others: Expected influence of all other works.
    """
    parts = np.maximum(calibration.expected_influence(cosines), 0.0)
    of_groups = np.add.reduceat(parts, np.cumsum([0, *sizes[:-1]]))
    total = float(of_groups.sum()) + others
    shares: NDArray[np.float64] = of_groups / total if total > 0.0 else np.zeros_like(of_groups)
    return shares
