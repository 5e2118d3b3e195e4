"""API keys that the operator gives the gateway directly: in an environment variable, or in a mounted file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from secrets import compare_digest

from creditline.errors import InvalidInput, NotReady
from creditline.gateway.access.caller import Caller
from creditline.ledger import Scope
from creditline.ledger.keys import digest_of

OPERATOR = "operator"
"""Owner of what is recorded for callers with such a key."""
_ENVIRONMENT = Caller("environment", OPERATOR, frozenset({Scope.ADMIN}))
_FILE = Caller("file", OPERATOR, frozenset({Scope.ADMIN}))
_MOST_FILE_BYTES = 1 << 20
_COMMENT = "#"
_log = logging.getLogger(__name__)


class StaticKeys:
    """Admin keys from the environment and from a file, which is read again while the gateway runs.

    A file that has gone has no keys. One that cannot be read for another reason, such as a fault of the
    network file system, keeps those that were read last.

    Args:
        keys: Keys from the environment.
        file: File with one key a line; blank lines and lines that begin with # are left out. None: no file.

    Raises:
        NotReady: The file does not exist or cannot be read.
        InvalidInput: The file is too large, or no text.
    """

    def __init__(self, keys: Collection[str], file: Path | None = None) -> None:
        self._file = file
        self._digests = _digests(keys)
        self._file_digests = frozenset[str]()
        self._problem = ""
        if file is not None:
            try:
                self._file_digests = _read(file)
            except OSError as error:
                raise NotReady(
                    f"the file of API keys {file} cannot be read ({error.strerror}); create it, or correct"
                    " CREDITLINE_API_KEYS_FILE",
                    field="api_keys_file",
                ) from error

    @property
    def configured(self) -> bool:
        """Whether the operator gave a key or a file, which may be empty."""
        return bool(self._digests) or self._file is not None

    def refresh(self) -> None:
        """Read the file again; a failure is logged once. Blocks."""
        if self._file is None:
            return
        try:
            self._file_digests, problem = _read(self._file), ""
        except FileNotFoundError:
            self._file_digests, problem = frozenset(), "it does not exist; its keys are no longer accepted"
        except (OSError, InvalidInput) as error:
            problem = f"{error}; the keys that it held before stay accepted"
        if problem and problem != self._problem:
            _log.error("the file of API keys %s: %s", self._file, problem)
        self._problem = problem

    def caller_with(self, text: str) -> Caller | None:
        """The caller whose key a text is; None: it is none of these keys."""
        digest = digest_of(text)
        # Every digest is compared, so that the time reveals nothing.
        in_environment, in_file = (
            sum(compare_digest(digest, known) for known in digests) > 0
            for digests in (self._digests, self._file_digests)
        )
        return _ENVIRONMENT if in_environment else _FILE if in_file else None


def _digests(keys: Iterable[str]) -> frozenset[str]:
    return frozenset(map(digest_of, keys))


def _read(file: Path) -> frozenset[str]:
    with file.open("rb") as opened:
        content = opened.read(_MOST_FILE_BYTES + 1)
    if len(content) > _MOST_FILE_BYTES:
        raise InvalidInput(
            f"{file} has more than {_MOST_FILE_BYTES:,} bytes; give a file with one API key a line",
            field="api_keys_file",
        )
    try:
        lines = [line.strip() for line in content.decode().splitlines()]
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{file} is no text in UTF-8; give a file with one API key a line", field="api_keys_file"
        ) from error
    return _digests(line for line in lines if line and not line.startswith(_COMMENT))
