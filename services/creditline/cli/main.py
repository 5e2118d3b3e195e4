"""The `creditline` command: knows its groups by name and imports only the one that is called.

Torch, gRPC, PyArrow and pydantic stay out of its start, so that `creditline --help` answers at once.
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

# One line each, in the order of `creditline --help`. A group is shown when its module `creditline.cli.NAME`
# is there; it holds a Typer application named `app`.
GROUPS = {
    "demo": "Generate a picture and print its credit line, through all services.",
    "local": "Run all services on this machine.",
    "audit": "Hold a served answer against the teacher.",
    "withdraw": "Leave works or contributors out of every answer to come.",
    "attribution": "Served answers, as they stand today.",
    "release": "Versions of the encoder with their calibration and vectors.",
    "index": "Works' vectors in Qdrant.",
    "corpus": "Works and where they come from.",
    "generator": "The text-to-image model: train, sample, measure.",
    "lab": "A small generator that is really retrained on subsets of its works.",
    "teacher": "The slow method that is known to be right.",
    "distill": "A release from a configuration: queries, labels, training, calibration.",
    "benchmark": "Measure, and write result files.",
}
_FAILED = 2


class LazyGroups(TyperGroup):
    """A group whose members are described without being imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The groups that are installed, in their own order."""
        return [name for name in GROUPS if _is_installed(name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that knows its name and its one line of help: enough for the list of commands."""
        if cmd_name not in GROUPS or not _is_installed(cmd_name):
            return None
        return TyperCommand(name=cmd_name, help=GROUPS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command, imported now; unknown names are reported by the parent class."""
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
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if version:
        typer.echo(f"creditline {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: errors raised on purpose are a clear line, with its notes, and status 2.

    Others keep their traceback.
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
