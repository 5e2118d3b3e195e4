"""Works and corpora: a corpus is one Parquet file, read as a whole and identified by a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from creditline.corpus.consent.packing import CONSENT_TYPE, packed_consent, unpacked_consent
from creditline.corpus.consent.uses import NOTHING_SAID, Consent
from creditline.corpus.identity import keyed_holders
from creditline.corpus.rights import WHOLE_PERCENT, NamedPerson, RightsHolder, check_rights
from creditline.errors import InvalidInput, NotFound, NotReady
from creditline.files import replace_file
from creditline.pictures.decoding import decode

WORK_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("caption", pa.string()),
        ("keywords", pa.list_(pa.string())),
        ("contributor", pa.string()),
        ("licence", pa.string()),
        ("source", pa.string()),
        ("duplicate_group", pa.string()),
        ("thumbnail", pa.binary()),
        ("rights_holders", pa.list_(pa.struct([("name", pa.string()), ("percent", pa.float64())]))),
        ("created", pa.int64()),
        ("contributor_id", pa.string()),
        ("credits", pa.list_(pa.struct([("name", pa.string()), ("place", pa.string())]))),
        ("consent", CONSENT_TYPE),
    ]
)
# Version of the packed form, which its Parquet metadata states: 1 has no metadata.
PACKED_VERSION = 2
_VERSION_KEY = b"creditline.corpus.version"
# Reading one work decompresses the pictures of its row group.
_ROW_GROUP_WORKS = 256
# Columns that older corpus files do not have.
_OPTIONAL_COLUMNS = ("rights_holders", "created", "contributor_id", "credits", "consent")


@dataclass(frozen=True)
class Work:
    """One training image with its caption, contributor, licence and source.

    Raises:
        InvalidInput: The percentages of the rights holders do not sum to 100 %.
    """

    id: str
    """Id of the work, unique in its corpus."""
    title: str
    """Title of the work."""
    caption: str
    """Text that the generator was trained on with the picture."""
    keywords: tuple[str, ...]
    """Keywords."""
    contributor: str
    """Name of the person or organisation that made the work."""
    licence: str
    """Licence, as the source states it."""
    source: str
    """Path in the collection that the work came from; its first directory is the work's folder."""
    duplicate_group: str
    """Name of the duplicate group; copies and near copies have the same group and share one credit."""
    thumbnail: bytes
    """Encoded picture: square with the content centred on white, or unchanged when read from a source."""
    rights_holders: tuple[RightsHolder, ...] = ()
    """Who gets the credit; empty means the contributor, 100 %."""
    created: int | None = None
    """When the work was made or published, in seconds since 1970; None if unknown."""
    contributor_id: str = ""
    """Id of the contributor (ORCID, ISNI, account), which is stronger than the name; empty: none."""
    credits: tuple[NamedPerson, ...] = ()
    """Everybody whom the work's sources name as its maker, with the place; not all of them are credited."""
    consent: Consent = NOTHING_SAID
    """What the work's sources say about its use."""

    def __post_init__(self) -> None:
        if self.rights_holders:
            check_rights(self.id, self.rights_holders)

    @property
    def holders(self) -> tuple[RightsHolder, ...]:
        """The rights holders if there are any, else the contributor with 100 %."""
        return self.rights_holders or (RightsHolder(self.contributor, WHOLE_PERCENT),)

    @property
    def keyed_holders(self) -> tuple[tuple[str, float], ...]:
        """Keys of the people who have parts of the work's credit, see `corpus.identity.keyed_holders`."""
        rights = [(holder.name, holder.percent) for holder in self.rights_holders]
        return keyed_holders(self.contributor, self.contributor_id, rights)

    @property
    def people(self) -> tuple[str, ...]:
        """Names of everyone who may withdraw the work: its rights holders and its contributor."""
        return tuple(dict.fromkeys([*(holder.name for holder in self.rights_holders), self.contributor]))

    @property
    def folder(self) -> str:
        """The first directory of the source path: a coarse class, used in figures only."""
        return self.source.split("/", 1)[0]

    def picture(self) -> Image.Image:
        """The thumbnail as `decode` returns it: sRGB on white, upright, at most 512 pixels on a side.

        Raises:
            InvalidInput: The thumbnail cannot be decoded.
        """
        return decode(self.thumbnail, field="thumbnail", name=f"the picture of work {self.id!r}")


@dataclass(frozen=True)
class Corpus:
    """An ordered collection of works; row i of every matrix over a corpus belongs to `works[i]`."""

    name: str
    """Name of the corpus."""
    works: tuple[Work, ...]
    """The works, in a fixed order."""

    def __len__(self) -> int:
        return len(self.works)

    def __iter__(self) -> Iterator[Work]:
        return iter(self.works)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all works, in order."""
        return tuple(work.id for work in self.works)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {work.id: row for row, work in enumerate(self.works)}

    def row(self, work_id: str) -> int:
        """The row of a work.

        Raises:
            NotFound: The corpus has no work with this id.
        """
        try:
            return self._row_of[work_id]
        except KeyError:
            raise NotFound(
                f"work {work_id!r} is not in corpus {self.name!r} ({len(self)} works); check the id",
                field="work_id",
            ) from None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, captions and pictures, in order: 64 hex digits."""
        digest = hashlib.sha256()
        for work in self.works:
            for part in (work.id.encode(), work.caption.encode(), work.thumbnail):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        return digest.hexdigest()

    def where(self, keep: Callable[[Work], bool], *, name: str) -> Corpus:
        """The works for which `keep` is true, in the same order, as a new corpus."""
        return Corpus(name=name, works=tuple(work for work in self.works if keep(work)))

    def subset(self, ids: Sequence[str], *, name: str) -> Corpus:
        """The works with these ids, in the order of `ids`, as a new corpus.

        Raises:
            NotFound: The corpus has no work with one of the ids.
        """
        return Corpus(name=name, works=tuple(self.works[self.row(i)] for i in ids))


