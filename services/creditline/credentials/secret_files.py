"""Secrets in files of their own, as a cluster mounts them: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creditline.credentials.following import Followed
from creditline.errors import CreditlineError, InvalidInput, NotReady

_MOST_BYTES = 1 << 16


def read_secret(path: Path) -> str:
    """The secret in a file, without blanks and line ends around it.

    Raises:
        NotReady: The file cannot be read.
        InvalidInput: The file is empty, too large, or not one line of text.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise NotReady(
            f"the secret in {path} cannot be read ({error.strerror}); create the file, or correct the setting"
            " that names it",
            field="secret",
        ) from error
    try:
        secret = content.decode().strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(content) > _MOST_BYTES or not secret.isprintable():
        raise InvalidInput(
            f"the file {path} does not hold a secret: one line of text is expected", field="secret"
        )
    return secret


def followed_secret(path: Path) -> Followed[str]:
    """The secret in a file, read again when it changes. Raises what `read_secret` raises."""
    return Followed((path,), lambda: read_secret(path))


def with_secret(values: Mapping[str, Any], name: str, prefix: str = "CREDITLINE_") -> dict[str, Any]:
    """The values of a settings class, one of them read from the file that `NAME_file` names, if any.

    Args:
        values: Values by field, before they are validated.
        name: Field that holds the secret.
        prefix: Beginning of the variables' names, for errors.

    Raises:
        ValueError: Both are given, or the file cannot be used.
    """
    file = values.get(f"{name}_file")
    if not file:
        return dict(values)
    variable = f"{prefix}{name}".upper()
    if values.get(name):
        raise ValueError(f"{variable} and {variable}_FILE are both given; leave one out")
    try:
        return {**values, name: read_secret(Path(file))}
    except CreditlineError as error:
        raise ValueError(f"{variable}_FILE: {error.message}") from error
