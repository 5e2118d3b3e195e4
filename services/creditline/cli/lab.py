"""`creditline lab`: retrain a small generator on subsets of its works, and evaluate methods by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from creditline.cli import lab_exact
from creditline.cli.device import AUTO, DeviceOption, chosen_device, worker_count

if TYPE_CHECKING:
    from creditline.evaluation.lab.judging.scoring import MethodScores
    from creditline.evaluation.lab.removal.removals import Removal, RemovalRecord
    from creditline.evaluation.lab.retraining.workshop import Workshop

app = typer.Typer(
    help="Retrain a small generator on subsets of its works, and evaluate methods by it.",
    no_args_is_help=True,
)
app.add_typer(lab_exact.app, name="exact")
# Fraction of prompts with two subjects, and guidance scales beside that of the lab's own queries.
_MIXED_FRACTION, _GUIDANCES = 0.4, (2.5, 1.5, 4.0)
_console = Console()


@app.callback()
def _root() -> None:
    """Retrain a small generator on subsets of its works, and evaluate methods by it."""


_Directory = Annotated[Path, typer.Option(help="Directory of the lab; a second call resumes.")]
_DIRECTORY = Path("runs/lab")
_KINDS = ("generated", "heldout")


@app.command()
def train(
    directory: _Directory = _DIRECTORY,
    subsets: Annotated[int, typer.Option(help="Number of subsets to train.", min=1)] = 64,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of processes, with one thread each; at most the number of cores is useful.",
            show_default="2, or 1 on a GPU",
        ),
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Train the lab's generator, then one model for each subset and seed (hours; resumable)."""
    from creditline.evaluation.lab.plan import LabPlan
    from creditline.evaluation.lab.retraining.models import retrain
    from creditline.generator.reference import reference_corpus

    where = chosen_device(device)
    retrain(
        directory,
        reference_corpus(),
        LabPlan(),
        subsets=subsets,
        workers=worker_count(workers, where),
        report=_console.print,
        device=where,
    )


@app.command()
def collect(
    output: Annotated[Path, typer.Argument(help="Record to write (safetensors).")],
    directory: _Directory = _DIRECTORY,
) -> None:
    """Write the record of all trained subsets, by which `score` evaluates methods."""
    from creditline.evaluation.lab.plan import LabPlan
    from creditline.evaluation.lab.record import collect as collect_record
    from creditline.evaluation.lab.record import write_record
    from creditline.evaluation.lab.retraining.workshop import Workshop
    from creditline.generator.reference import reference_corpus

    record = collect_record(Workshop.open(directory, reference_corpus(), LabPlan()))
    write_record(record, output)
    _console.print(f"{len(record.subsets)} subsets in {output}")


