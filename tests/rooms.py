"""The packages of `creditline` and the imports between them, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_SERVICES = Path(__file__).resolve().parents[1] / "services"


@dataclass(frozen=True)
class Rooms:
    """The package's modules by dotted name."""

    paths: dict[str, Path]

    @classmethod
    def of_the_source(cls) -> Rooms:
        files = (path for path in (_SERVICES / "creditline").rglob("*.py") if "v1" not in path.parts)
        return cls({_dotted(path): path for path in files})

    @cached_property
    def names(self) -> list[str]:
        """The rooms directly under `creditline`."""
        packages = (name for name, path in self.paths.items() if path.name == "__init__.py")
        return sorted(name for name in packages if name.count(".") == 1)

    def modules(self, room: str) -> set[str]:
        """Names of a room's modules below it, packages left out."""
        files = (name for name, path in self.paths.items() if path.name != "__init__.py")
        return {name.removeprefix(f"{room}.") for name in files if name.startswith(f"{room}.")}

    def documentation(self, room: str) -> str:
        return ast.get_docstring(ast.parse(self.paths[room].read_text())) or ""

    def imported_from_outside(self, room: str) -> set[str]:
        """Modules of a room that modules of other rooms import."""
        others = (name for name in self.paths if name != room and not name.startswith(f"{room}."))
        targets = {target for name in others for target in self._imports[name]}
        return {name.removeprefix(f"{room}.") for name in targets if name.startswith(f"{room}.")}

    @cached_property
    def _imports(self) -> dict[str, set[str]]:
        """What each module imports: modules, or names of others' packages."""
        return {module: set(self._imports_of(module)) for module in self.paths}

    def _imports_of(self, module: str) -> Iterator[str]:
        for node in ast.walk(ast.parse(self.paths[module].read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                yield from (name if name in self.paths else node.module for name in names)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


def _dotted(path: Path) -> str:
    parts = path.relative_to(_SERVICES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
