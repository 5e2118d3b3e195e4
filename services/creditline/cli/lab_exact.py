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
    _console.print(f"{len(record.queries)} queries and {len(record.sets)} sets in {EXACT}")


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

    from creditline.evaluation.lab.exact.record import EXACT
    from creditline.evaluation.lab.exact.smooth_models import SmoothLab
    from creditline.evaluation.lab.record import write_record
    from creditline.files import replace_directory
    from creditline.generator.reference import reference_corpus

    lab = SmoothLab.open(directory / "smooth", reference_corpus())
    lab.train(lambda line: print(line, flush=True))
    write_record(lab.record(), EXACT / "smooth" / "record.safetensors")
    with replace_directory(EXACT / "smooth" / "unet") as draft:
        shutil.copytree(lab.workshop.directory / "unet", draft, dirs_exist_ok=True)
    _console.print(f"{lab.workshop.plan.subsets} halves in {EXACT / 'smooth'}")


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
