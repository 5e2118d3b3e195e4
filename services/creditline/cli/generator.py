"""`creditline generator`: train, assemble and sample generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from creditline.cli.device import AUTO, DeviceOption, chosen_device, worker_count

app = typer.Typer(help="Train, assemble and sample generators.", no_args_is_help=True)
_console = Console()


@app.command()
def train(
    directory: Annotated[
        Path, typer.Option(help="Where checkpoints and the result go; a second call resumes.")
    ] = Path("runs/reference"),
    vae_minutes: Annotated[float, typer.Option(help="Training time of the VAE.")] = 25.0,
    unet_minutes: Annotated[float, typer.Option(help="Training time of the UNet.")] = 60.0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes, one thread each; as many as there are cores.",
            show_default="2, or 1 on a GPU",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Another stretch: keep this directory's vae/ and train its unet/ on."),
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Train the reference generator on the embedded corpus: measured first, checkpointed, resumable."""
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
def assemble(output: Annotated[Path, typer.Option(help="The directory to write.")]) -> None:
    """Put the reference generator's pipeline directory together from the package's weights."""
    from creditline.generator.assembly import assemble_reference
    from creditline.generator.pipeline import generator_fingerprint

    directory = assemble_reference(output)
    _console.print(f"{directory}\nfingerprint {generator_fingerprint(directory)}")


@app.command()
def sample(
    prompt: Annotated[str, typer.Argument(help="What the picture should show.")],
    generator: Annotated[Path, typer.Option(help="A StableDiffusionPipeline directory.")],
    output: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("picture.png"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same picture.")] = 0,
    device: DeviceOption = AUTO,
) -> None:
    """Make one picture."""
    from creditline.generator.pipeline import Generator

    with Generator.open(generator, device=chosen_device(device)) as opened:
        opened.sample([prompt], [seed])[0].save(output)
    _console.print(f"{output}")
