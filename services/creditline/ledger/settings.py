"""Location of the ledger, read from `CREDITLINE_LEDGER_URL`."""

from __future__ import annotations

from pydantic import Field

from creditline.ledger.database.store import default_ledger_url
from creditline.settings import ServiceSettings


class LedgerSettings(ServiceSettings):
    """Settings of the ledger."""

    ledger_url: str = Field(default_factory=default_ledger_url)
    """URL of the database; by default a SQLite file in the user's state directory."""
