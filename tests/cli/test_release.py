"""`creditline release`: its defaults are those of the services."""

from __future__ import annotations

from typing import Any

import typer

from creditline.cli.release import app
from creditline.gateway.settings import GatewaySettings


def test_as_many_works_are_re_ranked_by_default_as_by_a_gateway() -> None:
    group: Any = typer.main.get_command(app)
    (option,) = (each for each in group.commands["rerank"].params if each.name == "candidates")
    assert option.default == GatewaySettings.model_fields["reranked_works"].default == 400