def write_corpus(corpus: Corpus, path: Path) -> None:
    """Write a corpus as one Parquet file, the packed form: `WORK_SCHEMA`, compressed by Zstandard."""
    columns = {field.name: [getattr(work, field.name) for work in corpus.works] for field in WORK_SCHEMA}
    columns["rights_holders"] = [[vars(one) for one in work.rights_holders] for work in corpus.works]
    columns["credits"] = [[vars(one) for one in work.credits] for work in corpus.works]
    columns["consent"] = [packed_consent(work.consent) for work in corpus.works]
    schema = WORK_SCHEMA.with_metadata({_VERSION_KEY: str(PACKED_VERSION)})
    with replace_file(path) as draft:
        table = pa.table(columns, schema=schema)
        pq.write_table(table, draft, compression="zstd", row_group_size=_ROW_GROUP_WORKS)


def is_packed(path: Path) -> bool:
    """Whether a file is a packed corpus, of this or an earlier version."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False
    return _VERSION_KEY in (schema.metadata or {}) or not _missing_columns(schema.names)


def _missing_columns(present: Sequence[str]) -> list[str]:
    return [name for name in WORK_SCHEMA.names if name not in (*present, *_OPTIONAL_COLUMNS)]


def _refuse_newer(schema: pa.Schema, path: Path) -> None:
    version = int((schema.metadata or {}).get(_VERSION_KEY, b"1"))
    if version > PACKED_VERSION:
        raise InvalidInput(
            f"{path} is a packed corpus of version {version}, but this Creditline reads up to"
            f" {PACKED_VERSION}; update Creditline, or pack the corpus again with `creditline corpus pack`",
            field="corpus",
        )


def _work(row: dict[str, Any]) -> Work:
    holders = tuple(RightsHolder(**one) for one in row.get("rights_holders") or ())
    given = {name: value for name, value in row.items() if value is not None}
    changed = {
        "keywords": tuple(row["keywords"]),
        "rights_holders": holders,
        "credits": tuple(NamedPerson(**one) for one in row.get("credits") or ()),
        "consent": unpacked_consent(row.get("consent")),
    }
    return Work(**{**given, **changed})


def _read_table(path: Path) -> pa.Table:
    try:
        # Not `read_table`: it loads pandas, where that is installed.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise InvalidInput(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); copy it again, or pack the"
            " corpus again with `creditline corpus pack`",
            field="corpus",
        ) from error
    _refuse_newer(table.schema, path)
    return table


def _read_rows(path: Path) -> list[dict[str, Any]]:
    table = _read_table(path)
    missing = _missing_columns(table.column_names)
    if missing:
        raise InvalidInput(
            f"{path} lacks the columns {', '.join(missing)}; build the corpus again", field="corpus"
        )
    return table.select([name for name in WORK_SCHEMA.names if name in table.column_names]).to_pylist()


def read_corpus(path: Path, *, name: str | None = None) -> Corpus:
    """Read a corpus that `write_corpus` wrote.

    Args:
        path: The Parquet file.
        name: Name of the corpus; defaults to the file name without its suffix.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: A later version wrote the file, columns are missing, an id is repeated, a work has no
            caption, or the percentages of its rights holders do not sum to 100 %.
    """
    if not path.is_file():
        raise NotReady(f"no corpus at {path}; pack one with `creditline corpus pack`", field="corpus")
    rows = _read_rows(path)
    # Arrow keeps what it has freed; for the embedded corpus that is four times the pictures.
    pa.default_memory_pool().release_unused()
    works = tuple(map(_work, rows))
    if len({work.id for work in works}) != len(works):
        raise InvalidInput(f"{path} holds the same work id twice; give every work its own id", field="id")
    uncaptioned = [work.id for work in works if not (work.caption or "").strip()]
    if uncaptioned:
        raise InvalidInput(
            f"work {uncaptioned[0]!r} in {path} has no caption ({len(uncaptioned)} such works); give each the"
            " text that the generator was trained on with it, or leave these works out",
            field="caption",
        )
    return Corpus(name=name or path.stem, works=works)


def read_packed_work(path: Path, work_id: str) -> Work | None:
    """Read one work of a packed corpus, without reading the pictures of most others.

    Args:
        path: The Parquet file.
        work_id: Id of the work.

    Returns:
        The work; None if the corpus does not hold it.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: It cannot be read as a packed corpus of this or an earlier version.
    """
    if not path.is_file():
        raise NotReady(f"no corpus at {path}; pack one with `creditline corpus pack`", field="corpus")
    try:
        with pq.ParquetFile(path) as file:
            _refuse_newer(file.schema_arrow, path)
            for group in range(file.num_row_groups):
                row = file.read_row_group(group, columns=["id"])["id"].to_pylist()
                if work_id in row:
                    (found,) = file.read_row_group(group).slice(row.index(work_id), 1).to_pylist()
                    return _work({name: found[name] for name in WORK_SCHEMA.names if name in found})
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path} cannot be read as a packed corpus ({str(error).splitlines()[0]}); copy it again, or pack"
            " the corpus again with `creditline corpus pack`",
            field="corpus",
        ) from error
    return None
