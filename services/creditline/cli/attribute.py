"""`creditline attribute`: the works that a picture owes, and who made them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from creditline.cli.connection import JsonOption, KeyOption, StateOption, TargetOption, gateway_client
from creditline.cli.work_filter import (
    ConsentOption,
    ContributorIdsOption,
    ContributorsOption,
    LicencesOption,
    SinceOption,
    UntilOption,
    work_filter,
)

if TYPE_CHECKING:
    from creditline.cli.credit_line.line import CreditLine

# The first answer after a start may wait for the models' warm-up.
_ANSWER_SECONDS = 60.0

app = typer.Typer(add_completion=False, help="Print the works that a picture owes, and who made them.")


@app.command()
def attribute(
    picture: Annotated[Path, typer.Argument(help="The picture: PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF.")],
    prompt: Annotated[str, typer.Option(help="Prompt that the picture was made from.")],
    generator: Annotated[
        str,
        typer.Option(
            help="Fingerprint of the generator that made the picture; may be left out where the gateway"
            " serves one generator."
        ),
    ] = "",
    top: Annotated[
        int, typer.Option("-k", "--top", min=1, max=1000, help="Number of works to list.", show_default=True)
    ] = 10,
    release: Annotated[str, typer.Option(help="Release to answer with; defaults to the live one.")] = "",
    contributor: ContributorsOption = None,
    contributor_id: ContributorIdsOption = None,
    licence: LicencesOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    consent: ConsentOption = None,
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="Embed picture and prompt on this machine, and send only their vector. The answer is marked,"
            " and never audited.",
        ),
    ] = False,
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the gateway's release, for --private; defaults to that of"
            " CREDITLINE_RELEASE_DIRECTORY, else to the release in the package."
        ),
    ] = None,
    reranked: Annotated[
        bool,
        typer.Option(
            "--reranked",
            help="Order the nearest works by a gradient of the generator, which takes longer; the release"
            " needs gradient rows.",
        ),
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Also write the credit line as one HTML file.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Also write picture, page, drawing and JSON to this directory.")
    ] = None,
    as_json: JsonOption = False,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
) -> None:
    """Attribute a picture through the gateway, by default that of the running local stack.

    Options such as --licence restrict which works are listed. Shares stay parts of the influence of all
    works, and the remainder holds the works that are not listed.
    """
    from creditline.api.answers import AnswerForm
    from creditline.cli.credit_line.document import credit_line_document
    from creditline.cli.credit_line.recorded import recorded_line
    from creditline.cli.credit_line.terminal import credit_line_view

    content = _content(picture)
    with gateway_client(target, api_key, state_directory, encoder=encoder) as client:
        answer = client.attribute(
            content,
            prompt=prompt,
            generator=generator,
            k=top,
            release=release,
            filter=work_filter(contributor, contributor_id, licence, since, until, consent),
            private=private,
            form=AnswerForm.RERANKED if reranked else AnswerForm.FAST,
            timeout_seconds=_ANSWER_SECONDS,
        )
        line = recorded_line(client, answer.attribution_id)
    if private:
        line = _with_query(line, content, prompt)
    console = Console(highlight=False)
    if as_json:
        console.print_json(credit_line_document(line))
    else:
        console.print(credit_line_view(line, in_colour=console.color_system is not None))
        if not private:
            console.print(
                Text(f"To audit it: creditline audit submit {answer.attribution_id} --wait"), soft_wrap=True
            )
    _write(line, html, output)


def _content(picture: Path) -> bytes:
    from creditline.errors import NotReady

    try:
        return picture.read_bytes()
    except OSError as error:
        raise NotReady(
            f"{picture} cannot be read ({error.strerror}); name a picture file", field="picture"
        ) from error


def _with_query(line: CreditLine, picture: bytes, prompt: str) -> CreditLine:
    """The answer to a private query with picture and prompt, which are known on this machine only."""
    from dataclasses import replace

    from creditline.cli.credit_line.line import Query
    from creditline.pictures.queries import query_pixels, recorded_file

    query = Query(recorded_file(query_pixels(picture)), prompt, line.query.generator)
    return replace(line, query=query)


def _write(line: CreditLine, html: Path | None, output: Path | None) -> None:
    """Write the files that were asked for, and name them."""
    from creditline.cli.credit_line.folder import write_credit_line, write_page

    written = list(write_credit_line(line, output)) if output is not None else []
    if html is not None:
        written.append(write_page(line, html))
    if written:
        names = ", ".join(map(str, written))
        Console(stderr=True, highlight=False).print(Text(f"Written: {names}"), soft_wrap=True)
