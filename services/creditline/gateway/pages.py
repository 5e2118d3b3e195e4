"""Pages of lists (AIP-158): sizes and tokens of pages.

A token holds where its page begins, and a check value over the list and the caller's scope, so that a token
of another list, of another owner or with a typing mistake is refused. It is no secret and grants nothing:
each page is read under the scope of the caller who asks for it.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from creditline.errors import InvalidInput

DEFAULT_PAGE = 100
MOST_IN_PAGE = 1_000
LONGEST_TOKEN = 2_800
"""Characters of the longest token: that of a work whose id has 500 characters."""
LARGEST_SIZE = (1 << 31) - 1
_CHECK_BYTES = 9
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class PageRequest:
    """Which page of a list is asked for."""

    size: int = 0
    """Largest number of entries; 0: `DEFAULT_PAGE`. Above `MOST_IN_PAGE` it is that."""
    token: str = ""
    """The token that the page before gave; empty for the first page."""

    @property
    def limit(self) -> int:
        """Largest number of entries. Raises InvalidInput for a negative size."""
        if not 0 <= self.size <= LARGEST_SIZE:
            raise InvalidInput(
                f"page_size is {self.size}; request 1 to {MOST_IN_PAGE:,} entries, or 0 for {DEFAULT_PAGE}",
                field="page_size",
            )
        return min(self.size or DEFAULT_PAGE, MOST_IN_PAGE)


@dataclass(frozen=True)
class PageTokens:
    """The tokens of one list for one scope."""

    listed: str
    """What is listed."""
    owner: str | None = None
    """Owner whose entries are listed; None: all."""

    def token(self, last: str) -> str:
        """The token of the page that begins after an entry.

        Args:
            last: What identifies the entry in the order of the list.
        """
        return urlsafe_b64encode(self._check(last) + last.encode()).decode().rstrip("=")

    def last(self, token: str, read: Callable[[str], Entry]) -> Entry | None:
        """The entry after which a page begins; None for an empty token, which means the first page.

        Args:
            token: The token.
            read: Reads what `token` was given; raises ValueError for what it cannot have been given.

        Raises:
            InvalidInput: The token is none of this list and scope.
        """
        if not token:
            return None
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            last = raw[_CHECK_BYTES:].decode()
            if self.token(last) != token:
                raise _wrong_token()
            return read(last)
        except (ValueError, OverflowError):
            raise _wrong_token() from None

    def _check(self, last: str) -> bytes:
        scope = "all" if self.owner is None else f"of {self.owner}"
        return hashlib.sha256("\0".join((self.listed, scope, last)).encode()).digest()[:_CHECK_BYTES]


def _wrong_token() -> InvalidInput:
    return InvalidInput(
        "page_token is none that this list gave to the owner of this API key; send next_page_token of the"
        " page before, or leave it out for the first page",
        field="page_token",
    )
