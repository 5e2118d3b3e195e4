"""Names in a piece of HTML, such as Wikimedia Commons' field for the artist."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})
_UNSEEN = frozenset({"style", "script"})
# Links beside a user's name that do not name anybody.
_BESIDE = ("user_talk:", "special:contributions")
# What may stand between links that each name a person.
_BETWEEN = re.compile(r"(?:[\s,;&/|·]|\band\b|\bund\b|\bet\b|\by\b)*")
_EMPTY_BRACKETS = re.compile(r"\([\s·|,/]*\)")


def names_in_html(text: str) -> list[str]:
    """Names in a piece of HTML.

    Returns:
        The text of each link, where links with separators between them are all there is; else the visible
        text, split at semicolons and list items.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    links = [link for link in map(str.strip, reader.links) if link]
    if links and _BETWEEN.fullmatch("".join(reader.outside)):
        return links
    visible = _EMPTY_BRACKETS.sub(" ", "".join(reader.visible))
    return [part for part in visible.split(";") if part.strip()]


class _Reader(HTMLParser):
    """Collects the visible text, the texts of links, and the text outside links."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.outside: list[str] = []
        self.visible: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "li":
            self._add(";")
        if tag in _VOID:
            self._add(" ")
            return
        given = {name: value or "" for name, value in attrs}
        is_hidden = self._is_hidden or tag in _UNSEEN or _is_unseen(given)
        self._open.append((tag, is_hidden))
        if tag == "a" and not is_hidden:
            self.links.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in (name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        self._add(data)

    @property
    def _is_hidden(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def _add(self, text: str) -> None:
        if self._is_hidden:
            return
        self.visible.append(text)
        if any(name == "a" for name, _ in self._open):
            self.links[-1] += text
        else:
            self.outside.append(text)


def _is_unseen(given: dict[str, str]) -> bool:
    style = given.get("style", "").replace(" ", "").lower()
    is_beside = any(mark in given.get("href", "").lower() for mark in _BESIDE)
    return "display:none" in style or "hidden" in given or is_beside
