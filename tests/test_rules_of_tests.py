"""What a program can check of the tests: each asserts something, and none patches our own code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_FILES = sorted(path.relative_to(_TESTS).as_posix() for path in _TESTS.rglob("test_*.py"))
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _called_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _asserts(function: _Function, helpers: dict[str, _Function], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a function, or a function of its file that it calls, can fail on purpose."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = _called_name(node)
            if name in ("raises", "fail") or name.startswith("assert_"):
                return True
            if name in helpers and name not in seen and _asserts(helpers[name], helpers, seen | {name}):
                return True
    return False


def _functions(tree: ast.Module) -> dict[str, _Function]:
    return {node.name: node for node in ast.walk(tree) if isinstance(node, _Function)}


def _silent_tests(tree: ast.Module, shared: dict[str, _Function] | None = None) -> list[str]:
    """Tests of a file that cannot fail on purpose; `shared`: helpers of other files."""
    functions = _functions(tree)
    tests = (name for name in functions if name.startswith("test_"))
    return [name for name in tests if not _asserts(functions[name], {**(shared or {}), **functions})]


def _shared_helpers() -> dict[str, _Function]:
    files = (path for path in _TESTS.rglob("*.py") if not path.name.startswith("test_"))
    found: dict[str, _Function] = {}
    for path in files:
        found |= _functions(ast.parse(path.read_text()))
    return found


def _patched_names(tree: ast.Module) -> Iterator[str]:
    """Private names and constants that `monkeypatch.setattr` replaces, and imports of mocks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called_name(node) == "setattr":
            names = [
                str(each.value).rpartition(".")[2] for each in node.args if isinstance(each, ast.Constant)
            ]
            yield from (name for name in names if name.startswith("_") or name.isupper())
        if isinstance(node, ast.ImportFrom | ast.Import) and "mock" in ast.unparse(node):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "source", ["def test_it():\n    run()", "def test_it():\n    check()\ndef check(): run()"]
)
def test_a_test_without_an_assertion_is_found(source: str) -> None:
    assert _silent_tests(ast.parse(source)) == ["test_it"]


@pytest.mark.parametrize(
    "source",
    [
        'monkeypatch.setattr(module, "_N", 1)',
        'p.setattr("a.b._N", 1)',
        "m.setattr(labels, 'PARTS', 1)",
        "import mock",
    ],
)
def test_a_patched_private_name_is_found(source: str) -> None:
    assert list(_patched_names(ast.parse(source)))


def test_every_test_asserts_something() -> None:
    shared = _shared_helpers()
    silent = {path: _silent_tests(ast.parse((_TESTS / path).read_text()), shared) for path in _FILES}
    assert {path: names for path, names in silent.items() if names} == {}


def test_no_test_patches_private_names_or_uses_mocks() -> None:
    patched = {path: list(_patched_names(ast.parse((_TESTS / path).read_text()))) for path in _FILES}
    assert {path: names for path, names in patched.items() if names} == {}
