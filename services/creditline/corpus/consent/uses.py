"""Consent: for each use of a work, what its statements say, kept with their places and their own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Use(StrEnum):
    """A use of a work about which a statement may say something."""

    GENERATIVE_TRAINING = "generative_training"
    """Training of a generative model."""
    TRAINING = "training"
    """Training of any other model."""
    MINING = "mining"
    """Text and data mining."""
    INFERENCE = "inference"
    """Input of a trained model."""


class Permission(StrEnum):
    """What is said about one use."""

    ALLOWED = "allowed"
    """The use is allowed in so many words; a licence or silence never amounts to this."""
    CONSTRAINED = "constrained"
    """The use is allowed under conditions that only a person can check, such as a price."""
    PROHIBITED = "prohibited"
    """The use is prohibited."""
    UNREADABLE = "unreadable"
    """There is a statement that could not be read."""
    UNSPECIFIED = "unspecified"
    """Nothing is said."""


TRAINING_USES = (Use.GENERATIVE_TRAINING, Use.TRAINING)
MINING_USES = (*TRAINING_USES, Use.MINING)
"""Uses that a reservation of text and data mining covers: training is one of its purposes."""
# A restriction that was read holds whatever else is there; a statement that could not be read leaves no
# permission standing.
_MOST_RESTRICTIVE_FIRST = (
    Permission.PROHIBITED,
    Permission.CONSTRAINED,
    Permission.UNREADABLE,
    Permission.ALLOWED,
    Permission.UNSPECIFIED,
)


@dataclass(frozen=True)
class Statement:
    """One statement about the use of a work."""

    place: str
    """Where it was read, such as `XMP plus:DataMining` or `column tdm_reservation`."""
    text: str
    """The statement in its own words, at most 500 characters."""
    generative_training: Permission = Permission.UNSPECIFIED
    """What it says about the training of generative models."""
    training: Permission = Permission.UNSPECIFIED
    """What it says about the training of other models."""
    mining: Permission = Permission.UNSPECIFIED
    """What it says about text and data mining."""
    inference: Permission = Permission.UNSPECIFIED
    """What it says about the input of trained models."""

    @classmethod
    def of(cls, place: str, text: str, permissions: Mapping[Use, Permission]) -> Self:
        """A statement; the uses that `permissions` does not name are unspecified."""
        return cls(place, text[:MOST_TEXT], **{use.value: granted for use, granted in permissions.items()})

    @classmethod
    def unreadable(cls, place: str, text: str) -> Self:
        """A statement that is there and could not be read."""
        return cls.of(place, text, dict.fromkeys(Use, Permission.UNREADABLE))

    def about(self, use: Use) -> Permission:
        """What the statement says about a use."""
        permission: Permission = getattr(self, use.value)
        return permission

    @property
    def is_unreadable(self) -> bool:
        """Whether something that it says about a use could not be read."""
        return any(self.about(use) is Permission.UNREADABLE for use in Use)


MOST_TEXT = 500
"""Length in characters of the longest text that is kept of a statement."""


@dataclass(frozen=True)
class Consent:
    """All statements about the use of a work; the most restrictive one holds."""

    statements: tuple[Statement, ...] = ()
    """The statements, in the order in which they were read."""

    def about(self, use: Use) -> Permission:
        """The most restrictive of what the statements say about a use; unspecified without any."""
        return most_restrictive(statement.about(use) for statement in self.statements)

    @property
    def by_use(self) -> dict[str, str]:
        """What holds for each use, by the use's name."""
        return {use.value: self.about(use).value for use in Use}

    def with_statements(self, more: Iterable[Statement]) -> Consent:
        """The consent with further statements, without repetitions."""
        return Consent(tuple(dict.fromkeys((*self.statements, *more))))


def most_restrictive(permissions: Iterable[Permission]) -> Permission:
    """The most restrictive permission; unspecified if there is none."""
    return min(permissions, key=_MOST_RESTRICTIVE_FIRST.index, default=Permission.UNSPECIFIED)


NOTHING_SAID = Consent()
"""The consent of a work about which nothing is said."""
