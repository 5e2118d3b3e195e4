"""Checks of requests: every error names the field, its value and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from creditline.api.answers import AnswerForm, WorkFilter
from creditline.api.vectors import QueryVector
from creditline.corpus.texts import check_prompt
from creditline.errors import InvalidInput

DEFAULT_K = 10
MOST_WORKS = 1_000
LONGEST_ID = 500
_SHOWN_CHARACTERS = 60
FINGERPRINT = "[0-9a-f]{64}"
LEDGER_ID = "[0-9a-f]{32}"


@dataclass(frozen=True)
class AttributionRequest:
    """A request to attribute a picture."""

    image: bytes
    """The picture, as a file's content; empty for a private query."""
    prompt: str
    """The prompt that the picture was made from; empty for a private query."""
    generator: str
    """Fingerprint of the generator that made the picture; empty for the only one that is served."""
    k: int = DEFAULT_K
    """Number of works to list."""
    release: str = ""
    """Name of the release to answer with; empty for the live one."""
    filter: WorkFilter | None = None
    """Restriction of the listed works; None for all works."""
    caller: str = ""
    """On whose behalf it is asked: the owner of the API key; empty where no key is needed."""
    request_id: str = ""
    """Id under which the caller may repeat the request; empty: none."""

    vector: QueryVector | None = None
    """A private query: the vector that its caller made of picture and prompt; None for those themselves."""
    form: AnswerForm = AnswerForm.FAST
    """Form of the answer."""

    def check(self) -> None:
        """Raise InvalidInput for a wrong prompt, generator or k.

        The picture is checked on decoding, a vector against the release that answers.
        """
        if self.vector is None:
            check_prompt(self.prompt)
        elif self.image or self.prompt:
            raise InvalidInput(
                "vector comes with image or prompt; send picture and prompt, or their vector alone",
                field="vector",
            )
        if self.vector is not None and self.form is AnswerForm.RERANKED:
            raise InvalidInput(
                "a private query cannot be re-ranked: its gradient is taken on the picture, which a vector"
                " does not hold; ask for a fast answer, or send picture and prompt",
                field="form",
            )
        _check_generator(self.generator)
        if not 1 <= self.k <= MOST_WORKS:
            raise InvalidInput(f"k is {self.k}; request 1 to {MOST_WORKS:,} works", field="k")


def _check_generator(generator: str) -> None:
    if generator and not re.fullmatch(FINGERPRINT, generator):
        raise InvalidInput(
            f"generator is {quoted(generator)}; send the fingerprint of the generator that made the picture, "
            "64 hex digits in lower case (the release names it), or leave it out",
            field="generator",
        )


def checked_ledger_id(value: str, *, field: str) -> str:
    """The value, when it has the form of the ledger's ids; raises InvalidInput naming `field` otherwise."""
    if not re.fullmatch(LEDGER_ID, value):
        raise InvalidInput(
            f"{field} is {quoted(value)}; send an id from an answer of the gateway, 32 hex digits",
            field=field,
        )
    return value


def checked_work_id(value: str) -> str:
    """The value, when it has the length of a work's id; raises InvalidInput otherwise."""
    if not 1 <= len(value) <= LONGEST_ID:
        raise InvalidInput(f"id is {quoted(value)}; send the id of a listed work", field="id")
    return value


def quoted(value: str) -> str:
    """A value as errors quote it: escaped, and truncated when it is long."""
    if len(value) <= _SHOWN_CHARACTERS:
        return ascii(value)
    return f"{value[:_SHOWN_CHARACTERS]!a}… ({len(value):,} characters)"
