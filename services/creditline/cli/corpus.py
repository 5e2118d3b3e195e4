"""`creditline corpus`: build and describe the embedded corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Works and where they come from.", no_args_is_help=True)
_console = Console()


@app.command()
def build(
    output: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    source: Annotated[
        Path, typer.Option(help="Where Debian's openclipart-png and openclipart-svg put their files.")
    ] = Path("/usr/share/openclipart"),
) -> None:
    """Build the OpenClipart corpus and print what was kept and what was dropped, and why."""
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
    """Count what the package carries."""
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
