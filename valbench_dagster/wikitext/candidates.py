"""Candidates: where in raw XML a heading may stand that a pattern matches. Quick, and never wrong about a no.

Here belongs the test that spares nearly every page the parsing. It reads bytes as they come out of the decoder, still
escaped once, and gives places; whether a heading really stands there is `headings`, on the page's text.

Why a no can be trusted: the line of a heading begins with `=` at a line's start, at the start of the text, or right
behind something transparent, which ends in `>` or `__` (wikipedia.md, section 7, rules 7 and 8). The letters of its
title stand in that line in their order, and next to each other unless markup or an entity is between or makes one of
them. Lines that hold a pattern's letters, or markup that may hide them, are read as a heading of their own by the exact
rules; lines that a tag, a comment or open braces could continue into the next are always candidates, and so is one that
holds the letters and is no XML as MediaWiki writes it.
"""

import re
from collections.abc import Iterator
from html import unescape

from valbench_dagster.wikitext.blanking import goes_on
from valbench_dagster.wikitext.headings import headings
from valbench_dagster.wikitext.keywords import fold
from valbench_dagster.wikitext.link_names import LinkNames
from valbench_dagster.wikitext.patterns import Patterns

# A pattern that begins with one plain letter is looked for four times as fast as one that begins with a set: so the
# sign itself first, then what stands before it. Of `&gt;` and `__` the last sign will do.
_BEGINNINGS = re.compile(rb"=(?<=[\n;_]=)[^\n<]*")
_INNER = re.compile(rb"=(?<=[;_]=)")
_LINE_END = re.compile(rb"[\n<]")
_MARKED = re.compile(rb"[\[\]{}&'_][^\n]*")
_TELLING = re.compile(rb"&lt;|\{|[^\s=]&amp;|&amp;[^\s=]|(?<!\[)\[(?!\[)")
_PARTS = rb"(?:''|\[\[|\]\]|\||__)"
_AFTER_LETTER, _BEFORE_LETTER = re.compile(rb"[^\s=]" + _PARTS), re.compile(_PARTS + rb"[^\s=]")
"""Markup that can part the letters of a word, make one, or go on in the next line; around whole words it cannot."""
_STRANGE = re.compile(rb"[\x00-\x08\x0b-\x1f]|&(?!(?:lt|gt|amp|quot);)")
"""What a parser of XML reads in a way of its own, or refuses; MediaWiki writes none of it."""

BLOCK_BYTES = 1 << 17
"""Bytes that are searched at a time: they stay in the processor's cache, and few are searched once more for places."""
MOST_REMEMBERED = 1 << 16
"""Lines that are known to be no candidates, at most: many headings are `== References ==` and the like."""
LONGEST_REMEMBERED = 100
"""Bytes of such a line; longer ones are rare, and looked at each time."""
MOST_TRIED = 4
"""Places on one line that are tried; a line with more of them, which is no prose, is a candidate as it is."""


