"""Allowances of API keys: an amount in a time, such as 10 a second or 10,000 a day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from creditline.errors import InvalidInput

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NAMES = {"s": "s", "sec": "s", "second": "s", "m": "m", "min": "m", "minute": "m"}
_NAMES |= {"h": "h", "hour": "h", "d": "d", "day": "d"}
_FORM = re.compile(r"(?P<amount>[0-9]{1,9})/(?P<times>[0-9]{1,4})?(?P<unit>[a-z]+)")
_LONGEST_SECONDS = 31 * 86_400
# More would be less than a microsecond apart.
_MOST_A_SECOND = 100_000


@dataclass(frozen=True)
class Allowance:
    """An amount of requests in a time."""

    amount: int
    """Number of requests, 1 or more."""
    seconds: int
    """The time in which they are allowed."""

    @classmethod
    def parse(cls, text: str, *, field: str = "allowance") -> Self:
        """The allowance that a text states: `10/s`, `600/5m`, `10000/day`.

        Args:
            text: A whole number, a slash, and a time in seconds, minutes, hours or days.
            field: Name of the option or setting, for the error.

        Raises:
            InvalidInput: The text has another form, or a value is out of range.
        """
        found = _FORM.fullmatch(text.strip().lower())
        unit = _NAMES.get(found["unit"]) if found else None
        if found is None or unit is None:
            raise InvalidInput(
                f"{field} is {text!r}; give an amount and a time, such as 10/s, 600/5m or 10000/day",
                field=field,
            )
        amount, seconds = int(found["amount"]), int(found["times"] or 1) * _UNITS[unit]
        if not (1 <= seconds <= _LONGEST_SECONDS and 1 <= amount <= _MOST_A_SECOND * seconds):
            raise InvalidInput(
                f"{field} is {text!r}; give 1 to {_MOST_A_SECOND:,} a second, in 1 second to"
                f" {_LONGEST_SECONDS // 86_400} days",
                field=field,
            )
        return cls(amount, seconds)

    def __str__(self) -> str:
        """The shortest text that `parse` reads as this allowance."""
        unit = next(name for name in ("d", "h", "m", "s") if self.seconds % _UNITS[name] == 0)
        times = self.seconds // _UNITS[unit]
        return f"{self.amount}/{times if times > 1 else ''}{unit}"
