"""`creditline audit`: compare a served answer with the teacher."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from creditline.cli.connection import JsonOption, KeyOption, StateOption, TargetOption, gateway_client

if TYPE_CHECKING:
    from creditline.api.answers import AuditAnswer, Estimate, Verdict

_FAILED_STATUS = 1
_WAIT_SECONDS = 900.0

app = typer.Typer(help="Compare a served answer with the teacher.", no_args_is_help=True)
_console = Console(soft_wrap=True, highlight=False)

AttributionId = Annotated[str, typer.Argument(help="Id of the answer.")]
AuditId = Annotated[str, typer.Argument(help="Id of the audit, as `creditline audit submit` prints it.")]


@app.callback()
def _root() -> None:
    """Compare a served answer with the teacher."""


@app.command()
def submit(
    attribution_id: AttributionId,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
    wait_for_verdict: Annotated[
        bool, typer.Option("--wait", help="Wait for the verdict; exits with status 1 if the audit failed.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="Maximum time to wait, in seconds.")] = _WAIT_SECONDS,
) -> None:
    """Request an audit and print it; a second request returns the same audit."""
    with gateway_client(target, api_key, state_directory) as client:
        audit = client.submit_audit(attribution_id)
        if wait_for_verdict:
            audit = client.wait_for_audit(audit.id, timeout_seconds=seconds)
    _print(audit, as_json)
    if wait_for_verdict and audit.verdict is None:
        raise typer.Exit(_FAILED_STATUS)
    if audit.verdict is None and not as_json:
        _console.print(Text(f"For the verdict: creditline audit wait {audit.id}"))


@app.command()
def show(
    audit_id: AuditId,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the state of an audit and, if it has ended, its verdict."""
    with gateway_client(target, api_key, state_directory) as client:
        _print(client.audit(audit_id), as_json)


@app.command()
def wait(
    audit_id: AuditId,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
    seconds: Annotated[float, typer.Option(help="Maximum time to wait, in seconds.")] = _WAIT_SECONDS,
) -> None:
    """Wait until an audit has ended and print it; exits with status 1 if it failed."""
    with gateway_client(target, api_key, state_directory) as client:
        audit = client.wait_for_audit(audit_id, timeout_seconds=seconds)
    _print(audit, as_json)
    if audit.verdict is None:
        raise typer.Exit(_FAILED_STATUS)


def _print(audit: AuditAnswer, as_json: bool) -> None:
    if as_json:
        _console.print_json(_json(audit))
        return
    _console.print(Text.assemble(("audit ", "dim"), audit.id, "  ", (audit.state, "bold")))
    _console.print(Text.assemble(("of attribution ", "dim"), audit.attribution_id))
    if audit.error:
        _console.print(Text(audit.error, style="red"))
    if audit.verdict is not None:
        _console.print(_verdict_table(audit.verdict))


def _json(audit: AuditAnswer) -> str:
    from dataclasses import asdict

    return json.dumps(asdict(audit), default=str)


def _verdict_table(verdict: Verdict) -> Table:
    table = Table("", "value", "95 % interval", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_row(*_cells("most influential works that are listed", verdict.recall))
    table.add_row(*_cells("influence that was missed", verdict.missed_influence))
    table.add_row(*_cells("order of the list (nDCG)", verdict.ndcg))
    table.add_row(*_cells("rank correlation", verdict.rank_correlation))
    table.add_row("loss of the query after unlearning / before", f"{verdict.query_rise:.3f}", "")
    scored = f"{verdict.listed_works} + {verdict.sampled_works}"
    table.add_row("works scored, listed + sampled", scored, "")
    table.add_row("seconds", f"{verdict.seconds:.1f}", "")
    return table


def _cells(name: str, estimate: Estimate) -> tuple[str, str, str]:
    return name, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"
