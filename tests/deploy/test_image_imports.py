"""Every extra brings what the code in it imports: the fast core of `make check-images`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.deploy.image_imports import Walk, plugin_imports
from tests.deploy.image_programs import IMAGES, extra_of, modules_started
from tests.deploy.manifests import REPOSITORY
from tests.deploy.requirements import closure, pinned, pinned_by_project, project

SOURCE = REPOSITORY / "services"
# The modules that each extra of a library promises.
ROOMS = {
    "": ["creditline.client", "creditline.cli.main", "creditline.embedder_client"],
    "encoder": ["creditline.towers", "creditline.encoder"],
    "models": [
        "creditline.towers",
        "creditline.encoder",
        "creditline.generator",
        "creditline.attribution",
        "creditline.distillation",
        "creditline.evaluation",
    ],
    "index": ["creditline.index"],
    "ledger": ["creditline.ledger"],
    "queue": ["creditline.jobs"],
    "gateway": ["creditline.gateway"],
    "embedder": ["creditline.embedder"],
    "teacher": ["creditline.teacher"],
    "local": ["creditline.local", "creditline.cli"],
}
# Imported only where a reader finds such a data set or manifest, or traces are on; an error says what to
# install.
OPTIONAL = {"datasets", "c2pa", "opentelemetry"}
# Modules of libraries that are loaded by name, so that no import statement of ours shows them.
PLUGINS = {
    "queue": ["kombu.transport.redis", "celery.backends.redis"],
    "ledger": ["sqlalchemy.dialects.postgresql.psycopg", "psycopg"],
    "gateway": ["kombu.transport.redis", "uvicorn.protocols.http.h11_impl", "python_multipart"],
    "teacher": ["kombu.transport.redis", "celery.backends.redis"],
}
# torch pins its CUDA libraries itself.
_CUDA = ("nvidia-", "cuda-", "triton")


def _modules_in(room: str) -> list[str]:
    directory = SOURCE.joinpath(*room.split("."))
    if not directory.is_dir():
        assert directory.with_suffix(".py").is_file(), f"there is no {room}"
        return [room]
    files = (path.relative_to(SOURCE).with_suffix("") for path in directory.rglob("*.py"))
    return [".".join(path.parts).removesuffix(".__init__") for path in files]


def _imports(modules: Iterable[str]) -> dict[str, str]:
    walk = Walk(SOURCE)
    for module in modules:
        walk.visit(module)
    return walk.external


@cache
def _owners() -> Mapping[str, list[str]]:
    """The distributions that have a top-level name."""
    return packages_distributions()


def _not_brought(extra: str, imports: Iterable[str]) -> dict[str, list[str]]:
    """Imported names that nothing in the extra's closure has, with the distributions that have them."""
    owners, brought = _owners(), closure(extra)
    return {
        name: owners.get(name, [])
        for name in imports
        if name not in OPTIONAL and not brought & {canonicalize_name(each) for each in owners.get(name, [])}
    }


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_distribution_of_everything_that_its_programs_import(image: str) -> None:
    imports = _imports(modules_started(image))
    assert {"grpc", "pydantic"} <= set(imports), "the walk must reach the services' own imports"
    assert _not_brought(extra_of(image), imports) == {}


@pytest.mark.parametrize("extra", ROOMS)
def test_an_extra_brings_what_the_modules_of_its_rooms_import(extra: str) -> None:
    modules = [module for room in ROOMS[extra] for module in _modules_in(room)]
    assert modules
    assert _not_brought(extra, _imports(modules)) == {}


@pytest.mark.parametrize("extra", PLUGINS)
def test_an_extra_brings_what_plugins_import_that_are_loaded_by_name(extra: str) -> None:
    for plugin in PLUGINS[extra]:
        imports = {plugin.partition(".")[0], *plugin_imports(plugin)}
        assert _not_brought(extra, imports) == {}, plugin


@pytest.mark.parametrize("image", IMAGES)
def test_every_module_that_an_image_starts_with_exists(image: str) -> None:
    walk = Walk(SOURCE)
    started = {module.removesuffix(".__main__") for module in modules_started(image)}
    assert [module for module in sorted(started) if not walk.exists(module)] == []


@pytest.mark.parametrize("extra", sorted(project()["optional-dependencies"]))
def test_the_constraints_pin_every_distribution_that_an_extra_brings(extra: str) -> None:
    unpinned = closure(extra) - set(pinned()) - pinned_by_project()
    assert sorted(name for name in unpinned if not name.startswith(_CUDA)) == []


def test_the_pinned_versions_are_those_that_the_tests_run_with() -> None:
    names = (closure("dev") & set(pinned())) - {"creditline"}
    assert {name: version(name) for name in names} == {name: pinned()[name] for name in names}


def test_imports_are_found_in_functions_and_packages_and_not_in_what_only_type_checkers_read(
    tmp_path: Path,
) -> None:
    package = tmp_path / "creditline" / "room"
    package.mkdir(parents=True)
    (tmp_path / "creditline" / "__init__.py").write_text("import numpy\n")
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def call():\n    from creditline.room import b\n    import json\n"
    )
    (package / "b.py").write_text(
        "from importlib.resources import files\nfiles('some_data') / 'x'\nimport scipy.stats\n"
    )
    walk = Walk(tmp_path)
    walk.visit("creditline.room.a")
    assert walk.external == {
        "numpy": "creditline",
        "scipy": "creditline.room.b",
        "some_data": "creditline.room.b",
    }