class Candidates:
    """The test for one wiki: its patterns, and its names of links in titles."""

    def __init__(self, patterns: Patterns, names: LinkNames) -> None:
        self._patterns = patterns
        self._names = names
        self._keywords = sorted({each for each in patterns.letters if each is not None})
        self._all = None in patterns.letters
        self._passed: set[bytes] = set()

    def places(self, xml: bytes) -> list[int]:
        """List offsets in `xml`, ascending, of lines that may be headings a pattern matches.

        The first line of a text is not among them: see `opens`. A character reference of XML (`&#61;`, which MediaWiki
        never writes) may be anything: its place is given too. Takes time linear in `xml`, whatever it holds.
        """
        found: list[int] = []
        start, length = 0, len(xml)
        while start < length:
            end = xml.find(b"\n", start + BLOCK_BYTES)
            end = length if end < 0 else end
            lines: list[bytes] = _BEGINNINGS.findall(xml, start, end)
            if numbers := self._suspects(lines):
                starts = [line.start() for line in _BEGINNINGS.finditer(xml, start, end)]
                found += [starts[number] for number in numbers]
            found += _references(xml, start, end)
            start = end
        return sorted(found)

    def opens(self, xml: bytes, start: int) -> bool:
        """Whether the text that starts at `start` opens with a line that may be such a heading."""
        if not xml.startswith(b"=", start):
            return False
        end = _LINE_END.search(xml, start)
        return bool(self._suspects([xml[start : end.start() if end else len(xml)]]))

    def _suspects(self, lines: list[bytes]) -> list[int]:
        """Numbers of the lines that may be headings a pattern matches, ascending."""
        if self._all:
            return list(range(len(lines)))
        passed = self._passed
        numbers = [number for number, line in enumerate(lines) if line not in passed]
        if not numbers:
            return []
        fresh = [lines[number] for number in numbers]
        joined = b"\n".join(fresh)
        folded = fold(joined.decode("utf-8", "replace"))
        lettered = {place for keyword in self._keywords if keyword in folded for place in _lines_with(keyword, folded)}
        suspect = {
            place
            for place in lettered.union(_marked(joined))
            if self._may_match(fresh[place], lettered=place in lettered)
        }
        if len(passed) > MOST_REMEMBERED:
            passed.clear()
        passed.update(
            line for place, line in enumerate(fresh) if place not in suspect and len(line) <= LONGEST_REMEMBERED
        )
        return [numbers[place] for place in sorted(suspect)]

    def _may_match(self, line: bytes, *, lettered: bool) -> bool:
        """Whether a heading that a pattern matches may begin with the first sign of `line`, or with another `=` of it.

        `lettered` says that the line, folded, holds the letters of a pattern as they are.
        """
        places = [0, *(found.start() for found in _INNER.finditer(line, 1))]
        if len(places) > MOST_TRIED or (lettered and _STRANGE.search(line) is not None):
            return True
        pieces = (line[place:] for place in places)
        return any((lettered or _may_hide(piece)) and self._reads_as_match(piece) for piece in pieces)

    def _reads_as_match(self, line: bytes) -> bool:
        """Whether `line`, on its own, is a heading that matches, or goes on in a way that only the page shows."""
        text = unescape(line.decode("utf-8", "replace"))
        if goes_on(text):
            return True
        return any(self._patterns.match(heading.title) is not None for heading in headings(text, self._names))


def _may_hide(line: bytes) -> bool:
    """Whether markup in a line may part letters or make them, so that a match does not show in it as it is written."""
    return _TELLING.search(line) is not None or _parts_a_word(line)


def _parts_a_word(line: bytes) -> bool:
    """Whether markup follows a letter, and the same or later markup is followed by one."""
    after = _AFTER_LETTER.search(line)
    return after is not None and _BEFORE_LETTER.search(line, after.start() + 1) is not None


def _lines_with(keyword: str, lines: str) -> Iterator[int]:
    """Numbers of the lines, parted by line ends, that hold `keyword`; ascending, each once."""
    number = counted = 0
    at = lines.find(keyword)
    while at >= 0:
        number += lines.count("\n", counted, at)
        yield number
        counted = lines.find("\n", at)
        at = lines.find(keyword, counted) if counted >= 0 else -1


def _marked(lines: bytes) -> Iterator[int]:
    """Numbers of the lines, parted by line ends, that hold markup or an entity; ascending, each once."""
    number = counted = 0
    for found in _MARKED.finditer(lines):
        number += lines.count(b"\n", counted, found.start())
        counted = found.start()
        yield number


def _references(xml: bytes, start: int, stop: int) -> Iterator[int]:
    """Where `&#` stands between two places, ascending; looked for by the second sign, which is found much faster."""
    at = xml.find(b"#", start, stop)
    while at >= 0:
        if at and xml.startswith(b"&", at - 1):
            yield at - 1
        at = xml.find(b"#", at + 1, stop)
