"""`creditline generator`: train, assemble, sample and identify generators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from creditline.cli.adapters import AdapterOption, chosen_adapters
from creditline.cli.device import AUTO, DeviceOption, chosen_device, worker_count

app = typer.Typer(help="Train, assemble, sample and identify generators.", no_args_is_help=True)
_console = Console()


@app.command()
def train(
    directory: Annotated[
        Path, typer.Option(help="Directory of checkpoints and result; a second call resumes.")
    ] = Path("runs/reference"),
    vae_minutes: Annotated[float, typer.Option(help="Training time of the VAE in minutes.")] = 25.0,
    unet_minutes: Annotated[float, typer.Option(help="Training time of the UNet in minutes.")] = 60.0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of processes, with one thread each; at most the number of cores is useful.",
            show_default="2, or 1 on a GPU",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Continue from this pipeline directory: keep its vae/ and train its unet/ further."
        ),
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Train the reference generator on the embedded corpus, with checkpoints; a second call resumes."""
    from creditline.generator.reference_training import reference_recipe, train_reference

    where = chosen_device(device)
    recipe = reference_recipe(
        vae_minutes=vae_minutes,
        unet_minutes=unet_minutes,
        workers=worker_count(workers, where),
        start=start,
    )
    result = train_reference(recipe, directory, _console.print, device=where)
    _console.print(f"The generator is in {result}")


@app.command()
def assemble(output: Annotated[Path, typer.Option(help="Directory to write.")]) -> None:
    """Write the reference generator's pipeline directory from the weights in the package."""
    from creditline.generator.assembly import assemble_reference
    from creditline.generator.fingerprint import generator_fingerprint

    directory = assemble_reference(output)
    _console.print(f"{directory}\nfingerprint {generator_fingerprint(directory)}")


@app.command()
def check(
    generator: Annotated[Path, typer.Argument(help="StableDiffusionPipeline directory.")],
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Works to denoise, any source that `corpus inspect` reads; by default the reference corpus."
        ),
    ] = None,
    adapter: AdapterOption = None,
    device: DeviceOption = AUTO,
) -> None:
    """Open a generator with all checks, and check that its UNet predicts what its scheduler says."""
    from creditline.corpus.sources.corpora import open_corpus
    from creditline.generator.pipeline import Generator
    from creditline.generator.prediction_check import check_corpus
    from creditline.generator.reference import reference_corpus

    works = reference_corpus() if corpus is None else open_corpus(corpus)
    with Generator.open(generator, adapters=chosen_adapters(adapter), device=chosen_device(device)) as opened:
        typer.echo(f"fingerprint {opened.fingerprint}")
        typer.echo(check_corpus(opened, works).sentence())


@app.command()
def fingerprint(
    directory: Annotated[Path, typer.Argument(help="StableDiffusionPipeline directory.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON with the fingerprint of each part and the notes.")
    ] = False,
    adapter: AdapterOption = None,
) -> None:
    """Read a pipeline directory whole, and print the fingerprint of what is loaded from it.

    Every check of opening a generator is made: an unusable directory is refused with its file and keys.
    """
    from creditline.generator.adapters.merging import merged_fingerprint, read_updates
    from creditline.generator.fingerprint import open_with_fingerprint

    opened, found = open_with_fingerprint(directory, copy=False)
    whole = merged_fingerprint(found.whole, read_updates(opened.pipeline, chosen_adapters(adapter)))
    if as_json:
        content = {"fingerprint": whole, "parts": dict(found.parts), "notes": list(opened.notes)}
        typer.echo(json.dumps(content, indent=2))
        return
    typer.echo(whole)
    for note in opened.notes:
        typer.echo(note, err=True)


@app.command()
def migrate(
    directory: Annotated[
        Path,
        typer.Argument(help="StableDiffusionPipeline directory, as it was when the artifacts were made."),
    ],
    paths: Annotated[
        list[Path], typer.Argument(help="Releases, label sets, teacher's artifacts: files or directories.")
    ],
) -> None:
    """Rename a generator in artifacts of before, from its former fingerprint (of files) to today's."""
    from creditline.generator.fingerprint import generator_fingerprint
    from creditline.generator.migration import former_fingerprint
    from creditline.generator.migration import migrate as migrate_artifacts

    for path in migrate_artifacts(directory, paths):
        _console.print(f"{path}", soft_wrap=True)
    _console.print(
        f"{former_fingerprint(directory)} is now {generator_fingerprint(directory)}", soft_wrap=True
    )


@app.command()
def sample(
    prompt: Annotated[str, typer.Argument(help="Prompt of the picture.")],
    generator: Annotated[Path, typer.Option(help="StableDiffusionPipeline directory.")],
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("picture.png"),
    seed: Annotated[int, typer.Option(help="Seed of the picture; the same seed gives the same picture.")] = 0,
    adapter: AdapterOption = None,
    device: DeviceOption = AUTO,
) -> None:
    """Generate one picture."""
    from creditline.generator.pipeline import Generator

    with Generator.open(generator, adapters=chosen_adapters(adapter), device=chosen_device(device)) as opened:
        opened.sample([prompt], [seed])[0].save(output)
    _console.print(f"{output}")
