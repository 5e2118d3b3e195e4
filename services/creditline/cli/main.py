"""The `creditline` command, which imports only the command group that is called.

Torch, gRPC, PyArrow and pydantic are not imported at start, so that `creditline --help` is fast.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from creditline import __version__
from creditline.errors import CreditlineError

# One line of help per group, in the order of `creditline --help`. A group is shown if its module
# `creditline.cli.NAME` exists; the module holds a Typer application named `app`.
GROUPS = {
    "demo": "Generate a picture and print its credit line, using all services.",
    "local": "Run all services on this machine.",
    "attribute": "Print the works that a picture owes, and who made them.",
    "audit": "Compare a served answer with the teacher.",
    "withdraw": "Withdraw works or contributors from all future answers, or revoke that.",
    "keys": "Make, list, rotate and revoke API keys of the gateway.",
    "contributors": "Record that two names of contributors are one person.",
    "attribution": "Show recorded answers, marked with later withdrawals.",
    "release": "Verify and show releases.",
    "index": "Manage the works' vectors in Qdrant.",
    "corpus": "Inspect and build corpora of works.",
    "generator": "Train, assemble, sample and identify generators.",
    "lab": "Retrain a small generator on subsets of its works, and evaluate methods by it.",
    "teacher": "Prepare the unlearning teacher and label queries with it.",
    "distill": "Make a release of a corpus and a generator.",
}
_FAILED = 2


class LazyGroups(TyperGroup):
    """A command group whose members are listed without being imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the installed groups, in the order of `GROUPS`."""
        return [name for name in GROUPS if _is_installed(name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A placeholder with the group's name and one line of help, for the list of commands."""
        if cmd_name not in GROUPS or not _is_installed(cmd_name):
            return None
        return TyperCommand(name=cmd_name, help=GROUPS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The imported command; the parent class reports unknown names."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, (_imported(name) if command is not None and name else command), rest


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(f"creditline.cli.{name}") is not None


def _imported(name: str) -> Any:
    module = importlib.import_module(f"creditline.cli.{name}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroups,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which training images does a generated picture owe, how strongly, and who made them?",
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        typer.echo(f"creditline {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point of the `creditline` command.

    A `CreditlineError` is printed as one line with its notes, and the exit status is 2; other errors keep
    their traceback.
    """
    try:
        app(prog_name="creditline")
    except CreditlineError as error:
        _print_error(error)
        sys.exit(_FAILED)


def _print_error(error: CreditlineError) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble(("error: ", "bold red"), error.message))
    for note in getattr(error, "__notes__", ()):
        console.print(Text(note))


if __name__ == "__main__":
    main()
