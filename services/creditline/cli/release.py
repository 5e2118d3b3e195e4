"""`creditline release`: verify and show releases, and add what re-ranked answers need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from creditline.calibration.reranking import CANDIDATES
from creditline.cli.adapters import AdapterOption, chosen_adapters
from creditline.cli.device import AUTO, DeviceOption, chosen_device
from creditline.cli.quiet_libraries import quiet_libraries

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.generator.adapters.specification import AdapterSpec
    from creditline.release import Release

app = typer.Typer(help="Verify and show releases, and let them re-rank.", no_args_is_help=True)
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


@app.command()
def rerank(
    directory: Annotated[
        Path, typer.Argument(help="Directory of the release, which the files are added to.")
    ],
    labels: Annotated[
        Path,
        typer.Option(help="Label set with held-out queries: `labels` in the directory of the release's run."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the gradients; a second call resumes. Defaults to DIRECTORY.rerank beside the"
            " release.",
            show_default=False,
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Number of works that are re-ranked.")] = CANDIDATES,
    generator: Annotated[
        Path | None, typer.Option(help="Directory of the generator; defaults to the release's.")
    ] = None,
    adapter: AdapterOption = None,
    towers: _Towers = "",
    corpus: _CorpusSource = None,
    device: DeviceOption = AUTO,
) -> None:
    """Add what re-ranked answers need: compressed gradients of all works, and their calibration."""
    from creditline.distillation.labels.label_set import read_labels
    from creditline.distillation.release.reranking import RerankingInputs, add_reranking
    from creditline.distillation.training.feature_store import FeatureStore
    from creditline.generator.pipeline import Generator
    from creditline.release import open_release
    from creditline.release.parts import towers_of
    from creditline.towers.spec import TowerSpec
    from creditline.towers.towers import Towers

    release, chosen = open_release(directory), chosen_device(device)
    work_directory = output or directory.resolve().with_name(f"{directory.resolve().name}.rerank")
    store = FeatureStore(
        Towers.open(TowerSpec.parse(towers_of(release, towers)), device=chosen), work_directory, _say
    )
    stated = chosen_adapters(adapter)
    with (
        Generator.open(
            _generator(release, generator, work_directory),
            adapters=_adapters(release, generator, stated),
            device=chosen,
        ) as opened,
        quiet_libraries(),
    ):
        inputs = RerankingInputs(release, _corpus(release, corpus), opened, read_labels(labels), store)
        added, gain = add_reranking(inputs, work_directory, candidates=candidates, report=_say)
    _say(f"{added.directory}: release {added.name} can be re-ranked")
    _say(gain.sentence())


def _say(line: str) -> None:
    _console.print(line, markup=False, highlight=False)


def _generator(release: Release, chosen: Path | None, work_directory: Path) -> Path:
    """The release's generator; that of the packaged release is assembled in the working directory."""
    from creditline.generator.assembly import assemble_reference
    from creditline.release.parts import generator_place

    return generator_place(release, chosen) or assemble_reference(work_directory / "generator")


def _adapters(release: Release, generator: Path | None, stated: Sequence[AdapterSpec]) -> list[AdapterSpec]:
    """The stated adapters for a stated generator, else those of the release."""
    from creditline.generator.adapters.specification import AdapterSpec
    from creditline.release.parts import generator_adapters

    listed = [str(adapter) for adapter in stated]
    return [AdapterSpec.parse(adapter) for adapter in generator_adapters(release, generator, listed)]


def _corpus(release: Release, chosen: Path | None) -> Corpus:
    """The works of the release, exactly: of the packaged release, the reference corpus."""
    from creditline.generator.reference import reference_corpus
    from creditline.release.parts import corpus_of, corpus_place

    if corpus_place(release, chosen) is None:
        return reference_corpus()
    return corpus_of(release, chosen)
