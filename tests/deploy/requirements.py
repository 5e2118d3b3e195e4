"""The distributions that an extra installs, from pyproject.toml and the metadata of installed packages."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.manifests import REPOSITORY

CONSTRAINTS = REPOSITORY / "deploy" / "constraints.txt"
_OURS = "creditline"


@cache
def project() -> dict[str, Any]:
    """The `[project]` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return table


@cache
def closure(extra: str = "") -> frozenset[str]:
    """Canonical names of all distributions that `creditline[extra]` brings on this machine, our own left out.

    A distribution that is not installed here is named, but not followed.
    """
    found: dict[tuple[str, str], None] = {}
    waiting = [(_OURS, each) for each in ("", extra)]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in found:
            continue
        found[name, wanted] = None
        for requirement in _requirements(name, wanted):
            needed = canonicalize_name(requirement.name)
            waiting += [(needed, each) for each in ("", *requirement.extras)]
    return frozenset(name for name, _ in found) - {_OURS}


def _requirements(name: str, extra: str) -> list[Requirement]:
    """Requirements of a distribution without extras, or those that one extra adds."""
    parsed = [Requirement(text) for text in _declared(name, extra)]
    return [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": extra})]


def _declared(name: str, extra: str) -> list[str]:
    if name == _OURS:
        listed: list[str] = project()["optional-dependencies"][extra] if extra else project()["dependencies"]
        return listed
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def pinned() -> dict[str, str]:
    """The version of every distribution in deploy/constraints.txt by its canonical name."""
    found = re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)$", CONSTRAINTS.read_text())
    return {canonicalize_name(name): version for name, version in found}


def pinned_by_project() -> frozenset[str]:
    """Names of the distributions that pyproject.toml itself pins to one version."""
    extras: dict[str, list[str]] = project()["optional-dependencies"]
    parsed = [Requirement(text) for texts in (project()["dependencies"], *extras.values()) for text in texts]
    return frozenset(canonicalize_name(each.name) for each in parsed if str(each.specifier).startswith("=="))
