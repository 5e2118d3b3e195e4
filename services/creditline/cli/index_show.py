"""`creditline index show`: the collections, what made them, and what is left of interrupted loads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from creditline.cli.connection import JsonOption, StateOption
from creditline.cli.index_connection import IndexServices, QdrantOption
from creditline.cli.whole_tables import print_whole

if TYPE_CHECKING:
    from creditline.index import WorkIndex

_console = Console(soft_wrap=True, highlight=False)
_COLUMNS = ("collection", "dimension", "works", "withdrawn", "answers as", "made by", "vectors of")


@dataclass(frozen=True)
class _Collection:
    """A collection as `index show` lists it; the field names are those of `--json`."""

    collection: str
    """Name of the collection."""
    dimension: int
    """Dimension of its vectors."""
    works: int
    """Number of works, withdrawn ones included."""
    withdrawn: int
    """Number of withdrawn works."""
    aliases: list[str]
    """Aliases that point to it."""
    release: str | None
    """The release whose load made it; None for other collections."""
    state: str | None
    """Progress of that load: filling, verified or promoted."""
    begun: str | None
    """Start of that load, ISO 8601."""
    vectors_of: str | None
    """What its vectors were made by; None where it is not recorded."""

    @property
    def maker(self) -> str:
        if self.release is None:
            return ""
        return f"{self.release}, unfinished" if self.state == "filling" else self.release

    def row(self) -> tuple[Text, ...]:
        """The cells of its row; names are plain text, never markup."""
        numbers = (str(self.dimension), f"{self.works:,}", f"{self.withdrawn:,}")
        cells = (self.collection, *numbers, ", ".join(self.aliases), self.maker, self.vectors_of or "")
        return tuple(Text(cell) for cell in cells)


def show(
    qdrant: QdrantOption = None, state_directory: StateOption = None, as_json: JsonOption = False
) -> None:
    """List the collections with dimension, number of works, aliases and the release that made them."""
    with IndexServices(qdrant, state_directory=state_directory).connect() as index:
        aliases = index.aliases()
        found = [_collection(index, name, aliases) for name in index.collections()]
    if as_json:
        _console.print_json(json.dumps([asdict(each) for each in found]))
        return
    table = Table(*_COLUMNS)
    for each in found:
        table.add_row(*each.row())
    print_whole(_console, table)
    for each in found:
        if each.state == "filling":
            _console.print(Text(_unfinished(each)))


def _collection(index: WorkIndex, name: str, aliases: dict[str, str]) -> _Collection:
    from creditline.index.builds.ownership import mark_of
    from creditline.index.encoders import recorded_encoder

    mark = mark_of(index, name)
    return _Collection(
        collection=name,
        dimension=index.dimension(name),
        works=index.count(name),
        withdrawn=index.count(name, withdrawn=True),
        aliases=sorted(alias for alias, target in aliases.items() if target == name),
        release=mark.release if mark else None,
        state=mark.state.value if mark else None,
        begun=mark.begun if mark else None,
        vectors_of=recorded_encoder(index, name),
    )


def _unfinished(found: _Collection) -> str:
    return (
        f"{found.collection} is unfinished: a load of {found.release} began it at {found.begun} and has not"
        f" ended; if none is running, delete it with `creditline index drop {found.collection}`"
    )
