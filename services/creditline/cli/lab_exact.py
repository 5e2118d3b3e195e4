"""`creditline lab exact`: exact effects by differentiating through a training, and methods against them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from creditline.evaluation.lab.exact.workshop import ExactWorkshop

app = typer.Typer(
    help="Exact effects of works by differentiating through a whole training, and methods against them.",
    no_args_is_help=True,
)
_DIRECTORY = Path("runs/lab")
# Number of pictures by which the quality of two trainings is compared.
_PICTURES = 400
_console = Console()
_Directory = Annotated[Path, typer.Option(help="Directory of the lab; a second call resumes.")]


@app.callback()
def _root() -> None:
    """Exact effects of works by differentiating through a whole training, and methods against them."""


@app.command()
def effects(
    directory: _Directory = _DIRECTORY,
    groups: Annotated[
        int | None,
        typer.Option(help="Number of groups of four queries.", min=1, show_default="all"),
    ] = None,
    sets: Annotated[
        int | None,
        typer.Option(help="Number of sets of works to leave out.", min=3, show_default="all"),
    ] = None,
) -> None:
    """Compute the exact effects and verify them by retraining (half an hour; resumable); write the record."""
    from creditline.evaluation.lab.exact.record import EXACT, collect, write_exact
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE

    lab, workshop = read_record(REFERENCE / "record.safetensors"), _open(directory)
    planned = workshop.plan.chosen_sets + workshop.plan.random_sets
    record = collect(
        workshop, lab, groups or len(workshop.groups()), sets or planned, lambda line: print(line, flush=True)
    )
    write_exact(record, EXACT / "record.safetensors")
    workshop.copy_unet(EXACT / "unet")
    _console.print(f"{len(record.effects)} queries and {len(record.sets)} sets in {EXACT}")


@app.command()
def score(
    methods: Annotated[list[str], typer.Argument(help="Names of methods, as `creditline lab score list`.")],
    scratch: Annotated[
        Path, typer.Option(help="Directory of the methods' artifacts; a second call reuses them.")
    ] = Path("runs/lab/exact/artifacts"),
    every_score: Annotated[
        bool, typer.Option(help="For an unlearning method: all scores of the same unlearning run.")
    ] = False,
) -> None:
    """Run methods on the differentiated model (seconds to minutes each), and write their scores."""
    from creditline.attribution.attributor import attribute_every
    from creditline.attribution.methods.registry import method_by_name
    from creditline.evaluation.lab.exact.record import EXACT, read_exact
    from creditline.evaluation.lab.exact.scores import write_exact_scores
    from creditline.evaluation.lab.exact.setting import exact_context, open_exact_setting
    from creditline.generator.reference import reference_corpus

    record = read_exact()
    factories = {name: method_by_name(name) for name in methods}
    with open_exact_setting(record, reference_corpus()) as setting:
        context = exact_context(setting, scratch)
        for name, factory in factories.items():
            attributor = factory(context)
            by_name = attribute_every(attributor, setting.works, setting.queries, scratch / name)
            by_name = {name: by_name.pop(attributor.name), **(by_name if every_score else {})}
            for kept, attributed in by_name.items():
                write_exact_scores(record, kept, attributed, EXACT / "scores")
            _console.print(f"{', '.join(by_name)}: scored")


@app.command()
def smooth(directory: _Directory = _DIRECTORY) -> None:
    """Train the lab's models more smoothly, one for each of 32 halves (an hour; resumable)."""
    import shutil

    import numpy as np

    from creditline.evaluation.lab.exact.picture_quality import own_work_percentiles
    from creditline.evaluation.lab.exact.record import EXACT
    from creditline.evaluation.lab.exact.smooth_models import SmoothLab
    from creditline.evaluation.lab.record import write_record
    from creditline.evaluation.lab.setting import REFERENCE
    from creditline.files import replace_directory
    from creditline.generator.assembly import assemble, reference_weights
    from creditline.generator.pipeline import Generator
    from creditline.generator.reference import reference_corpus
    from creditline.tensor_files import write_arrays
    from creditline.towers.towers import Towers

    lab, folder = SmoothLab.open(directory / "smooth", reference_corpus()), EXACT / "smooth"
    lab.train(lambda line: print(line, flush=True))
    write_record(lab.record(), folder / "record.safetensors")
    with replace_directory(folder / "unet") as draft:
        shutil.copytree(lab.workshop.directory / "unet", draft, dirs_exist_ok=True)
    towers, percentiles = Towers.open(), {}
    for name, unet in (("smooth", folder / "unet"), ("usual", REFERENCE / "unet")):
        assembled = lab.workshop.directory / f"generator-{name}"
        assemble(assembled, unet=unet, vae=reference_weights() / "vae")
        with Generator.open(assembled) as generator:
            found = own_work_percentiles(generator, lab.workshop.works, towers, _PICTURES)
        percentiles[name] = found
        print(f"{name}: median percentile of the own work {np.median(found):.3f}", flush=True)
    write_arrays(folder / "percentiles.safetensors", percentiles)
    _console.print(f"{lab.workshop.plan.subsets} halves in {folder}")


@app.command()
def smooth_score(
    methods: Annotated[list[str], typer.Argument(help="Names of methods, as `creditline lab score list`.")],
    scratch: Annotated[
        Path, typer.Option(help="Directory of the methods' artifacts; a second call reuses them.")
    ] = Path("runs/lab/smooth/artifacts"),
) -> None:
    """Run methods on the generator of the smoother training; write their scores and kernels."""
    from creditline.attribution.attributor import attribute
    from creditline.attribution.methods.registry import method_by_name
    from creditline.evaluation.lab.exact.record import EXACT
    from creditline.evaluation.lab.exact.setting import exact_context
    from creditline.evaluation.lab.judging.kernels import kernel_of, write_kernel
    from creditline.evaluation.lab.judging.scoring import MethodScores, write_scores
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import open_setting
    from creditline.generator.reference import reference_corpus

    folder = EXACT / "smooth"
    record = read_record(folder / "record.safetensors")
    factories = {name: method_by_name(name) for name in methods}
    with open_setting(record, reference_corpus(), folder / "unet") as setting:
        context, rows = exact_context(setting, scratch), range(len(record.queries))
        for name, factory in factories.items():
            attributor = factory(context)
            attributed = attribute(attributor, setting.works, setting.queries, scratch / name)
            write_scores(MethodScores.of(name, rows, attributed, record), folder / "scores")
            kernel = kernel_of(attributor, setting.queries, rows)
            if kernel is not None:
                write_kernel(kernel, folder / "kernels" / f"{name}.safetensors", record)
            _console.print(f"{name}: scored")


def _open(directory: Path) -> ExactWorkshop:
    from creditline.evaluation.lab.exact.plan import ExactPlan
    from creditline.evaluation.lab.exact.workshop import ExactWorkshop
    from creditline.evaluation.lab.plan import LabPlan
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.restoring import restore
    from creditline.evaluation.lab.retraining.workshop import Workshop
    from creditline.evaluation.lab.setting import REFERENCE
    from creditline.generator.reference import reference_corpus

    record = read_record(REFERENCE / "record.safetensors")
    lab = Workshop.open(directory, reference_corpus(), LabPlan())
    restore(lab, record, REFERENCE / "unet")
    return ExactWorkshop.open(directory / "exact", lab.works_file, record, ExactPlan())
