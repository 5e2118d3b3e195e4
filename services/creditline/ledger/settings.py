"""Where the ledger is: one settings class, read from `CREDITLINE_LEDGER_URL`."""

from __future__ import annotations

from pydantic import Field

from creditline.ledger.store import default_ledger_url
from creditline.settings import ServiceSettings


class LedgerSettings(ServiceSettings):
    """The database that holds the ledger; by default a file in the user's state directory."""

    ledger_url: str = Field(default_factory=default_ledger_url)
