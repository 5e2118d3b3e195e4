"""`creditline corpus`: inspect corpora of any format; build and describe the embedded corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

app = typer.Typer(help="Inspect and build corpora of works.", no_args_is_help=True)
_console = Console()
_EMPTY = 1


@app.command("look", hidden=True)  # The former name of `inspect`.
@app.command()
def inspect(
    source: Annotated[
        Path,
        typer.Argument(help="A directory or file of works, in any supported format.", show_default=False),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="huggingface, clip-features, webdataset, folder, parquet or table; detected by default."
        ),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option("--pictures/--no-pictures", help="Decode every picture, which takes most of the time."),
    ] = True,
    embedded: Annotated[
        bool,
        typer.Option("--embedded/--no-embedded", help="Read names, rights and consent from the pictures."),
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of rows to read; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Report the contents and faults of a source, and how its columns are used; nothing is written.

    Exits with status 1 if the source holds no works.
    """
    import json

    from creditline.cli.survey_view import survey_json, survey_view
    from creditline.corpus.sources import open_source, survey

    opened = open_source(source, kind=kind, embedded=embedded)
    with Console(stderr=True).status("Reading …") as status:
        found = survey(
            opened,
            check_pictures=pictures,
            limit=limit,
            progress=lambda rows, part: status.update(Text(f"{rows:,} rows, now in {part}")),
        )
    if as_json:
        text = json.dumps(survey_json(found), ensure_ascii=False, indent=2)
        typer.echo(text.encode("utf-8", "replace"))  # File names may be in any encoding.
    else:
        _console.print(survey_view(found))
    if not found.works:
        raise typer.Exit(_EMPTY)


@app.command()
def pack(
    source: Annotated[
        Path,
        typer.Argument(help="A directory or file of works, in any supported format.", show_default=False),
    ],
    output: Annotated[Path, typer.Option(help="Parquet file to write; it is replaced if it exists.")],
    kind: Annotated[
        str | None, typer.Option(help="Format of the source, as for `inspect`; detected by default.")
    ] = None,
) -> None:
    """Write a source as one packed corpus, which every command reads, and print its fingerprint.

    Pictures of more than 1,024 pixels or 1 MiB are stored smaller; broken rows are left out and counted.
    """
    from creditline.corpus.sources.corpora import read_source
    from creditline.corpus.works import write_corpus
    from creditline.errors import InvalidInput

    read = read_source(source, kind=kind)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_corpus(read.corpus, output)
    except OSError as error:
        raise InvalidInput(
            f"{output} cannot be written ({error.strerror}); name a file in a directory of yours",
            field="output",
        ) from error
    for sentence in read.account():
        _console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    _console.print(f"{output}  fingerprint {read.corpus.fingerprint}", soft_wrap=True, highlight=False)


@app.command()
def report(
    source: Annotated[
        Path,
        typer.Argument(help="A packed corpus, or a directory or file of works.", show_default=False),
    ],
    template: Annotated[
        str,
        typer.Option(
            help="eu: the EU's public summary of training content; ab2013: California's AB 2013.",
            show_default=False,
        ),
    ],
    kind: Annotated[str | None, typer.Option(help="Format of the source; detected by default.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write; printed by default.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of Markdown.")] = False,
) -> None:
    """Fill a form on training content with counts from the data; what only the operator knows stays empty."""
    import json

    from creditline.corpus.report.counts import corpus_counts
    from creditline.corpus.report.output import report_json, report_markdown
    from creditline.corpus.report.templates import TEMPLATES, filled
    from creditline.errors import InvalidInput
    from creditline.files import replace_file

    if template not in TEMPLATES:
        raise InvalidInput(
            f"there is no template {template!r}; choose one of {', '.join(TEMPLATES)}", field="template"
        )
    with Console(stderr=True).status("Counting …"):
        form = filled(template, corpus_counts(source, kind=kind))
    text = (
        json.dumps(report_json(form), ensure_ascii=False, indent=2) + "\n"
        if as_json
        else report_markdown(form)
    )
    encoded = text.encode("utf-8", "replace")
    if output is None:
        typer.echo(encoded, nl=False)
    else:
        with replace_file(output) as draft:
            draft.write_bytes(encoded)


@app.command()
def build(
    output: Annotated[Path, typer.Option(help="Parquet file to write.")],
    source: Annotated[
        Path, typer.Option(help="Directory of Debian's openclipart-png and openclipart-svg packages.")
    ] = Path("/usr/share/openclipart"),
) -> None:
    """Build the OpenClipart corpus, and print how many works were kept and why others were dropped."""
    from creditline.corpus.openclipart import build_openclipart
    from creditline.corpus.works import write_corpus

    corpus, report = build_openclipart(source)
    write_corpus(corpus, output)
    _console.print(
        f"{report.works} works by {report.contributors} contributors "
        f"in {report.duplicate_groups} duplicate groups "
        f"({report.works_with_duplicates} works have a copy)"
    )
    for reason, count in report.dropped.items():
        _console.print(f"  dropped {count:5d}: {reason}")
    _console.print(f"{output}  fingerprint {corpus.fingerprint}")


@app.command()
def show() -> None:
    """Print the size of the embedded corpus and its most frequent contributors."""
    from collections import Counter

    from creditline.corpus.openclipart import embedded_corpus

    corpus = embedded_corpus()
    contributors = Counter(work.contributor for work in corpus)
    _console.print(
        f"{corpus.name}: {len(corpus)} works, {len(contributors)} contributors, "
        f"{len({work.duplicate_group for work in corpus})} duplicate groups"
    )
    for name, count in contributors.most_common(10):
        _console.print(f"  {count:5d}  {name}")
