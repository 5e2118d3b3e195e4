"""Where the ledger is: one settings class, read from `CREDITLINE_LEDGER_URL`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from creditline.ledger.store import default_ledger_url


class LedgerSettings(BaseSettings):
    """The database that holds the ledger; by default a file in the user's state directory."""

    model_config = SettingsConfigDict(env_prefix="CREDITLINE_", env_ignore_empty=True)

    ledger_url: str = Field(default_factory=default_ledger_url)
