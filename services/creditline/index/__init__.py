"""Vectors of works in Qdrant: collection layout, ingest, search, builds of releases, capacity planning.

Public modules: `builds.ownership`, `builds.promotion`, `builds.releases`, `capacity.choice`,
`capacity.estimates`, `capacity.values`, `encoders`, `ingest.checkpoint`, `ingest.ingest`, `ingest.vectors`,
`search`, `withdrawal`, `works`.
"""

from creditline.index.builds.loading import LoadAction, LoadOutcome, load_release
from creditline.index.builds.releases import LoadReport, index_release, is_loaded
from creditline.index.filters import WorkFilter
from creditline.index.plan import IndexPlan
from creditline.index.points import Hit, WorkPoint, point_id
from creditline.index.search import WorkSearch
from creditline.index.settings import QdrantSettings
from creditline.index.withdrawal import apply_withdrawals, enforce_withdrawals
from creditline.index.works import WorkIndex

__all__ = [
    "Hit",
    "IndexPlan",
    "LoadAction",
    "LoadOutcome",
    "LoadReport",
    "QdrantSettings",
    "WorkFilter",
    "WorkIndex",
    "WorkPoint",
    "WorkSearch",
    "apply_withdrawals",
    "enforce_withdrawals",
    "index_release",
    "is_loaded",
    "load_release",
    "point_id",
]
