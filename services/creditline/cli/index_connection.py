"""Resources of the `creditline index` commands: the index, its layout plan, and the withdrawals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from creditline.corpus.withdrawn import Withdrawn
    from creditline.index import IndexPlan, WorkIndex

PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        help="Layout of new collections, as JSON written by `creditline index plan --write`.",
        envvar="CREDITLINE_INDEX_PLAN",
    ),
]


def connect(plan: Path | None = None) -> WorkIndex:
    """Connect to the Qdrant server of CREDITLINE_QDRANT_*.

    Args:
        plan: File with the layout of new collections; None uses the default layout.
    """
    from creditline.index import QdrantSettings, WorkIndex
    from creditline.settings import read_settings

    settings = read_settings(QdrantSettings)
    return WorkIndex.connect(
        settings.host, settings.grpc_port, settings.timeout_seconds, plan=read_plan(plan) if plan else None
    )


def read_plan(path: Path) -> IndexPlan:
    """Read a layout plan.

    Raises:
        NotReady: The file cannot be read.
        InvalidInput: The file is not a plan.
    """
    from creditline.errors import NotReady
    from creditline.index import IndexPlan

    try:
        return IndexPlan.from_json(path.read_text())
    except OSError as error:
        raise NotReady(
            f"no plan at {path} ({error.strerror}); make one with `creditline index plan --write {path}`",
            field="plan",
        ) from error


def withdrawn_by_ledger() -> Withdrawn:
    """The works and contributors that are withdrawn in the ledger at CREDITLINE_LEDGER_URL.

    Raises:
        Unavailable: The ledger cannot be reached.
    """
    from creditline.ledger import Ledger, LedgerSettings
    from creditline.settings import read_settings

    with Ledger.open(read_settings(LedgerSettings).ledger_url) as ledger:
        return ledger.withdrawn()
