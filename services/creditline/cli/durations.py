"""Durations on the command line, such as `90d` or `12h`."""

from __future__ import annotations

import re
from datetime import timedelta

from creditline.errors import InvalidInput

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# A number of more digits passes every sensible limit, and could not be computed with.
_FORM = re.compile(r"(\d{1,7})([smhd])")


def read_duration(text: str, *, option: str) -> timedelta:
    """The duration that a text states.

    Args:
        text: A whole number with a unit: `45s`, `30m`, `12h` or `90d`.
        option: Name of the option, for the error.

    Raises:
        InvalidInput: The text has another form.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(
            f"{option} is {text!r}; give a whole number with its unit, such as 45s, 30m, 12h or 90d",
            field=option.lstrip("-"),
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
