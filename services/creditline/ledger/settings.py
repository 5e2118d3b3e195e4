"""Location of the ledger, read from `CREDITLINE_LEDGER_URL` or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from creditline.credentials.secret_files import with_secret
from creditline.credentials.settings import files_of_url
from creditline.credentials.tls_files import TlsFiles
from creditline.ledger.database.store import default_ledger_url
from creditline.settings import ServiceSettings


class LedgerSettings(ServiceSettings):
    """Settings of the ledger."""

    ledger_url: str = Field(default_factory=default_ledger_url)
    """SQLAlchemy URL of the database; by default a SQLite file in the user's state directory. In a URL of
    PostgreSQL, `?password_file=PATH` names a file with the password, which is read for every new connection;
    `sslmode` and `sslrootcert` are those of libpq."""
    ledger_url_file: Path | None = None
    """File with that URL instead, such as a mounted secret; it is read at the start."""

    @property
    def tls_to_ledger(self) -> TlsFiles | None:
        """Files that the URL names; None where it names none."""
        return files_of_url(self.ledger_url, cert="sslcert", key="sslkey", ca="sslrootcert")

    @model_validator(mode="before")
    @classmethod
    def _ledger_url_from_its_file(cls, values: Any) -> Any:
        return with_secret(values, "ledger_url")
