"""Docstrings name parameters that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.rooms import Rooms

_PATHS = Rooms.of_the_source().paths
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCK = re.compile(r"^(?P<indent> *)Args:\n(?P<body>(?:(?P=indent) {4}.*\n?|\n)+)", re.MULTILINE)
_NAME = re.compile(r"^ {4}\*{0,2}(\w+): ", re.MULTILINE)


def _documented(docstring: str) -> set[str]:
    """Names in the block `Args:` of a docstring."""
    block = _BLOCK.search(docstring)
    if block is None:
        return set()
    indent = len(block["indent"])
    return set(_NAME.findall("\n".join(line[indent:] for line in block["body"].splitlines())))


def _parameters(node: _Function | ast.ClassDef) -> set[str]:
    """Parameters of a function, or of a class's `__init__`; fields of a dataclass."""
    if isinstance(node, ast.ClassDef):
        inits = (each for each in node.body if isinstance(each, _Function) and each.name == "__init__")
        fields = {
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        }
        return fields.union(*(_parameters(each) for each in inits))
    arguments = node.args
    names = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return names | {each.arg for each in (arguments.vararg, arguments.kwarg) if each is not None}


def test_documented_names_are_read_from_an_args_block() -> None:
    docstring = (
        "It maps.\n\nArgs:\n    first: One.\n        More: of it.\n    second: Two.\n"
        "\nReturns:\n    third: No.\n"
    )
    assert _documented(docstring) == {"first", "second"}


@pytest.mark.parametrize("module", sorted(_PATHS))
def test_a_docstring_names_parameters_that_exist(module: str) -> None:
    wrong = {
        node.name: unknown
        for node in ast.walk(ast.parse(_PATHS[module].read_text()))
        if isinstance(node, _Function | ast.ClassDef)
        and (unknown := _documented(ast.get_docstring(node) or "") - _parameters(node))
    }
    assert wrong == {}
