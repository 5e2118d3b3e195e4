"""Subjects of withdrawals and merges: whether the corpus or the live build holds them."""

from __future__ import annotations

import asyncio
import difflib

from creditline.corpus.identity import is_id
from creditline.errors import CreditlineError, NotFound
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.requests import quoted
from creditline.index import WorkFilter, WorkSearch
from creditline.ledger import WithdrawalKind

_SEARCH_SECONDS = 2.0
_MOST_SUGGESTIONS = 3


class Subjects:
    """The works and people whom answers can name.

    Args:
        catalog: Works and contributors of the corpus.
        search: Connection to the index.
        collection: Alias of the live build, which may hold works that the corpus does not.
    """

    def __init__(self, catalog: Catalog, search: WorkSearch, collection: str) -> None:
        self._catalog = catalog
        self._search = search
        self._collection = collection

    async def refuse_unknown(self, kind: WithdrawalKind, subject: str, *, field: str = "subject") -> None:
        """Check that the corpus or the live build holds a subject.

        Args:
            kind: Kind of the subject.
            subject: Id of the work, or name or id of the contributor.
            field: Name of the subject's field.

        Raises:
            NotFound: Neither holds it, or the corpus does not and the index cannot be reached.
        """
        key = kind.key(subject)
        is_work = kind is WithdrawalKind.WORK
        known = self._catalog.ids if is_work else await asyncio.to_thread(lambda: self._catalog.people)
        if key in known or await self._is_in_build(kind, key, subject):
            return
        suggestion = await asyncio.to_thread(self._suggestion, kind, subject)
        raise NotFound(
            f"{kind.noun} {quoted(subject)} is neither in corpus {self._catalog.name!r} nor in the live"
            f" build{suggestion} For a {kind.noun} of a future corpus, set allow_unknown (on the command line"
            " --not-in-corpus)",
            field=field,
        )

    async def _is_in_build(self, kind: WithdrawalKind, key: str, subject: str) -> bool:
        try:
            if kind is WithdrawalKind.WORK:
                found = await self._search.vectors(
                    self._collection, [subject], deadline_seconds=_SEARCH_SECONDS
                )
                return len(found) > 0
            names = () if is_id(key) else (subject,)
            where = WorkFilter(contributors=names, people=(key,))
            works = await self._search.count(self._collection, where=where, deadline_seconds=_SEARCH_SECONDS)
        except CreditlineError:
            return False
        return works > 0

    def _suggestion(self, kind: WithdrawalKind, subject: str) -> str:
        if kind is WithdrawalKind.CONTRIBUTOR_ID:
            return "."
        known = self._catalog.ids if kind is WithdrawalKind.WORK else self._catalog.contributors
        similar = similar_names(subject, known)
        return f"; did you mean {' or '.join(repr(name) for name in similar)}?" if similar else "."


def similar_names(subject: str, known: frozenset[str]) -> list[str]:
    """At most three known names that are similar to the subject, ignoring case; best first."""
    folded = {name.casefold(): name for name in sorted(known)}
    matches = difflib.get_close_matches(subject.casefold(), folded, n=_MOST_SUGGESTIONS)
    return [folded[name] for name in matches]
