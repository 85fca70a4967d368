"""Tags: HTML in wikitext to the breaks that a reader sees, and out with what styles hide.

Here belong the tags that MediaWiki lets through. Extension tags are `hidden.py`.
"""

import re

from valbench_dagster.wikitext.marks import BREAK, HEADING, REMOVED, SEAM

_INLINE_TAGS = """
    abbr b bdi bdo big cite code data del dfn em font i ins kbd languages mark rb rp rt rtc ruby s samp small span
    strike strong sub sup time translate tt tvar u var wbr
"""
_BLOCK_TAGS = """
    article aside blockquote caption center dd div dl dt figure footer header hr ol p pre section table tbody td th
    thead tr ul
"""
_INLINE, _BLOCK = frozenset(_INLINE_TAGS.split()), frozenset(_BLOCK_TAGS.split())
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[\s/][^<>]*)?)>")
_NOT_DISPLAYED = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_NO_PROSE_CLASS = re.compile(r"""class\s*=\s*["']?[^"'>]{0,200}\b(?:navbox|infobox|metadata)\b""", re.IGNORECASE)


def without_tags(text: str) -> str:
    """`text` with HTML tags as the breaks they show: blocks as blank lines, `<br>` as `BREAK`, others as seams.

    Elements that are not displayed, HTML tables and navigation boxes go with what is in them, when they are closed.
    Unclosed or stray tags are not seen. `<words>` that are no HTML are shown as they stand.
    """
    tags = list(_TAG.finditer(text))
    closed = _closed_by(tags)
    out: list[str] = []
    at = 0
    for index, tag in enumerate(tags):
        if tag.start() < at:
            continue
        out.append(text[at : tag.start()])
        at = tag.end()
        name = tag[2].lower()
        if index in closed and (name == "table" or _NOT_DISPLAYED.search(tag[3]) or _NO_PROSE_CLASS.search(tag[3])):
            out.append(f"\n\n{REMOVED}\n\n" if name in _BLOCK else REMOVED)
            at = tags[closed[index]].end()
        else:
            out.append(_shown(name, tag))
    out.append(text[at:])
    return "".join(out)


def _closed_by(tags: list[re.Match[str]]) -> dict[int, int]:
    """Which end tag, by its place in `tags`, closes which start tag: the innermost open one of its name."""
    opened: dict[str, list[int]] = {}
    closed: dict[int, int] = {}
    for index, tag in enumerate(tags):
        name = tag[2].lower()
        if tag[1]:
            if opened.get(name):
                closed[opened[name].pop()] = index
        elif not tag[3].endswith("/"):
            opened.setdefault(name, []).append(index)
    return closed


def _shown(name: str, tag: re.Match[str]) -> str:
    """What stands for one tag; items follow each other without a blank line, as `*` in wikitext would make them."""
    ends = bool(tag[1])
    if name in _INLINE:
        return SEAM
    if name == "br":
        return BREAK
    if name == "q":
        return f'{SEAM}"{SEAM}'
    if name == "li" and ends:
        return SEAM if tag.string[tag.end() : tag.end() + 1] in "<\n" else "\n"
    if name == "li":
        return "* " if tag.string[max(tag.start() - 1, 0) : tag.start()] == "\n" else "\n* "
    if name in _HEADINGS:
        return "\n\n" if ends else f"\n\n{HEADING}"
    return "\n\n" if name in _BLOCK else tag[0]