@app.command()
def remove(
    directory: _Directory = _DIRECTORY,
    output: Annotated[
        Path | None, typer.Option(help="Record to write, of the removals that are trained.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(help="Record of finished removals: they are not trained, and the output holds them."),
    ] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Only removals of this reason: nothing, random, contributor, or a method's name."),
    ] = None,
    contributor_seed: Annotated[
        list[int] | None, typer.Option(help="Seed of the models without a contributor; 1 by default.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of processes, with one thread each; 0 only collects.",
            show_default="2, or 1 on a GPU",
        ),
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Retrain the generator without a method's first works, or without a contributor (hours; resumable)."""
    from creditline.evaluation.lab.judging.scoring import LEADING, read_scores
    from creditline.evaluation.lab.plan import LabPlan
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.removal.extending import missing_removals
    from creditline.evaluation.lab.removal.removals import RemovalPlan, read_removals, retrain_without
    from creditline.evaluation.lab.restoring import restore
    from creditline.evaluation.lab.retraining.workshop import Workshop
    from creditline.evaluation.lab.setting import REFERENCE
    from creditline.generator.reference import reference_corpus

    corpus, plan, where = reference_corpus(), LabPlan(), chosen_device(device)
    workshop = Workshop.open(directory, corpus, plan, device=where)
    record = read_record(REFERENCE / "record.safetensors")
    scores = {name: read_scores(REFERENCE / "scores" / f"{name}.safetensors", record) for name in LEADING}
    removal_plan = RemovalPlan(contributor_seeds=tuple(contributor_seed or RemovalPlan.contributor_seeds))
    planned = _of_reasons(removal_plan.removals(record, workshop.works, scores), reason)
    finished = None if known is None else read_removals(known)
    wanted = planned if finished is None else missing_removals(finished, planned)
    if workers != 0:
        restore(workshop, record, REFERENCE / "unet")
        count = worker_count(workers, where)
        retrain_without(directory, corpus, plan, wanted, workers=count, device=where)
    _write_removals(workshop, wanted, finished, output)


def _of_reasons(planned: list[Removal], reasons: list[str] | None) -> list[Removal]:
    from creditline.errors import InvalidInput

    present = {removal.reason for removal in planned}
    unknown = sorted(set(reasons or ()) - present)
    if unknown:
        raise InvalidInput(
            f"no removal is planned for reason {unknown[0]!r}; choose from {', '.join(sorted(present))}",
            field="reason",
        )
    return [removal for removal in planned if not reasons or removal.reason in reasons]


def _write_removals(
    workshop: Workshop, wanted: list[Removal], finished: RemovalRecord | None, output: Path | None
) -> None:
    from creditline.evaluation.lab.removal.extending import extended
    from creditline.evaluation.lab.removal.removals import collect_removals, write_removals

    if not wanted:
        _console.print("the record lacks no removal of the plan")
        return
    done = collect_removals(workshop, wanted)
    _console.print(f"{len(done.removals)} of {len(wanted)} removals are trained")
    if output is not None:
        write_removals(done if finished is None else extended(finished, done), output)


@app.command()
def draws(
    output: Annotated[Path, typer.Argument(help="Record to write (safetensors).")],
    queries: Annotated[int, typer.Option(help="Number of generated queries, evenly spread.", min=1)] = 16,
    scratch: Annotated[
        Path, typer.Option(help="Directory of intermediate results; a second call resumes.")
    ] = (Path("runs/lab/artifacts/draws")),
    device: DeviceOption = AUTO,
) -> None:
    """Record the works' losses for each draw after unlearning a query, to select fast teachers."""
    from creditline.attribution.methods.prepared_ascent import natural_ascent
    from creditline.evaluation.lab.draws import collect_draws, write_draws
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE, open_setting
    from creditline.generator.reference import reference_corpus

    record = read_record(REFERENCE / "record.safetensors")
    with open_setting(record, reference_corpus(), device=chosen_device(device)) as setting:
        forgetting = natural_ascent(setting.generator)(setting.works, scratch)
        rows = record.spread_rows(queries, ["generated"])
        write_draws(collect_draws(setting, forgetting, rows, scratch), output)
    _console.print(f"{len(rows)} queries in {output}")


@app.command()
def score(
    methods: Annotated[
        list[str],
        typer.Argument(
            help="Names of methods, which share stored gradients; `list` prints all names.",
            metavar="METHOD...",
        ),
    ],
    queries: Annotated[
        int, typer.Option(help="Number of queries of each kind, evenly spread; 0 means all.")
    ] = 0,
    scratch: Annotated[
        Path, typer.Option(help="Directory of the method's artifacts; a second call reuses them.")
    ] = (Path("runs/lab/artifacts")),
    save: Annotated[Path | None, typer.Option(help="Directory to write the scores to.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Kind of queries: generated or heldout; both by default.")
    ] = None,
    every_score: Annotated[
        bool, typer.Option(help="For an unlearning method: all scores of the same unlearning run.")
    ] = False,
    kernels: Annotated[
        Path | None, typer.Option(help="Directory to write kernels to, by which λ is chosen again.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Directory of the lab, with models of other seeds and checkpoints.")
    ] = _DIRECTORY,
    device: DeviceOption = AUTO,
) -> None:
    """Run methods on the lab's generator and evaluate them by the committed record of retrained models."""
    from creditline.attribution.methods.registry import METHODS

    if methods == ["list"]:
        _console.print("\n".join(METHODS))
        return
    from creditline.evaluation.lab.judging.scoring import write_scores

    kinds, where = kind or list(_KINDS), chosen_device(device)
    asked = _Asked(methods, queries, kinds, scratch, directory, every_score, kernels, where)
    for scores in _run(asked):
        if save is not None:
            write_scores(scores, save)
        _console.print(_verdict(scores))


@app.command()
def checkpoints(directory: _Directory = _DIRECTORY, device: DeviceOption = AUTO) -> None:
    """Train the lab's generator again and keep checkpoints of the training, for TracIn (minutes)."""
    from creditline.evaluation.lab.plan import LabPlan
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.restoring import restore
    from creditline.evaluation.lab.retraining.workshop import Workshop, train_checkpoints
    from creditline.evaluation.lab.setting import REFERENCE
    from creditline.generator.reference import reference_corpus

    workshop = Workshop.open(directory, reference_corpus(), LabPlan(), device=chosen_device(device))
    restore(workshop, read_record(REFERENCE / "record.safetensors"), REFERENCE / "unet")
    train_checkpoints(workshop, _console.print)


@app.command()
def tune(
    method: Annotated[str, typer.Argument(help="Name of a kernel method, such as trak or d-trak.")],
    queries: Annotated[
        int, typer.Option(help="Number of generated queries, evenly spread; 0 means all.")
    ] = 0,
    scratch: Annotated[Path, typer.Option(help="Directory of the method's artifacts.")] = Path(
        "runs/lab/artifacts"
    ),
    device: DeviceOption = AUTO,
) -> None:
    """Search the λ of a kernel method on the tuning subsets; the LDS on the judging subsets is shown too."""
    from creditline.attribution.methods.gradient_methods import Trak
    from creditline.attribution.methods.registry import method_by_name
    from creditline.attribution.methods.trak import REGULARISATIONS
    from creditline.errors import InvalidInput
    from creditline.evaluation.lab.judging.tuning import best, evaluate_regularisations
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE, method_context, open_setting
    from creditline.generator.reference import reference_corpus

    record = read_record(REFERENCE / "record.safetensors")
    rows = record.spread_rows(queries, ["generated"])
    with open_setting(record, reference_corpus(), device=chosen_device(device)) as setting:
        attributor = method_by_name(method)(method_context(setting, scratch))
        if not isinstance(attributor, Trak):
            raise InvalidInput(
                f"{method!r} has no λ to search; name a kernel method such as d-trak", field="method"
            )
        attributor.prepare(setting.works, scratch / method)
        scores = attributor.scores_at(setting.queries.rows(rows), REGULARISATIONS)
    found = evaluate_regularisations(record, rows, scores)
    table = Table(title=f"{method}: λ relative to the mean squared norm of the works' rows")
    for heading in ("λ", "LDS, tuning", "LDS, judging", ""):
        table.add_column(heading, justify="right")
    for one in found:
        mark = "chosen" if one == best(found) else ""
        table.add_row(f"{one.regularisation:g}", f"{one.choosing:.3f}", f"{one.judging:.3f}", mark)
    _console.print(table)


@app.command()
def fit(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of consensuses; all by default.", metavar="NAME...")
    ] = None,
) -> None:
    """Fit each consensus of the registry on the choosing subsets, and compare it with the committed one."""
    from creditline.attribution.methods.hyperparameters import CONSENSUSES, OFFERED, WITHOUT
    from creditline.errors import InvalidInput
    from creditline.evaluation.lab.judging.fitting import committed_consensus, fit_consensus
    from creditline.evaluation.lab.judging.scoring import read_all_scores
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE

    record = read_record(REFERENCE / "record.safetensors")
    scores = read_all_scores(REFERENCE / "scores", record)
    differing = []
    for name in names or CONSENSUSES:
        fitted, committed = fit_consensus(name, record, scores), committed_consensus(name)
        source = " without ".join(WITHOUT[name]) if name in WITHOUT else f"offered {', '.join(OFFERED[name])}"
        table = Table(title=f"{name}, {source}; power of the sum {fitted.power:g}")
        for heading in ("member", "weight", "power", "committed weight", "committed power"):
            table.add_column(heading, justify="left" if heading == "member" else "right")
        for member in fitted.weights.keys() | committed.weights.keys():
            cells = [
                f"{values.get(member, default):g}"
                for one in (fitted, committed)
                for values, default in ((one.weights, 0.0), (one.powers, 1.0))
            ]
            table.add_row(member, *cells)
        _console.print(table)
        differing += [] if fitted.agrees_with(committed) else [name]
    if differing:
        raise InvalidInput(
            f"the committed weights of {', '.join(differing)} are not those of the committed scores; write"
            " the fitted ones to attribution/methods/hyperparameters.py",
            field="weights",
        )


@app.command()
def label(
    output: Annotated[Path, typer.Argument(help="Directory of the label set; a second call resumes.")],
    method: Annotated[str, typer.Option(help="Labelling method.")] = "consensus-fast",
    queries: Annotated[int, typer.Option(help="Number of pictures to generate and label.", min=2)] = 480,
    seed: Annotated[int, typer.Option(help="Seed of prompts and pictures.")] = 1,
    shard: Annotated[
        str | None,
        typer.Option(help="1/2 does only the first half; run without --shard afterwards to join all shards."),
    ] = None,
    scratch: Annotated[Path, typer.Option(help="Directory of the method's artifacts.")] = Path(
        "runs/lab/artifacts"
    ),
    device: DeviceOption = AUTO,
) -> None:
    """Generate pictures with the lab's generator and label them, to train students for the lab."""
    from creditline.attribution.methods.registry import method_by_name
    from creditline.distillation.labels.labelling import LabelJob, Shard, label_queries, label_shard
    from creditline.distillation.labels.queries import plan_more
    from creditline.distillation.labels.teachers import MethodTeacher
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE, method_context, open_setting
    from creditline.generator.reference import reference_corpus

    record = read_record(REFERENCE / "record.safetensors")
    with open_setting(record, reference_corpus(), device=chosen_device(device)) as lab:
        planned = plan_more(
            lab.corpus,
            count=queries,
            mixed_fraction=_MIXED_FRACTION,
            guidances=_GUIDANCES,
            excluded=[query.prompt for query in record.queries],
            seed=seed,
        )
        attributor = method_by_name(method)(method_context(lab, scratch))
        teacher = MethodTeacher(attributor, lab.generator, lab.works, scratch / method)
        job = LabelJob(teacher, lab.corpus, lab.corpus.subset([], name="no decoys"), tuple(planned))
        if shard is not None:
            label_shard(job, output, Shard.parse(shard), _console.print)
            return
        labels = label_queries(job, output, _console.print)
    _console.print(f"{len(labels.queries)} queries × {labels.influence.shape[1]} works: {output}")


@app.command()
def noise(
    method: Annotated[str, typer.Argument(help="Name of a method; `score list` prints all names.")],
    save: Annotated[Path, typer.Argument(help="Directory for the scores.")],
    queries: Annotated[int, typer.Option(help="Number of noise pictures.", min=1)] = 8,
    scratch: Annotated[Path, typer.Option(help="Directory of the method's artifacts.")] = Path(
        "runs/lab/artifacts"
    ),
    device: DeviceOption = AUTO,
) -> None:
    """Score pictures of pure noise, which no work has influenced, as a control."""
    from creditline.attribution.attributor import attribute
    from creditline.attribution.methods.registry import method_by_name
    from creditline.evaluation.lab.judging.scoring import MethodScores, write_scores
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE, method_context, noise_queries, open_setting
    from creditline.generator.reference import reference_corpus

    record, where = read_record(REFERENCE / "record.safetensors"), chosen_device(device)
    with open_setting(record, reference_corpus(), device=where) as setting:
        attributor = method_by_name(method)(method_context(setting, scratch))
        controls = noise_queries(setting, queries)
        attributed = attribute(attributor, setting.works, controls, scratch / method)
    path = write_scores(MethodScores.of(method, range(queries), attributed, record), save)
    _console.print(f"{queries} pictures of noise in {path}")


@app.command()
def contributors(
    output: Annotated[
        Path, typer.Argument(help="Scores to write (safetensors); contributors that it holds are kept.")
    ],
    count: Annotated[
        int, typer.Option(help="Number of contributors, those with the most works.", min=1)
    ] = 40,
    scratch: Annotated[Path, typer.Option(help="Directory of the method's artifacts.")] = (
        Path("runs/lab/artifacts/contributors")
    ),
    device: DeviceOption = AUTO,
) -> None:
    """Unlearn all works of each contributor in turn and measure the queries' losses (GUDA; resumable)."""
    from creditline.attribution.methods.prepared_ascent import natural_ascent
    from creditline.attribution.unlearning.groups import guda_scores
    from creditline.evaluation.lab.judging.groups import (
        GroupScores,
        joined_contributors,
        read_group_scores,
        write_group_scores,
    )
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.removal.removals import contributor_removals
    from creditline.evaluation.lab.setting import REFERENCE, open_setting
    from creditline.generator.reference import reference_corpus

    record, where = read_record(REFERENCE / "record.safetensors"), chosen_device(device)
    found = (
        read_group_scores(output, record, f"creditline lab contributors {output}")
        if output.exists()
        else None
    )
    with open_setting(record, reference_corpus(), device=where) as setting:
        known = () if found is None else found.contributors
        leading = contributor_removals(setting.corpus, count)
        forgetting = natural_ascent(setting.generator)(setting.works, scratch)
        rows = tuple(range(len(setting.queries)))
        for removal in (one for one in leading if one.subject not in known):
            groups = [removal.rows]
            scores = guda_scores(setting.generator, forgetting, setting.works, groups, setting.queries)
            values = {f"guda-{name}": one.astype("float32") for name, one in scores.items()}
            added = GroupScores((removal.subject,), values, rows, record.fingerprints)
            found = added if found is None else joined_contributors(found, added)
            write_group_scores(found, output)
            _console.print(f"{removal.subject}: contributor {len(found.contributors)} of {count}")


@app.command()
def conditions(
    output: Annotated[Path, typer.Argument(help="Tables to write (safetensors).")],
    scratch: Annotated[
        Path, typer.Option(help="Directory of intermediate results; a second call resumes.")
    ] = (Path("runs/lab/artifacts/conditions")),
    device: DeviceOption = AUTO,
) -> None:
    """Losses of the generated queries under every work's caption, for SurrogateSHAP's game (minutes)."""
    from creditline.evaluation.lab.judging.conditions import make_tables, write_tables
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE, open_setting
    from creditline.generator.reference import reference_corpus
    from creditline.towers.gallery_features import GalleryFeatures

    record, where = read_record(REFERENCE / "record.safetensors"), chosen_device(device)
    with open_setting(record, reference_corpus(), device=where) as setting:
        rows = [int(row) for row in record.query_rows("generated")]
        tables = make_tables(setting, record, rows, GalleryFeatures(where), scratch, _console.print)
    write_tables(tables, output)
    _console.print(f"{len(tables.rows)} queries under {len(tables.prompts)} captions in {output}")


@dataclass(frozen=True)
class _Asked:
    """The options of `score`."""

    methods: list[str]
    queries: int
    kinds: list[str]
    scratch: Path
    directory: Path
    every_score: bool
    kernels: Path | None
    device: str


def _run(asked: _Asked) -> Iterator[MethodScores]:
    """Scores of the methods, one after the other; they share the works' gradients and the queries."""
    from creditline.attribution.attributor import attribute_every
    from creditline.attribution.methods.registry import method_by_name
    from creditline.errors import InvalidInput
    from creditline.evaluation.lab.judging.kernels import kernel_of, write_kernel
    from creditline.evaluation.lab.judging.scoring import MethodScores
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE, method_context, open_setting
    from creditline.generator.reference import reference_corpus

    unknown = sorted(set(asked.kinds) - set(_KINDS))
    if unknown:
        raise InvalidInput(
            f"{unknown[0]!r} is not a kind of queries; choose from {', '.join(_KINDS)}", field="kind"
        )
    factories = {method: method_by_name(method) for method in asked.methods}
    record = read_record(REFERENCE / "record.safetensors")
    rows = record.spread_rows(asked.queries, asked.kinds)
    with open_setting(record, reference_corpus(), device=asked.device) as setting:
        context = method_context(setting, asked.scratch, asked.directory)
        queries = setting.queries.rows(rows)
        for method, factory in factories.items():
            attributor = factory(context)
            by_name = attribute_every(attributor, setting.works, queries, asked.scratch / method)
            own = {method: by_name.pop(attributor.name)}
            for name, attributed in (own | by_name if asked.every_score else own).items():
                yield MethodScores.of(name, rows, attributed, record)
            kernel = kernel_of(attributor, queries, rows) if asked.kernels is not None else None
            if asked.kernels is not None and kernel is not None:
                write_kernel(kernel, asked.kernels / f"{method}.safetensors", record)


def _verdict(scores: MethodScores) -> Table:
    from creditline.evaluation.lab.judging.scoring import Judge
    from creditline.evaluation.lab.record import read_record
    from creditline.evaluation.lab.setting import REFERENCE

    record = read_record(REFERENCE / "record.safetensors")
    table = Table(title=f"{scores.method}: linear datamodelling score on the judging subsets")
    for heading in ("queries", "number", "LDS", "95 % interval", "of the ceiling"):
        table.add_column(heading, justify="left" if heading == "queries" else "right")
    for kind in scores.kinds(record):
        judge = Judge(record, kind)
        found = judge.lds(scores)
        table.add_row(
            kind,
            str(judge.queries(scores)),
            f"{found.value:.3f}",
            f"{found.low:.3f} to {found.high:.3f}",
            f"{found.value / judge.ceiling().value:.2f}",
        )
    return table
