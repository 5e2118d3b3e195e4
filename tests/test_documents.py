"""What the documents name exists: modules, directories, links, and commands with their options."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from creditline.cli.main import GROUPS

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = _ROOT / "services" / "creditline"
_DOCUMENTS = [
    _ROOT / "README.md",
    _ROOT / "CONTRIBUTING.md",
    *sorted((_ROOT / "deploy").rglob("*.md")),
    *sorted(_PACKAGE.rglob("README.md")),
    *sorted((_ROOT / "tests").rglob("README.md")),
]
_MODULE = re.compile(r"[\w./-]*\w\.py\b")
_DIRECTORY = re.compile(r"`([\w.][\w./-]*/)`")
_LINK = re.compile(r"\]\(([^)#\s]+)")
_CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s/])creditline ([a-z-][^\n]*)", re.MULTILINE)


def _in_the_tree(name: str, document: Path) -> bool:
    """Whether a path exists relative to the document, to the package or to the repository."""
    return any((base / name).exists() for base in (document.parent, _PACKAGE, _ROOT))


def _commands(text: str) -> Iterator[list[str]]:
    """Words after `creditline` in code spans and code blocks; continued lines are joined."""
    for block, span in _CODE.findall(text):
        for line in _COMMAND.findall(re.sub(r"\\\n\s*", "", block or span)):
            yield shlex.split(line, comments=True)


@cache
def _group(name: str) -> Any:
    return typer.main.get_command(importlib.import_module(f"creditline.cli.{name}").app)


def _fault(words: list[str]) -> str:
    """What of a command line does not exist; empty if everything does."""
    if words[0].startswith("-"):
        return "" if words[0] in ("--help", "--version") else words[0]
    if words[0] not in GROUPS:
        return words[0]
    command, rest = _group(words[0]), words[1:]
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return " ".join(words[:2])
        command = command.commands[rest[0]]
    known = {"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))}
    given = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    return ", ".join(word for word in given if word not in known)


def _name(document: Path) -> str:
    return str(document.relative_to(_ROOT))


@pytest.mark.parametrize("document", _DOCUMENTS, ids=_name)
def test_every_module_and_directory_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = {*_MODULE.findall(text), *_DIRECTORY.findall(text)}
    assert {name for name in named if not _in_the_tree(name, document)} == set()


@pytest.mark.parametrize("document", _DOCUMENTS, ids=_name)
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    links = {link for link in _LINK.findall(document.read_text(encoding="utf-8")) if "://" not in link}
    assert {link for link in links if not (document.parent / link).exists()} == set()


@pytest.mark.parametrize("document", _DOCUMENTS, ids=_name)
def test_every_command_that_a_document_names_exists_with_its_options(document: Path) -> None:
    commands = list(_commands(document.read_text(encoding="utf-8")))
    assert {" ".join(words): _fault(words) for words in commands if _fault(words)} == {}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("corpus inspect DIR --json", ""),
        ("corpus look DIR", ""),
        ("corpus stare DIR", "corpus stare"),
        ("demo --seed=7", ""),
        ("local", ""),
        ("locl up", "locl"),
        ("index ingest DIR --into x --backwards", "--backwards"),
        ("--version", ""),
        ("--verbose", "--verbose"),
    ],
)
def test_a_command_or_an_option_that_does_not_exist_is_found(line: str, fault: str) -> None:
    (words,) = _commands(f"Run\n\n```sh\n.venv/bin/creditline \\\n  {line}  # a comment\n```\n")
    assert words == line.split()
    assert _fault(words) == fault


def test_the_documents_name_modules_directories_links_and_commands() -> None:
    text = (_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(_MODULE.findall(text)) > 40
    assert "cli/credit_line/" in _DIRECTORY.findall(text)
    assert "tests/real_parts/README.md" in _LINK.findall(text)
    assert ["distill", "run"] in list(_commands(text))
