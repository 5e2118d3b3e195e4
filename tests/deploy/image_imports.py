"""Finds the imports of an image's programs in the source, without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeGuard

ROOT_PACKAGE = "creditline"
# Calls that open or import a package whose name is their first argument.
_BY_NAME = ("files", "import_module", "find_spec")


@dataclass
class Walk:
    """The modules reached from some entry points, and the top-level names that they import from outside.

    `external` maps an imported top-level name to the first module of ours that imports it.
    """

    source: Path
    modules: set[str] = field(default_factory=set)
    external: dict[str, str] = field(default_factory=dict)

    def visit(self, module: str) -> None:
        """Follow the imports of `module` and of its parent packages, at module level and inside functions."""
        waiting = [module]
        while waiting:
            name = waiting.pop()
            path = self._path(name)
            if name in self.modules or path is None:
                continue
            self.modules.add(name)
            parent = name.rpartition(".")[0]
            waiting += [parent] if parent else []
            for imported in imports_of(path):
                top = imported.partition(".")[0]
                if top == ROOT_PACKAGE:
                    waiting.append(imported)
                elif top not in sys.stdlib_module_names:
                    self.external.setdefault(top, name)

    def _path(self, module: str) -> Path | None:
        """The file of a module or of a package; None for a name that is neither (a class, a function)."""
        base = self.source.joinpath(*module.split("."))
        return next(
            (path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None
        )

    def exists(self, module: str) -> bool:
        """Whether the source tree has this module."""
        return self._path(module) is not None


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Full names that a file imports; `from a import b` gives `a` and `a.b`.

    Packages that `importlib` opens by name are among them, imports for type checkers are not.
    """
    return frozenset(name for node in _executed(ast.parse(path.read_text())) for name in _imported_by(node))


def _imported_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _BY_NAME:
        yield from (str(each.value) for each in node.args[:1] if _is_name(each))


def _is_name(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _executed(child)


def plugin_imports(module: str) -> set[str]:
    """Top-level names that an installed module of a library imports when it is loaded."""
    spec = find_spec(module)
    assert spec is not None, f"{module} is not installed"
    assert spec.origin is not None, f"{module} has no source"
    body = ast.parse(Path(spec.origin).read_text()).body
    tops = {name.partition(".")[0] for node in body for name in _imported_by(node)}
    return tops - sys.stdlib_module_names
