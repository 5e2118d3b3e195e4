"""The reference of the REST API, made from its OpenAPI document: as Markdown, and as a page of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_MOST_PATTERN = 60
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Creditline REST API</title><style>
body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }}
table {{ border-collapse: collapse; margin: .5rem 0 1rem; }}
th, td {{ border: 1px solid #bbb; padding: .25rem .6rem; text-align: left; vertical-align: top; }}
h2 {{ margin-top: 2.5rem; border-top: 1px solid #bbb; padding-top: 1rem; }}
code {{ background: #f2f2f2; padding: 0 .2rem; overflow-wrap: anywhere; }}
</style></head><body>
{body}</body></html>
"""


def reference_page(document: Mapping[str, Any]) -> str:
    """The reference as one HTML page.

    Args:
        document: The OpenAPI document.
    """
    # Of all routes only this one needs it.
    from markdown_it import MarkdownIt

    return _PAGE.format(body=MarkdownIt("js-default", {"html": False}).render(reference(document)))


def reference(document: Mapping[str, Any]) -> str:
    """The reference in Markdown.

    Args:
        document: The OpenAPI document.
    """
    return "\n".join(_lines(document)).rstrip() + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# The REST API", "", document["info"]["description"], "")
    yield (
        "Made from `/openapi.json`, which has every bound in a form for machines. Paths under `/v1/` need an"
        " API key: `Authorization: Bearer KEY`. Errors are problems (RFC 9457) with `detail` and, where it is"
        " known, `field`."
    )
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield from _operation(document, method, path, operation)
    yield from ("", "## Objects")
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from ("", f"### {name}", "", _one_line(schema.get("description", "")))
        for each in _alternatives(document, schema):
            yield from ("", *_fields(document, each))


def _operation(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield from ("", f"## {method.upper()} {path}", "", operation.get("description", operation["summary"]))
    if parameters := operation.get("parameters"):
        yield from ("", "| parameter | in | type | |", "|---|---|---|---|")
        for each in parameters:
            text = _one_line(each.get("description", ""))
            yield f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {text} |"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        for schema in _alternatives(document, content["schema"]):
            yield from ("", f"Body, `{media_type}`:", "")
            yield from _fields(document, schema)
    yield from ("", "| status | body | |", "|---|---|---|")
    for status, response in sorted(operation["responses"].items()):
        yield f"| {status} | {_body(response)} | {_one_line(response['description'])} |"


def _alternatives(document: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    schema = _resolved(document, schema)
    return [_resolved(document, each) for each in schema.get("anyOf", schema.get("oneOf", [schema]))]


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| field | type | |", "|---|---|---|", *dict.fromkeys(_rows(document, schema, "")))


def _rows(document: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """One row for each field; those of an object without a name of its own follow it."""
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        text = _one_line(part.get("description") or _resolved(document, part).get("description", ""))
        yield f"| `{prefix}{name}`{'' if name in required else ' (optional)'} | {_type(part)} | {text} |"
        inner = part.get("items", part)
        if "$ref" not in inner:
            for each in _alternatives(document, inner):
                yield from _rows(document, each, f"{prefix}{name}.")


def _type(schema: Mapping[str, Any]) -> str:
    """The type of a value in words, with its bounds."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(
            dict.fromkeys(_type(each) for each in schema.get("anyOf", schema.get("oneOf", ())))
        )
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    if kind == "array":
        items = schema.get("items") or {}
        return f"list of {_type(items)}{_bounds(schema, 'minItems', 'maxItems', ' entries')}"
    if kind == "string":
        length = _bounds(schema, "minLength", "maxLength", " characters")
        return f"{schema.get('format', 'text')}{length}{_pattern(schema)}"
    return f"{kind}{_bounds(schema, 'minimum', 'maximum', '')}"


def _bounds(schema: Mapping[str, Any], low: str, high: str, unit: str) -> str:
    least, most = schema.get(low, schema.get("exclusiveMinimum")), schema.get(high)
    if least is None and most is None:
        return ""
    if most is None:
        return f", at least {least:,}{unit}"
    return f", at most {most:,}{unit}" if least is None else f", {least:,} to {most:,}{unit}"


def _pattern(schema: Mapping[str, Any]) -> str:
    pattern = schema.get("pattern", "")
    if not pattern or len(pattern) > _MOST_PATTERN:
        return ""
    return f", `{pattern}`".replace("|", "\\|")


def _body(response: Mapping[str, Any]) -> str:
    bodies = []
    for media_type, content in response.get("content", {}).items():
        schema = content.get("schema") or {}
        named = _type(schema) if "$ref" in schema or schema.get("type") == "array" else f"`{media_type}`"
        bodies.append(named)
    return ", ".join(dict.fromkeys(bodies))


def _link(reference_to: str) -> str:
    name = reference_to.rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
