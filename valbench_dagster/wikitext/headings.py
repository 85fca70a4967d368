"""Headings: which lines of a page are headings to its readers, and where their sections end.

MediaWiki's rules as measured in wikipedia.md, section 7, its second look: what a reader sees, with nothing expanded.
Headings that a template, a parser function or an HTML tag would make are none here. What is taken out of the lines
before is `blanking`, what a title shows is `titles`.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from valbench_dagster.wikitext.blanking import GONE, MARKER, blank
from valbench_dagster.wikitext.link_names import LinkNames, link_names
from valbench_dagster.wikitext.titles import shown_title

# `__TOC__` is not among them: it leaves the contents table behind, which is something visible (rule 8).
_SWITCHES = re.compile(
    "__(?:(?i:NOTOC|FORCETOC|NOGALLERY|NOEDITSECTION|NOTITLECONVERT|NOTC|NOCONTENTCONVERT|NOCC)"
    "|NEWSECTIONLINK|NONEWSECTIONLINK|HIDDENCAT|EXPECTUNUSEDCATEGORY|EXPECTUNUSEDTEMPLATE|EXPECTWITHOUTSCANS"
    "|INDEX|NOINDEX|STATICREDIRECT|NOGLOBAL|DISAMBIG|EXPECTED_UNCONNECTED_PAGE|ARCHIVEDTALK|NOTALK)__"
)
_ENGLISH = link_names({})  # the prefixes that every wiki takes
_TRAILING = " \t\n\r\f\v"  # no U+00A0 nor any other blank beyond ASCII: those are visible (rule 6)


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading of a page; offsets count characters of the page's wikitext."""

    index: int
    """Place among the headings of the page, from 1."""
    level: int
    """1 to 6."""
    title: str
    """As a reader sees it; may be empty."""
    start: int
    """Where the line begins, with whatever invisible stands before its first `=`."""
    end: int
    """Where the line ends, before its line end."""
    body_start: int
    """Where what follows begins."""


def headings(wikitext: str, names: LinkNames = _ENGLISH) -> list[Heading]:
    """Find the headings of a page, in order; `names` says which links in a title show pictures or nothing.

    Never raises; takes time linear in the length of the page, whatever it holds.
    """
    blanked = blank(wikitext)
    text = blanked.text
    found: list[Heading] = []
    at = 0  # where a line begins
    while (equals := text.find("=", at)) >= 0:
        start = max(at, text.rfind("\n", at, equals) + 1)
        end = text.find("\n", equals)
        end = len(text) if end < 0 else end
        at = end + 1
        split = _split(_SWITCHES.sub("", text[start:end].replace(GONE, "")))
        if split is None:
            continue
        level, title = split
        first = bisect_left(blanked.markers, (start, start))
        pieces = blanked.markers[first : first + title.count(MARKER)]
        found.append(
            Heading(
                index=len(found) + 1,
                level=level,
                title=shown_title(title, [wikitext[a:b] for a, b in pieces], names),
                start=start,
                end=end,
                body_start=min(at, len(wikitext)),
            )
        )
    return found


def _split(line: str) -> tuple[int, str] | None:
    """Level and title of a line, if it is a heading (rules 1 to 7)."""
    line = line.rstrip(_TRAILING)
    left = len(line) - len(line.lstrip("="))
    right = len(line) - len(line.rstrip("="))
    # A line of nothing but equals leaves at least one of them for the title (rule 4).
    level = min(left, right, 6) if left < len(line) else min((left - 1) // 2, 6)
    return (level, line[level:-level]) if level > 0 else None


def section_end(found: Sequence[Heading], i: int, length: int) -> int:
    """Where the section of `found[i]` ends on a page of `length` characters (rule 17).

    That is where the next heading of the same or a higher level (fewer equals) begins, wherever it stands.
    """
    level = found[i].level
    return next((later.start for later in found[i + 1 :] if later.level <= level), length)
