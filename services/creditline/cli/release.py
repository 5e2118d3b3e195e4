"""`creditline release`: verify and show releases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from creditline.cli.device import AUTO, DeviceOption, chosen_device

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.release import Release

app = typer.Typer(help="Verify and show releases.", no_args_is_help=True)
_console = Console()

_Towers = Annotated[
    str,
    typer.Option(
        help="Towers: embedded, NAME@CHECKPOINT (an open_clip name and a local file), or a directory;"
        " defaults to those that the release names."
    ),
]
_CorpusSource = Annotated[
    Path | None,
    typer.Option(
        "--corpus",
        "--corpus-file",
        help="Source of the corpus, as of `corpus inspect`; defaults to the one that the release names.",
    ),
]


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(help="Directory of the release.")],
    sample: Annotated[int, typer.Option(help="Number of works to encode again.")] = 32,
    towers: _Towers = "",
    corpus: _CorpusSource = None,
    work_features: Annotated[
        Path | None,
        typer.Option(help="Directory of the CLIP features that a release without pictures was made from."),
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Recompute all hashes, check the vectors, and encode a sample of works again."""
    from creditline.corpus.clip_features import ClipFeatures
    from creditline.distillation.release.verification import verify_release
    from creditline.release import open_release
    from creditline.release.parts import towers_of
    from creditline.towers.spec import TowerSpec
    from creditline.towers.towers import Towers

    release = open_release(directory)
    given = ClipFeatures.open(work_features) if work_features else None
    own = given.corpus(release.corpus_name) if given and corpus is None else None
    verified = verify_release(
        release,
        own or _corpus(release, corpus),
        Towers.open(TowerSpec.parse(towers_of(release, towers)), device=chosen_device(device)),
        sample=sample,
        seed=0,
        given=given,
    )
    _console.print(
        f"release {release.name}: files unchanged; {verified.works} works encoded again, lowest cosine"
        f" {verified.lowest_cosine:.6f}"
    )


@app.command()
def show(
    directory: Annotated[
        Path | None, typer.Argument(help="Directory of the release; defaults to the release in the package.")
    ] = None,
) -> None:
    """Print the model card of a release."""
    from creditline.release import open_release, reference_release_directory

    release = open_release(directory or reference_release_directory())
    _console.print(Markdown(release.model_card()))


def _corpus(release: Release, chosen: Path | None) -> Corpus:
    """The works of the release, exactly: of the packaged release, the reference corpus."""
    from creditline.generator.reference import reference_corpus
    from creditline.release.parts import corpus_of, corpus_place

    if corpus_place(release, chosen) is None:
        return reference_corpus()
    return corpus_of(release, chosen)
