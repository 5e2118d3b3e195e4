"""What callers ask for, checked: every refusal names the field, its value and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from creditline.errors import InvalidInput

DEFAULT_K = 10
_MOST_WORKS = 1_000
_LONGEST_PROMPT = 2_000
_LONGEST_ID = 500
_SHOWN_CHARACTERS = 60
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_LEDGER_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class AttributionRequest:
    """A picture (a file's bytes), its prompt, the fingerprint of the generator that made it, and what is
    wanted: `k` works from `release` (empty for the live one)."""

    image: bytes
    prompt: str
    generator: str
    k: int = DEFAULT_K
    release: str = ""

    def check(self) -> None:
        """Raises InvalidInput for prompt, generator or k; the picture is checked as it is decoded."""
        _check_prompt(self.prompt)
        _check_generator(self.generator)
        if not 1 <= self.k <= _MOST_WORKS:
            raise InvalidInput(f"k is {self.k}; ask for 1 to {_MOST_WORKS:,} works", field="k")


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise InvalidInput(
            f"prompt is {'blank' if prompt else 'empty'}; send the prompt that the picture was made from",
            field="prompt",
        )
    if len(prompt) > _LONGEST_PROMPT:
        raise InvalidInput(
            f"prompt has {len(prompt):,} characters; at most {_LONGEST_PROMPT:,} are taken: shorten it",
            field="prompt",
        )
    if "\x00" in prompt:
        raise InvalidInput("prompt holds a NUL character; send plain text", field="prompt")


def _check_generator(generator: str) -> None:
    if not _FINGERPRINT.fullmatch(generator):
        raise InvalidInput(
            f"generator is {shown(generator)}; send the fingerprint of the generator that made the picture, "
            "64 hex digits in lower case (the release names it)",
            field="generator",
        )


def checked_ledger_id(value: str, *, field: str) -> str:
    """An id that the ledger gave out. Raises InvalidInput."""
    if not _LEDGER_ID.fullmatch(value):
        raise InvalidInput(
            f"{field} is {shown(value)}; send an id that the gateway gave out, 32 hex digits", field=field
        )
    return value


def checked_work_id(value: str) -> str:
    """A work's id, of sensible length. Raises InvalidInput."""
    if not 1 <= len(value) <= _LONGEST_ID:
        raise InvalidInput(f"id is {shown(value)}; send the id of a listed work", field="id")
    return value


def shown(value: str) -> str:
    """A value as errors quote it: with its end left out when it is long."""
    if len(value) <= _SHOWN_CHARACTERS:
        return ascii(value)
    return f"{value[:_SHOWN_CHARACTERS]!a}… ({len(value):,} characters)"
