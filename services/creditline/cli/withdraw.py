"""`creditline withdraw`: leave works or contributors out of every answer to come."""

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
    add_completion=False, help="Leave works or contributors out of every answer to come, or take that back."
)
_console = Console(soft_wrap=True, highlight=False)

WorkOption = Annotated[list[str] | None, typer.Option("--work", help="A work's id; several times for more.")]
ContributorOption = Annotated[
    list[str] | None, typer.Option("--contributor", help="A contributor's name: all their works.")
]


@app.command()
def withdraw(
    work: WorkOption = None,
    contributor: ContributorOption = None,
    reason: Annotated[
        str, typer.Option(help="Why; kept in the ledger for ever, so no place for personal data.")
    ] = "",
    requested_by: Annotated[str, typer.Option("--by", help="Who asked; kept in the ledger for ever.")] = "",
    back: Annotated[bool, typer.Option("--back", help="Take the withdrawal back instead.")] = False,
    not_in_corpus: Annotated[
        bool, typer.Option("--not-in-corpus", help="Also what the gateway's corpus does not hold (yet).")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show what is withdrawn, and do nothing.")] = False,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave works or contributors out: at once, in every later release, and until it is taken back.

    Credit lines that were served before stay, and are marked when they are read again.
    """
    if listed == bool(work or contributor):
        raise InvalidInput("say what to withdraw with --work ID or --contributor NAME, or ask for --list")
    with gateway_client(target, api_key, state_directory) as client:
        if listed:
            _print_list(tuple(client.withdrawals()), as_json)
            return
        told: dict[str, Any] = {"reason": reason, "requested_by": requested_by}
        if not back:
            told |= {"allow_unknown": not_in_corpus}
        for ask, subject in _asked(client, work or [], contributor or [], back=back):
            _print_status(ask(subject, **told), as_json)


def _asked(
    client: CreditlineClient, works: list[str], people: list[str], *, back: bool
) -> Iterator[tuple[Callable[..., WithdrawalStatus], str]]:
    """The client's call for each subject."""
    about_work = client.revoke_work if back else client.withdraw_work
    about_person = client.revoke_contributor if back else client.withdraw_contributor
    yield from ((about_work, work_id) for work_id in works)
    yield from ((about_person, name) for name in people)


def _print_status(status: WithdrawalStatus, as_json: bool) -> None:
    if as_json:
        _console.print_json(_json(asdict(status)))
        return
    _console.print(Text(status_sentence(status)))
    if not status.carried_out:
        _console.print(Text(f"The index does not agree yet, and will: {status.pending}", style="yellow"))


def status_sentence(status: WithdrawalStatus) -> str:
    """What the wish has come to."""
    about, count = status.withdrawal, f"{status.works:,} work{'' if status.works == 1 else 's'}"
    if about.kind == "WORK":
        subject = f"Work {about.subject}" + ("" if status.works else " (not in this corpus)")
    else:
        subject = f"{about.subject} ({count} in this corpus)"
    if about.action == "WITHDRAWN":
        since = f"{about.created:%-d %B %Y, %H:%M} UTC"
        return f"{subject} is left out of every answer, withdrawn since {since}."
    return f"{subject} may be listed again, unless withdrawn in another way."


def _print_list(statuses: tuple[WithdrawalAnswer, ...], as_json: bool) -> None:
    if as_json:
        _console.print_json(_json([asdict(status) for status in statuses]))
        return
    if not statuses:
        _console.print("Nothing is withdrawn.")
        return
    for status in statuses:
        # As text, in one line each: what people wrote is no markup, and an id must stay whole.
        _console.print(Text(_list_line(status)))


def _list_line(status: WithdrawalAnswer) -> str:
    notes = (("by", status.requested_by), ("reason", status.reason))
    told = "".join(f", {name}: {note}" for name, note in notes if note)
    return f"{status.kind.lower()} {status.subject} since {status.created:%Y-%m-%d %H:%M} UTC{told}"


def _json(value: Any) -> str:
    return json.dumps(value, default=str)
