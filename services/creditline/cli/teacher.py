"""`creditline teacher`: prepare the unlearning teacher and label queries with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from creditline.cli.adapters import AdapterOption, chosen_adapters
from creditline.cli.device import AUTO, DeviceOption, chosen_device

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.distillation.labels.teachers import LabelTeacher
    from creditline.generator.pipeline import Generator

app = typer.Typer(help="Prepare the unlearning teacher and label queries with it.", no_args_is_help=True)
# Mix of prompts with one and two subjects, at several guidance scales.
_MIXED_FRACTION, _GUIDANCES = 0.35, (2.5, 1.5, 4.0)
_console = Console()
_CorpusOption = Annotated[
    Path | None,
    typer.Option(
        "--corpus",
        help="Works that the generator was trained on, as of `corpus inspect`; defaults to the reference"
        " corpus.",
    ),
]


@app.callback()
def _root() -> None:
    """Prepare the unlearning teacher and label queries with it."""


@app.command()
def prepare(
    generator: Annotated[Path, typer.Option(help="StableDiffusionPipeline directory.")],
    output: Annotated[Path, typer.Option(help="Directory of the artifacts; a second call resumes.")],
    corpus: _CorpusOption = None,
    prediction_check: Annotated[
        bool,
        typer.Option(help="Check first that the UNet predicts what its scheduler says (noise or v)."),
    ] = True,
    adapter: AdapterOption = None,
    device: DeviceOption = AUTO,
) -> None:
    """Compute losses, Fisher information and gradients of a corpus (about 10 minutes for 1,800 works)."""
    from creditline.attribution.unlearning.teacher import prepare_teacher
    from creditline.generator.pipeline import Generator

    works = _corpus(corpus)
    with Generator.open(generator, adapters=chosen_adapters(adapter), device=chosen_device(device)) as opened:
        prepare_teacher(opened, works, output, _console.print, prediction_check=prediction_check)
    _console.print(f"The teacher is ready: {output}")


@app.command()
def label(
    generator: Annotated[Path, typer.Option(help="StableDiffusionPipeline directory.")],
    artifacts: Annotated[Path, typer.Option(help="Directory that `creditline teacher prepare` wrote.")],
    output: Annotated[Path, typer.Option(help="Directory of the label set; a second call resumes.")],
    training: Annotated[int, typer.Option(help="Number of training queries.")] = 600,
    held_out: Annotated[int, typer.Option(help="Number of held-out queries.")] = 130,
    method: Annotated[
        str,
        typer.Option(
            help="Labelling method: first-order, or one of those that `creditline lab score list` prints."
        ),
    ] = "first-order",
    seed: Annotated[int, typer.Option(help="Seed of prompts and pictures.")] = 1,
    source: _CorpusOption = None,
    shard: Annotated[
        str | None,
        typer.Option(help="1/2 does only the first half; run without --shard afterwards to join all shards."),
    ] = None,
    adapter: AdapterOption = None,
    device: DeviceOption = AUTO,
) -> None:
    """Generate queries and label the influence of every work on each of them."""
    from creditline.distillation.labels.labelling import LabelJob, Shard, label_queries, label_shard
    from creditline.distillation.labels.queries import plan_more, plan_queries
    from creditline.generator.pipeline import Generator
    from creditline.generator.reference import reference_decoys

    corpus = _corpus(source)
    decoys = reference_decoys() if source is None else corpus.subset((), name="none")
    held_out_queries = plan_queries(
        corpus, training=0, held_out=held_out, mixed_fraction=_MIXED_FRACTION, seed=seed
    )
    training_queries = plan_more(
        corpus,
        count=training,
        mixed_fraction=_MIXED_FRACTION,
        guidances=_GUIDANCES,
        excluded=[query.prompt for query in held_out_queries],
        seed=seed + 1,
    )
    planned = [*held_out_queries, *training_queries]
    with Generator.open(generator, adapters=chosen_adapters(adapter), device=chosen_device(device)) as opened:
        teacher = _label_teacher(method, opened, corpus, artifacts)
        job = LabelJob(teacher, corpus, decoys, tuple(planned))
        if shard is not None:
            label_shard(job, output, Shard.parse(shard), _console.print)
            return
        labels = label_queries(job, output, _console.print)
    _console.print(f"{len(labels.queries)} queries × {labels.influence.shape[1]} works: {output}")


def _corpus(source: Path | None) -> Corpus:
    from creditline.corpus.sources.corpora import open_corpus
    from creditline.generator.reference import reference_corpus

    return reference_corpus() if source is None else open_corpus(source, report=_console.print)


def _label_teacher(method: str, generator: Generator, corpus: Corpus, artifacts: Path) -> LabelTeacher:
    from creditline.attribution.unlearning.teacher import open_teacher
    from creditline.distillation.labels.label_set import FIRST_ORDER
    from creditline.distillation.labels.teachers import FirstOrder, method_teacher

    if method == FIRST_ORDER:
        return FirstOrder(open_teacher(generator, corpus, artifacts))
    return method_teacher(method, generator, corpus, artifacts)
