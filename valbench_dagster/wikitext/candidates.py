"""Candidates: where in raw XML a heading may stand that a pattern matches. Quick, and never wrong about a no.

Here belongs the test that spares nearly every page the parsing. It reads bytes as they come out of the decoder, still
escaped once, and gives places; whether a heading really stands there is `headings`, on the page's text.

Why a no can be trusted: the line of a heading begins with `=` at a line's start, at the start of the text, or right
behind something transparent, which ends in `>` or `__` (wikipedia.md, section 7, rules 7 and 8). The letters of its
title stand in that line in their order, and next to each other unless markup or an entity is between or makes one of
them. Lines with markup are therefore read as a heading of their own, and lines that a tag, a comment or open braces
could continue into the next are always candidates.
"""

import re
from collections.abc import Iterable, Iterator
from html import unescape

from valbench_dagster.wikitext.blanking import goes_on
from valbench_dagster.wikitext.headings import headings
from valbench_dagster.wikitext.keywords import fold
from valbench_dagster.wikitext.link_names import LinkNames
from valbench_dagster.wikitext.patterns import Patterns

_LINES = re.compile(rb"\n=[^\n<]*")
_MARKUP = re.compile(rb"[\[\]{}&]|''|__")
_BEHIND_TAG = re.compile(b"gt;=")  # `&gt;=`: without the frequent `&` it is found faster
_LINE_END = re.compile(rb"[\n<]")
_TELLING = re.compile(rb"&lt;|\{|[^\s=]&|;[^\s=]|(?<!\[)\[(?!\[)")
_PARTS = rb"(?:''|\[\[|\]\]|\||__)"
_AFTER_LETTER, _BEFORE_LETTER = re.compile(rb"[^\s=]" + _PARTS), re.compile(_PARTS + rb"[^\s=]")
"""Markup that can part the letters of a word, make one, or go on in the next line; around whole words it cannot."""

MOST_TRIED = 4
"""Places on one line that are tried; a line with more of them, which is no prose, is a candidate as it is."""


class Candidates:
    """The test for one wiki: its patterns, and its names of links in titles."""

    def __init__(self, patterns: Patterns, names: LinkNames) -> None:
        self._patterns = patterns
        self._names = names
        self._keywords = sorted({each for each in patterns.letters if each is not None})
        self._all = None in patterns.letters

    def places(self, xml: bytes) -> list[int]:
        """List offsets in `xml`, ascending, of lines that may be headings a pattern matches.

        The first line of a text is not among them: see `opens`. A character reference of XML (`&#61;`, which MediaWiki
        never writes) may be anything: its place is given too. Takes time linear in `xml`, whatever it holds.
        """
        lines = _LINES.findall(xml)
        joined = b"".join(lines)
        numbers = range(len(lines)) if self._all else self._suspects(lines, joined)
        found: list[int] = []
        if numbers:
            starts = [line.start() + 1 for line in _LINES.finditer(xml)]
            found = [starts[number] for number in numbers]
        found += self._elsewhere(xml)
        found += _places_of(xml, b"&#", 1)
        return sorted(found)

    def _suspects(self, lines: list[bytes], joined: bytes) -> list[int]:
        """Numbers of the lines, ascending, that hold a keyword, or hide one."""
        numbers: set[int] = set()
        folded = fold(joined.decode("utf-8", "replace"))
        for keyword in self._keywords:
            numbers.update(_lines_with(keyword, folded))
        for number in _numbers(_MARKUP.finditer(joined), joined):
            if number not in numbers and self._may_hide(lines[number][1:]):
                numbers.add(number)
        return sorted(numbers)

    def opens(self, xml: bytes, start: int) -> bool:
        """Whether the text that starts at `start` opens with a line that may be such a heading."""
        return xml.startswith(b"=", start) and self._may_match(xml, start)

    def _elsewhere(self, xml: bytes) -> list[int]:
        """Places of `=` that begins a line only for a reader, behind something transparent."""
        places = [found.end() - 1 for found in _BEHIND_TAG.finditer(xml)]
        places += [at + 2 for at in _places_of(xml, b"__=", 0)]
        kept: list[int] = []
        line_end = tried = 0
        for place in sorted(places):
            if place >= line_end:
                end = _LINE_END.search(xml, place)
                line_end, tried = end.start() if end else len(xml), 0
            tried += 1
            if tried > MOST_TRIED or self._line_may_match(xml[place:line_end]):
                kept.append(place)
        return kept

    def _may_match(self, xml: bytes, place: int) -> bool:
        end = _LINE_END.search(xml, place)
        return self._line_may_match(xml[place : end.start() if end else len(xml)])

    def _line_may_match(self, line: bytes) -> bool:
        folded = fold(line.decode("utf-8", "replace"))
        return (
            self._all
            or any(keyword in folded for keyword in self._keywords)
            or (_MARKUP.search(line) is not None and self._may_hide(line))
        )

    def _may_hide(self, line: bytes) -> bool:
        """Whether the title of a line with markup may match although no keyword stands in it as it is written."""
        if not (_TELLING.search(line) or _parts_a_word(line)):
            return False
        text = unescape(line.decode("utf-8", "replace"))
        if goes_on(text):
            return True
        return any(self._patterns.match(heading.title) is not None for heading in headings(text, self._names))


def _parts_a_word(line: bytes) -> bool:
    """Whether markup follows a letter, and the same or later markup is followed by one."""
    after = _AFTER_LETTER.search(line)
    return after is not None and _BEFORE_LETTER.search(line, after.start() + 1) is not None


def _lines_with(keyword: str, lines: str) -> Iterator[int]:
    """Numbers of the lines, each of which begins with its line end, that hold `keyword`; ascending, each once."""
    number, counted = -1, 0
    at = lines.find(keyword)
    while at >= 0:
        number += lines.count("\n", counted, at)
        yield number
        counted = lines.find("\n", at)
        at = lines.find(keyword, counted) if counted >= 0 else -1


def _numbers(found: Iterable[re.Match[bytes]], lines: bytes) -> Iterator[int]:
    """Numbers of the lines, each of which begins with its line end, in which something was found, each once."""
    number, counted = -1, 0
    for each in found:
        step = lines.count(b"\n", counted, each.start())
        counted = each.start()
        if step:
            number += step
            yield number


def _places_of(xml: bytes, wanted: bytes, rare: int) -> list[int]:
    """Where `wanted` stands in `xml`, ascending; looked for by its byte at `rare`, which is found much faster."""
    found: list[int] = []
    sign = wanted[rare : rare + 1]
    at = xml.find(sign)
    while at >= 0:
        if at >= rare and xml.startswith(wanted, at - rare):
            found.append(at - rare)
        at = xml.find(sign, at + 1)
    return found
