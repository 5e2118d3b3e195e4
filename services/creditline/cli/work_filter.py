"""Options that restrict the works of a credit line, and the filter that they give."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from creditline.errors import InvalidInput

if TYPE_CHECKING:
    from creditline.api.answers import WorkFilter

_DATES = ["%Y-%m-%d", "%Y", "%Y-%m-%dT%H:%M:%S"]

ContributorsOption = Annotated[
    list[str] | None,
    typer.Option("--contributor", help="List only works of this contributor, by name; can be repeated."),
]
ContributorIdsOption = Annotated[
    list[str] | None,
    typer.Option("--contributor-id", help="List only works of this contributor, by id; can be repeated."),
]
LicencesOption = Annotated[
    list[str] | None, typer.Option("--licence", help="List only works under this licence; can be repeated.")
]
SinceOption = Annotated[
    datetime | None,
    typer.Option("--since", formats=_DATES, help="List only works created at this date or later (UTC)."),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--until", formats=_DATES, help="List only works created before this date (UTC)."),
]
ConsentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--consent",
        help="List only works of which this holds, such as generative_training=prohibited; can be repeated.",
    ),
]


def work_filter(
    contributors: list[str] | None,
    contributor_ids: list[str] | None,
    licences: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    consent: list[str] | None,
) -> WorkFilter | None:
    """The filter that the options give; None where none is given. Raises InvalidInput for an empty span."""
    from creditline.api.answers import WorkFilter

    if since is not None and until is not None and since >= until:
        raise InvalidInput(
            f"no date lies between --since {since:%Y-%m-%d} and --until {until:%Y-%m-%d}; give a later one",
            field="until",
        )
    works = WorkFilter(
        contributors=tuple(contributors or ()),
        contributor_ids=tuple(contributor_ids or ()),
        licences=tuple(licences or ()),
        created_since=None if since is None else since.replace(tzinfo=UTC),
        created_until=None if until is None else until.replace(tzinfo=UTC),
        consent=tuple(consent or ()),
    )
    return works if works.narrows else None
