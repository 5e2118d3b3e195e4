"""The option `--adapter` of all commands that open a generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from creditline.generator.adapters.specification import AdapterSpec

AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="FILE[:STRENGTH]",
        help="LoRA adapter to merge into the generator; repeat it for several.",
        show_default=False,
    ),
]


def chosen_adapters(stated: list[str] | None) -> tuple[AdapterSpec, ...]:
    """The adapters of the option. Raises InvalidInput for a strength of 0."""
    from creditline.generator.adapters.specification import AdapterSpec

    return tuple(AdapterSpec.parse(text) for text in stated or ())
