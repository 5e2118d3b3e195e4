"""`creditline keys`: make, list, limit, rotate and revoke API keys of the gateway.

The commands write to the ledger, not to the gateway: the first key needs no other one, and who may write to
the ledger may do everything anyway. Running gateways follow within seconds.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from creditline.cli.connection import JsonOption, StateOption
from creditline.cli.durations import read_duration
from creditline.errors import InvalidInput, NotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from creditline.ledger import Allowance, ApiKey, IssuedKey, KeyRegistry, Scope

app = typer.Typer(help="Make, list, limit, rotate and revoke API keys of the gateway.", no_args_is_help=True)
_console = Console(soft_wrap=True, highlight=False)
_errors = Console(stderr=True, soft_wrap=True, highlight=False)

LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        help="Ledger of the deployment, such as sqlite:///FILE; defaults to that of the running local stack.",
        envvar="CREDITLINE_LEDGER_URL",
    ),
]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires-in", help="Time for which the key is valid, such as 12h or 90d.")
]
RateOption = Annotated[
    str | None,
    typer.Option(
        help="Requests that the key may send in a short time, such as 10/s; `default`: as the gateway's."
    ),
]
QuotaOption = Annotated[
    str | None,
    typer.Option(
        help="Pictures that it may have attributed, such as 10000/day; `default`: as the gateway's."
    ),
]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as `creditline keys list` prints it.")]
_DEFAULT = "default"
_SHOWN_ONCE = "Store the key now: it is not kept anywhere and cannot be shown again."


@app.command()
def create(
    owner: Annotated[
        str,
        typer.Option(help="On whose behalf the key acts. Answers and withdrawals are recorded under it."),
    ],
    scope: Annotated[
        list[str],
        typer.Option(
            help="What the key permits: attribute, read (the owner's own answers), audit, withdraw or admin;"
            " can be repeated."
        ),
    ],
    expires_in: ExpiresOption = None,
    rate: RateOption = None,
    quota: QuotaOption = None,
    note: Annotated[str, typer.Option(help="What to remember about the key.")] = "",
    ledger: LedgerOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, for the only time."""
    scopes = _scopes(scope)
    life = read_duration(expires_in, option="--expires-in") if expires_in else None
    with _registry(ledger, state_directory) as keys:
        issued = keys.create(
            owner,
            scopes,
            expires_in=life,
            note=note,
            rate=_allowance(rate, "--rate"),
            quota=_allowance(quota, "--quota"),
        )
    _print_issued(issued, as_json)


