"""`creditline release`: build, verify and show releases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from creditline.cli.device import AUTO, DeviceOption, chosen_device

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus

app = typer.Typer(
    help="Versions of the encoder, with vectors, calibration and model card.", no_args_is_help=True
)
_console = Console()

_Towers = Annotated[
    str,
    typer.Option(help="`embedded`, NAME@CHECKPOINT (an open_clip name and a local file), or a directory."),
]
_CorpusFile = Annotated[
    Path | None, typer.Option(help="The corpus as Parquet; the reference corpus if left out.")
]


@app.command()
def build(
    labels: Annotated[
        Path, typer.Argument(help="A label set: the directory that `creditline teacher label` wrote.")
    ],
    output: Annotated[Path, typer.Option(help="The release's directory.")],
    name: Annotated[
        str, typer.Option(help="The release's name; its collection is works-NAME.")
    ] = "reference",
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 0,
    loss: Annotated[
        list[str] | None, typer.Option(help="share, listwise or rank; the best of several, all if left out.")
    ] = None,
    features: Annotated[Path | None, typer.Option(help="Where tower features are kept between runs.")] = None,
    towers: _Towers = "embedded",
    corpus_file: _CorpusFile = None,
    device: DeviceOption = AUTO,
) -> None:
    """Train an encoder on labels, calibrate it, measure it on held-out queries, and write the release."""
    from creditline.distillation.labels.label_set import read_labels
    from creditline.distillation.release.building import build_release, plans_of
    from creditline.distillation.training.feature_store import FeatureStore
    from creditline.towers.spec import TowerSpec
    from creditline.towers.towers import Towers

    corpus, decoys = _corpus(corpus_file)
    where = chosen_device(device)
    store = FeatureStore(Towers.open(TowerSpec.parse(towers), device=where), features, _console.print)
    built = build_release(
        read_labels(labels),
        corpus,
        decoys,
        store,
        output,
        name=name,
        seed=seed,
        plans=plans_of(loss),
        device=where,
        say=_console.print,
    )
    for method in built.assessment.methods:
        _console.print(
            f"{method.name:14s} nDCG@100 {method.ndcg100.value:.3f}"
            f" [{method.ndcg100.low:.3f}, {method.ndcg100.high:.3f}]"
            f"  recall@10 {method.recall10.value:.3f}",
            markup=False,
        )
    for figure, estimate in built.assessment.figures.items():
        _console.print(
            f"{figure:26s} {estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]", markup=False
        )
    _console.print(f"{output}: release {built.release.name}, {built.release.works} works")


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(help="The release's directory.")],
    sample: Annotated[int, typer.Option(help="Works to encode again.")] = 32,
    towers: _Towers = "embedded",
    corpus_file: _CorpusFile = None,
    work_features: Annotated[
        Path | None, typer.Option(help="CLIP features that a release without pictures was made from.")
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Recompute every hash, check the vectors, and encode a sample of works again."""
    from creditline.corpus.clip_features import ClipFeatures
    from creditline.distillation.release.verification import verify_release
    from creditline.release import open_release
    from creditline.towers.spec import TowerSpec
    from creditline.towers.towers import Towers

    release = open_release(directory)
    given = ClipFeatures.open(work_features) if work_features else None
    own = given.corpus(release.corpus_name) if given and corpus_file is None else None
    verified = verify_release(
        release,
        own or _corpus(corpus_file)[0],
        Towers.open(TowerSpec.parse(towers), device=chosen_device(device)),
        sample=sample,
        seed=0,
        given=given,
    )
    _console.print(
        f"release {release.name}: all files as written; {verified.works} works encoded again, lowest cosine"
        f" {verified.lowest_cosine:.6f}"
    )


@app.command()
def show(
    directory: Annotated[
        Path | None, typer.Argument(help="The release's directory; the package's own if left out.")
    ] = None,
) -> None:
    """Print the model card."""
    from creditline.release import open_release, reference_release_directory

    release = open_release(directory or reference_release_directory())
    _console.print(Markdown(release.model_card()))


def _corpus(corpus_file: Path | None) -> tuple[Corpus, Corpus | None]:
    """The corpus and its decoys; a corpus of one's own has none."""
    from creditline.corpus.works import read_corpus
    from creditline.generator.reference import reference_corpus, reference_decoys

    if corpus_file is not None:
        return read_corpus(corpus_file), None
    return reference_corpus(), reference_decoys()
