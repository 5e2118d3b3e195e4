"""`creditline withdraw`: withdraw works or contributors from all future answers, or revoke a withdrawal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from creditline.cli.connection import JsonOption, KeyOption, StateOption, TargetOption, gateway_client
from creditline.errors import InvalidInput

if TYPE_CHECKING:
    from creditline.api.answers import WithdrawalAnswer, WithdrawalStatus
    from creditline.client import CreditlineClient

app = typer.Typer(
    add_completion=False, help="Withdraw works or contributors from all future answers, or revoke that."
)
_console = Console(soft_wrap=True, highlight=False)

WorkOption = Annotated[list[str] | None, typer.Option("--work", help="Id of a work; can be repeated.")]
ContributorOption = Annotated[
    list[str] | None,
    typer.Option("--contributor", help="Name of a contributor, for all their works; can be repeated."),
]

ContributorIdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--contributor-id",
        help="Id of a contributor (ORCID, ISNI, account), where names are not unique; can be repeated.",
    ),
]


@app.command()
def withdraw(
    work: WorkOption = None,
    contributor: ContributorOption = None,
    contributor_id: ContributorIdOption = None,
    reason: Annotated[
        str, typer.Option(help="Reason, kept in the ledger permanently; do not enter personal data.")
    ] = "",
    requested_by: Annotated[
        str, typer.Option("--by", help="Who requested it, kept in the ledger permanently.")
    ] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke the withdrawal instead.")] = False,
    # The former name of --revoke.
    back: Annotated[bool, typer.Option("--back", hidden=True)] = False,
    not_in_corpus: Annotated[
        bool,
        typer.Option("--not-in-corpus", help="Also accept a subject that no corpus has yet."),
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the withdrawals without changing them.")
    ] = False,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw works or contributors at once and in every later release, until the withdrawal is revoked.

    Credit lines that were served before remain available, with the withdrawn works marked.
    """
    if listed == bool(work or contributor or contributor_id):
        raise InvalidInput(
            "give either --list, or the subjects with --work ID, --contributor NAME or --contributor-id ID"
        )
    with gateway_client(target, api_key, state_directory) as client:
        if listed:
            _print_list(tuple(client.withdrawals()), as_json)
            return
        options: dict[str, Any] = {"reason": reason, "requested_by": requested_by}
        is_revocation = revoke or back
        if not is_revocation:
            options |= {"allow_unknown": not_in_corpus}
        subjects = (work or [], contributor or [], contributor_id or [])
        for call, subject in _calls(client, *subjects, revoke=is_revocation):
            _print_status(call(subject, **options), as_json)


def _calls(
    client: CreditlineClient, works: list[str], people: list[str], ids: list[str], *, revoke: bool
) -> Iterator[tuple[Callable[..., WithdrawalStatus], str]]:
    """The client's method for each subject."""
    for_work = client.revoke_work if revoke else client.withdraw_work
    for_contributor = client.revoke_contributor if revoke else client.withdraw_contributor
    yield from ((for_work, work_id) for work_id in works)
    yield from ((for_contributor, name) for name in people)
    for_id = client.revoke_contributor_id if revoke else client.withdraw_contributor_id
    yield from ((for_id, contributor_id) for contributor_id in ids)


def _print_status(status: WithdrawalStatus, as_json: bool) -> None:
    if as_json:
        _console.print_json(_json(asdict(status)))
        return
    _console.print(Text(status_sentence(status)))
    if not status.carried_out:
        _console.print(Text(f"The index is not updated yet and will be: {status.pending}", style="yellow"))


def status_sentence(status: WithdrawalStatus) -> str:
    """One sentence about the outcome of a withdrawal request."""
    about, count = status.withdrawal, f"{status.works:,} work{'' if status.works == 1 else 's'}"
    if about.kind == "WORK":
        subject = f"Work {about.subject}" + ("" if status.works else " (not in this corpus)")
    else:
        subject = f"{about.subject} ({count} in this corpus)"
    if about.action == "WITHDRAWN":
        since = f"{about.created:%-d %B %Y, %H:%M} UTC"
        return f"{subject} is withdrawn from all answers since {since}."
    return f"{subject} may be listed again, unless another withdrawal covers it."


def _print_list(statuses: tuple[WithdrawalAnswer, ...], as_json: bool) -> None:
    if as_json:
        _console.print_json(_json([asdict(status) for status in statuses]))
        return
    if not statuses:
        _console.print("Nothing is withdrawn.")
        return
    for status in statuses:
        # As plain text on one line each: user input is not markup, and ids must not be broken.
        _console.print(Text(_list_line(status)))


def _list_line(status: WithdrawalAnswer) -> str:
    notes = (("by", status.requested_by), ("reason", status.reason))
    details = "".join(f", {name}: {note}" for name, note in notes if note)
    kind = status.kind.lower().replace("_", " ")
    return f"{kind} {status.subject} since {status.created:%Y-%m-%d %H:%M} UTC{details}"


def _json(value: Any) -> str:
    return json.dumps(value, default=str)
