"""`creditline teacher`: prepare what is the same for all queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from creditline.cli.device import AUTO, DeviceOption, chosen_device

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.distillation.labels.teachers import LabelTeacher
    from creditline.generator.pipeline import Generator

app = typer.Typer(help="The slow method that is known to be right.", no_args_is_help=True)
# What people ask for: prompts of one thing and of two, at several guidances.
_MIXED_FRACTION, _GUIDANCES = 0.35, (2.5, 1.5, 4.0)
_console = Console()


@app.callback()
def _root() -> None:
    """The slow method that is known to be right."""


@app.command()
def prepare(
    generator: Annotated[Path, typer.Option(help="A StableDiffusionPipeline directory.")],
    output: Annotated[Path, typer.Option(help="Where the artifacts go; a second call resumes.")],
    device: DeviceOption = AUTO,
) -> None:
    """Compute losses, Fisher and gradients of the reference corpus under a generator (about 10 minutes)."""
    from creditline.attribution.unlearning.teacher import prepare_teacher
    from creditline.generator.pipeline import Generator
    from creditline.generator.reference import reference_corpus

    with Generator.open(generator, device=chosen_device(device)) as opened:
        prepare_teacher(opened, reference_corpus(), output, _console.print)
    _console.print(f"The teacher is ready: {output}")


@app.command()
def label(
    generator: Annotated[Path, typer.Option(help="A StableDiffusionPipeline directory.")],
    artifacts: Annotated[Path, typer.Option(help="What `creditline teacher prepare` made.")],
    output: Annotated[Path, typer.Option(help="Where the label set goes; a second call resumes.")],
    training: Annotated[int, typer.Option(help="Queries to train on.")] = 600,
    held_out: Annotated[int, typer.Option(help="Queries to judge by.")] = 130,
    method: Annotated[
        str, typer.Option(help="Who labels: first-order, or a method that `creditline lab score list` names.")
    ] = "first-order",
    seed: Annotated[int, typer.Option(help="Decides prompts and pictures.")] = 1,
    shard: Annotated[
        str | None,
        typer.Option(help="1/2: only the first half of the work; a last call without it joins all shards."),
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Generate queries and label every work's influence on each."""
    from creditline.distillation.labels.labelling import LabelJob, Shard, label_queries, label_shard
    from creditline.distillation.labels.queries import plan_more, plan_queries
    from creditline.generator.pipeline import Generator
    from creditline.generator.reference import reference_corpus, reference_decoys

    corpus = reference_corpus()
    judged_by = plan_queries(corpus, training=0, held_out=held_out, mixed_fraction=_MIXED_FRACTION, seed=seed)
    learnt_from = plan_more(
        corpus,
        count=training,
        mixed_fraction=_MIXED_FRACTION,
        guidances=_GUIDANCES,
        spared=[query.prompt for query in judged_by],
        seed=seed + 1,
    )
    planned = [*judged_by, *learnt_from]
    with Generator.open(generator, device=chosen_device(device)) as opened:
        teacher = _label_teacher(method, opened, corpus, artifacts)
        job = LabelJob(teacher, corpus, reference_decoys(), tuple(planned))
        if shard is not None:
            label_shard(job, output, Shard.parse(shard), _console.print)
            return
        labels = label_queries(job, output, _console.print)
    _console.print(f"{len(labels.queries)} queries × {labels.influence.shape[1]} works: {output}")


def _label_teacher(method: str, generator: Generator, corpus: Corpus, artifacts: Path) -> LabelTeacher:
    from creditline.attribution.unlearning.teacher import open_teacher
    from creditline.distillation.labels.label_set import FIRST_ORDER
    from creditline.distillation.labels.teachers import FirstOrder, method_teacher

    if method == FIRST_ORDER:
        return FirstOrder(open_teacher(generator, corpus, artifacts))
    return method_teacher(method, generator, corpus, artifacts)
