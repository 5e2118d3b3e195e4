"""What every `creditline index` command needs: the index, a plan, and what is withdrawn."""

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
        help="How new collections are laid out: JSON, as `creditline index plan --write` makes it.",
        envvar="CREDITLINE_INDEX_PLAN",
    ),
]


def connect(plan: Path | None = None) -> WorkIndex:
    """The Qdrant of CREDITLINE_QDRANT_*; new collections are laid out by `plan`."""
    from creditline.index import QdrantSettings, WorkIndex
    from creditline.settings import read_settings

    settings = read_settings(QdrantSettings)
    return WorkIndex.connect(
        settings.host, settings.grpc_port, settings.timeout_seconds, plan=read_plan(plan) if plan else None
    )


def read_plan(path: Path) -> IndexPlan:
    """Raises NotReady without the file, InvalidInput when it is no plan."""
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
    """What the ledger at CREDITLINE_LEDGER_URL says. Without it nothing is loaded. Raises Unavailable."""
    from creditline.ledger import Ledger, LedgerSettings
    from creditline.settings import read_settings

    with Ledger.open(read_settings(LedgerSettings).ledger_url) as ledger:
        return ledger.withdrawn()
