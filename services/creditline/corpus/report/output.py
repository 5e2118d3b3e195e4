"""A filled form as Markdown and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from creditline.corpus.report.templates import Report

_ESCAPED = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#"})


def report_markdown(report: Report) -> str:
    """The form in Markdown; fields that only the operator can fill are empty and listed at the end."""
    return "\n".join(_lines(report)) + "\n"


def report_json(report: Report) -> dict[str, Any]:
    """The form and its counts as JSON values; fields that only the operator can fill are null."""
    sections = [
        {
            "title": section.title,
            "fields": [
                {
                    "field": one.question,
                    "value": list(one.answer) if isinstance(one.answer, tuple) else one.answer,
                    "filled_by": "operator" if one.answer is None else "data",
                }
                for one in section.fields
            ],
        }
        for section in report.sections
    ]
    return {
        "template": report.template,
        "title": report.title,
        "sections": sections,
        "left_to_operator": list(report.left_to_operator),
        "counts": asdict(report.counts),
    }


def _lines(report: Report) -> Iterator[str]:
    counts = report.counts
    yield f"# {report.title}"
    yield ""
    yield f"Counted from {_plain(counts.name)} ({counts.kind}, fingerprint `{counts.fingerprint}`)."
    for section in report.sections:
        yield from ("", f"## {section.title}", "")
        for one in section.fields:
            if one.answer is None:
                yield f"- **{one.question}**:"
            elif isinstance(one.answer, str):
                yield f"- **{one.question}**: {_plain(one.answer)}"
            else:
                yield f"- **{one.question}**:{'' if one.answer else ' none'}"
                yield from (f"  - {_plain(text)}" for text in one.answer)
    yield from ("", "## Fields that only the operator can fill", "")
    yield from (f"- {question}" for question in report.left_to_operator)


def _plain(text: str) -> str:
    """A text from the data on one line, without what Markdown would read as markup."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split()).translate(_ESCAPED)
