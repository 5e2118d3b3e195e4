"""Tables for the terminal in which no name is cut."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_whole(console: Console, table: Table) -> None:
    """Print a table with every cell whole, on lines as long as that takes.

    A name that is cut at the terminal's edge cannot be copied into the next command.
    """
    unlimited = console.options.update(max_width=10_000)
    width = Measurement.get(console, unlimited, table).maximum
    console.print(table, width=max(width, console.width), soft_wrap=False, crop=False, no_wrap=True)
