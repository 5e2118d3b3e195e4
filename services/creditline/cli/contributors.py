"""`creditline contributors`: record that two names or ids are one person, or revoke that."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from creditline.cli.connection import JsonOption, KeyOption, StateOption, TargetOption, gateway_client

if TYPE_CHECKING:
    from creditline.api.answers import MergeAnswer, MergeStatus, Person

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Record that two names of contributors are one person."
)
_console = Console(soft_wrap=True, highlight=False)
_ID_PREFIX = "id:"
_PERSON_HELP = "A name, or an id such as id:0000-0002-1825-0097."


@app.command()
def merge(
    person: Annotated[str, typer.Argument(help=f"Who is credited with the works of both. {_PERSON_HELP}")],
    other: Annotated[str, typer.Argument(help=f"The other name or id. {_PERSON_HELP}")],
    reason: Annotated[
        str, typer.Option(help="Reason, kept in the ledger permanently; do not enter personal data.")
    ] = "",
    requested_by: Annotated[
        str, typer.Option("--by", help="Who requested it, kept in the ledger permanently.")
    ] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke the merge instead.")] = False,
    not_in_corpus: Annotated[
        bool, typer.Option("--not-in-corpus", help="Also accept people whom no corpus names yet.")
    ] = False,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that two names or ids are one person: one share, and one withdrawal for both.

    Answers, withdrawals and filters follow with the next query. Two spellings of one name need no merge.
    """
    with gateway_client(target, api_key, state_directory) as client:
        pair = _person(person), _person(other)
        if revoke:
            status = client.revoke_merge(*pair, reason=reason, requested_by=requested_by)
        else:
            status = client.merge_contributors(
                *pair, reason=reason, requested_by=requested_by, allow_unknown=not_in_corpus
            )
    _print_status(status, as_json)


@app.command("list")
def list_merges(
    history: Annotated[
        bool, typer.Option("--history", help="List all records ever made, not only the merges in force.")
    ] = False,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the contributors who are merged, oldest record first."""
    with gateway_client(target, api_key, state_directory) as client:
        merges = tuple(client.merges(history=history))
    if as_json:
        _console.print_json(json.dumps([asdict(merge) for merge in merges], default=str))
    elif not merges:
        _console.print("No contributors are merged.")
    for merge in () if as_json else merges:
        # As plain text on one line each: user input is not markup.
        _console.print(Text(_line(merge)))


def _person(text: str) -> Person:
    """The person whom an argument names: an id after `id:`, else a name."""
    from creditline.api.answers import Person

    is_id = text.lower().startswith(_ID_PREFIX)
    return Person(id=text[len(_ID_PREFIX) :].strip()) if is_id else Person(name=text)


def _shown(person: Person) -> str:
    return f"{_ID_PREFIX}{person.id}" if person.id else person.name


def _print_status(status: MergeStatus, as_json: bool) -> None:
    if as_json:
        _console.print_json(json.dumps(asdict(status), default=str))
        return
    _console.print(Text(status_sentence(status.merge)))
    if not status.carried_out:
        _console.print(Text(f"The index is not updated yet and will be: {status.pending}", style="yellow"))


def status_sentence(merge: MergeAnswer) -> str:
    """One sentence about the outcome of a request."""
    since = f"{merge.created:%-d %B %Y, %H:%M} UTC"
    if merge.action == "MERGED":
        person, other = _shown(merge.person), _shown(merge.other)
        return f"{other} is one person with {person}, who is credited for both, since {since}."
    return f"{_shown(merge.person)} and {_shown(merge.other)} are two people again since {since}."


def _line(merge: MergeAnswer) -> str:
    notes = (("by", merge.requested_by), ("reason", merge.reason))
    details = "".join(f", {name}: {note}" for name, note in notes if note)
    verb = "is also" if merge.action == "MERGED" else "is no longer"
    moment = f"{merge.created:%Y-%m-%d %H:%M} UTC"
    return f"{_shown(merge.person)} {verb} {_shown(merge.other)} since {moment}{details}"