@app.command("list")
def list_keys(
    everything: Annotated[
        bool, typer.Option("--all", help="Also list keys that are expired or revoked.")
    ] = False,
    ledger: LedgerOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys, oldest first, with their last use; the keys themselves are not known any more."""
    from creditline.ledger import KeyState

    now = datetime.now(UTC)
    with _registry(ledger, state_directory) as registry:
        keys = [key for key in registry.all() if everything or key.state(now) is KeyState.VALID]
    if as_json:
        _console.print_json(json.dumps([_fields(key, now) for key in keys]))
        return
    if not keys:
        _console.print("There are no keys." if everything else "There are no valid keys.")
    for key in keys:
        # As plain text on one line each: user input is not markup.
        _console.print(Text(_line(key, now)))


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        str, typer.Option(help="Time for which the old key stays valid beside the new one.")
    ] = "7d",
    expires_in: ExpiresOption = None,
    ledger: LedgerOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key of the same owner and scopes in place of another one, and print it, for the only time."""
    life = read_duration(expires_in, option="--expires-in") if expires_in else None
    both = read_duration(overlap, option="--overlap")
    with _registry(ledger, state_directory) as keys:
        issued = keys.rotate(key_id, overlap=both, expires_in=life)
    _print_issued(issued, as_json)


@app.command("set")
def set_limits(
    key_id: KeyId,
    rate: RateOption = None,
    quota: QuotaOption = None,
    ledger: LedgerOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the rate or the quota of a key; running gateways follow within seconds."""
    if rate is None and quota is None:
        raise InvalidInput("nothing is to be changed; give --rate or --quota", field="rate")
    with _registry(ledger, state_directory) as keys:
        key = keys.get(key_id)
        changed = keys.limit(
            key_id,
            rate=key.rate if rate is None else _allowance(rate, "--rate"),
            quota=key.quota if quota is None else _allowance(quota, "--quota"),
        )
    if as_json:
        _console.print_json(json.dumps(_fields(changed, datetime.now(UTC))))
        return
    _console.print(Text(_line(changed, datetime.now(UTC))))


@app.command()
def revoke(
    key_id: KeyId,
    ledger: LedgerOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key for ever; running gateways refuse it within seconds."""
    with _registry(ledger, state_directory) as keys:
        revoked = keys.revoke(key_id)
    if as_json:
        _console.print_json(json.dumps(_fields(revoked, datetime.now(UTC))))
        return
    _console.print(Text(f"Key {revoked.id} of {revoked.owner} is revoked since {_moment(revoked.revoked)}."))


@contextmanager
def _registry(ledger: str | None, state_directory: Path | None) -> Iterator[KeyRegistry]:
    """The keys of a named ledger, or of the running local stack. Raises NotReady where there is neither."""
    from creditline.ledger import Ledger

    with Ledger.open(ledger or _ledger_of_the_stack(state_directory)) as opened:
        yield opened.keys


def _ledger_of_the_stack(state_directory: Path | None) -> str:
    from creditline.local.settings import LocalSettings
    from creditline.local.state import StateDirectory
    from creditline.settings import read_settings

    directory = StateDirectory(state_directory or read_settings(LocalSettings).state_directory)
    state = directory.read()
    if state is None:
        raise NotReady(
            f"no local stack runs in {directory.path}; start one with `creditline local up`, or name the"
            " ledger of the deployment with --ledger URL",
            field="ledger",
        )
    return state.ledger_url


def _scopes(names: list[str]) -> set[Scope]:
    from creditline.ledger import Scope

    unknown = [name for name in names if name not in set(Scope)]
    if unknown:
        raise InvalidInput(f"--scope is {unknown[0]!r}; choose from {', '.join(Scope)}", field="scope")
    return set(map(Scope, names))


def _allowance(text: str | None, option: str) -> Allowance | None:
    """The allowance that an option states; None: the gateway's default."""
    from creditline.ledger import Allowance

    if text is None or text == _DEFAULT:
        return None
    return Allowance.parse(text, field=option)


def _print_issued(issued: IssuedKey, as_json: bool) -> None:
    """Print a new key: alone on standard output, so that it can be sent to a file or a secret store."""
    record = issued.record
    if as_json:
        _console.print_json(json.dumps({"key": issued.text, **_fields(record, record.created)}))
        return
    _errors.print(Text(_line(record, record.created)))
    _errors.print(Text(_SHOWN_ONCE))
    _console.print(Text(issued.text))


def _fields(key: ApiKey, now: datetime) -> dict[str, Any]:
    """A key in JSON's types, without its hash."""
    moments = {name: getattr(key, name) for name in ("created", "expires", "revoked", "last_used")}
    return {
        "id": key.id,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "note": key.note,
        "state": str(key.state(now)),
        "replaced_by": key.replaced_by,
        "rate": str(key.rate) if key.rate else None,
        "quota": str(key.quota) if key.quota else None,
        **{name: moment.isoformat() if moment else None for name, moment in moments.items()},
    }


def _line(key: ApiKey, now: datetime) -> str:
    moments = (("expires", key.expires), ("revoked", key.revoked), ("last used", key.last_used))
    limits = (("rate", key.rate), ("quota", key.quota))
    details = [f"{name} {allowance}" for name, allowance in limits if allowance]
    details += [f"{name} {_moment(moment)}" for name, moment in moments if moment]
    if key.replaced_by:
        details.append(f"replaced by {key.replaced_by}")
    if key.note:
        details.append(key.note)
    scopes = "+".join(sorted(key.scopes))
    return ", ".join([f"{key.id} of {key.owner}: {scopes}, {key.state(now)}", *details])


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
