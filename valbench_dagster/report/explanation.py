"""Explanation: what became of a page, as text for a terminal and as JSON.

Pure: an explanation in, text out. The wikitext of strangers is shown: no control character or mark of direction gets
through to the terminal, in either form.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest

import orjson

from valbench_dagster.stages.explanation import BECAME, HeadingExplanation, PageExplanation

SIDE_BY_SIDE = 80
"""Columns of the terminal from which wikitext and text stand beside each other, and the table has its reasons."""
NARROWEST = 40
"""Columns that are written for even where the terminal has fewer."""
MOST_LINES = 40
"""Lines of a column above which it is cut, unless all of it is asked for."""

_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_PICTURES = {"\t": " ", "\x7f": "\u2421"}
_BETWEEN = " │ "


def as_json(explanation: PageExplanation) -> str:
    """Give an explanation as one JSON document, indented; its keys are the fields of `PageExplanation`.

    What a terminal could take for a command or for a change of direction is escaped, which changes no value.
    """
    text = orjson.dumps(explanation, option=orjson.OPT_INDENT_2).decode("utf-8")
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def terminal(explanation: PageExplanation, width: int, *, full: bool = False) -> str:
    """Show an explanation in lines of at most `width` columns (`NARROWEST` at least).

    First what is said of the page, then a line for each heading, then each section that was looked at: its wikitext
    beside its text, or above it where the terminal is narrow. Unless `full`, long ones are cut with a note.
    """
    width = max(width, NARROWEST)
    page = explanation
    patterns = f"{page.patterns} patterns of {page.language!r}"
    lines = [
        *_wrapped(_shown(page.title), width),
        *_wrapped(_shown(f"{page.wiki}, page {page.page_id}, {patterns}, revision of {page.revision_time}"), width),
        *_wrapped(_shown(page.url), width),
        "",
        *_wrapped(_shown(f"{page.reason}: {page.why}"), width),
    ]
    if page.headings:
        lines += ["", *(_table if width >= SIDE_BY_SIDE else _list)(page.headings, width)]
    for heading in page.headings:
        if heading.wikitext is not None:
            lines += ["", *_section(heading, heading.wikitext, width, full)]
    return "\n".join(line.rstrip() for line in lines)


def _table(headings: Sequence[HeadingExplanation], width: int) -> Iterator[str]:
    rows = [("#", "heading", "status", "why")]
    for heading in headings:
        rows.append((str(heading.index), _indented(heading), _became(heading), _reason(heading)))
    number, status = (max(len(row[place]) for row in rows) for place in (0, 2))
    rest = width - number - status - 6
    title = min(max(_columns(row[1]) for row in rows), rest * 2 // 5)
    for row in rows:
        cells = [[row[0].rjust(number)], _wrapped(row[1], title), [row[2]], _wrapped(row[3], rest - title)]
        yield from _beside(cells, (number, title, status, rest - title), "  ")


def _list(headings: Sequence[HeadingExplanation], width: int) -> Iterator[str]:
    for heading in headings:
        yield from _wrapped(f"{heading.index}  {_indented(heading)}: {_became(heading)}", width)
        if reason := _reason(heading):
            yield from (f"    {line}" for line in _wrapped(reason, width - 4))


def _indented(heading: HeadingExplanation) -> str:
    return "  " * (len(heading.path) - 1) + f"{'=' * heading.level} {_shown(heading.title)}"


def _became(heading: HeadingExplanation) -> str:
    status = BECAME.get(heading.status, heading.status)
    return status if heading.inside is None else f"{status} {heading.inside}"


def _reason(heading: HeadingExplanation) -> str:
    """Why, where that is not plain from what became of it."""
    return _shown(heading.why) if heading.pattern is not None else ""


def _section(heading: HeadingExplanation, wikitext: str, width: int, full: bool) -> Iterator[str]:
    label = f"{heading.index}  {' > '.join(heading.path)}: {_became(heading)}"
    if heading.section_id is not None:
        label += f", section {heading.section_id}"
    yield "─" * width
    yield from _wrapped(_shown(label), width)
    yield ""
    text_head = "text: not known" if heading.text is None else f"text, {heading.text_chars} characters"
    if heading.text is not None and heading.text_chars != len(heading.text) and heading.section_id is not None:
        text_head += f", the first {len(heading.text)} kept"
    texts = ((f"wikitext, {heading.wikitext_chars} characters", wikitext), (text_head, heading.text or ""))
    column = (width - len(_BETWEEN)) // 2 if width >= SIDE_BY_SIDE else width
    columns = [
        [*_wrapped(head, column), "-" * column, *_bounded(_wrapped(_shown(text).strip("\n"), column), column, full)]
        for head, text in texts
    ]
    if width >= SIDE_BY_SIDE:
        yield from _beside(columns, (column, column), _BETWEEN)
    else:
        yield from columns[0]
        yield ""
        yield from columns[1]


def _bounded(lines: list[str], width: int, full: bool) -> list[str]:
    if full or len(lines) <= MOST_LINES:
        return lines
    return lines[:MOST_LINES] + _wrapped(f"… {len(lines) - MOST_LINES} more lines: --full shows them", width)


def _beside(columns: Iterable[Sequence[str]], widths: Sequence[int], between: str) -> Iterator[str]:
    """Lines with the columns beside each other, the shorter ones filled up with blanks."""
    for cells in zip_longest(*columns, fillvalue=""):
        yield between.join(
            cell + " " * (width - _columns(cell)) for cell, width in zip(cells, widths, strict=True)
        ).rstrip()


def _shown(text: str) -> str:
    """`text` with each character that a terminal would obey rather than show put in signs that it shows."""
    return _UNSAFE.sub(_sign, text)


def _sign(found: re.Match[str]) -> str:
    number = ord(found[0])
    if found[0] in _PICTURES:
        return _PICTURES[found[0]]
    return chr(0x2400 + number) if number < 0x20 else f"<U+{number:04X}>"


def _wrapped(text: str, width: int) -> list[str]:
    """The lines of `text`, each in pieces of at most `width` columns that end with a word where they can."""
    return [piece for line in text.split("\n") for piece in _pieces(line, width)]


def _pieces(line: str, width: int) -> Iterator[str]:
    start, used, blank = 0, 0, -1  # where the piece begins, its columns so far, its last blank with a word before it
    at = 0
    while at < len(line):
        used += _column_of(line[at])
        if used > width and at > start:
            end = blank if blank > start and line[at] != " " else at
            yield line[start:end].rstrip(" ")
            start = end
            while start < len(line) and line[start] == " ":
                start += 1
            at, used, blank = start, 0, -1
            continue
        if line[at] == " " and line[start:at].strip(" "):
            blank = at
        at += 1
    if start < len(line) or not line:
        yield line[start:]


def _columns(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_column_of, text))


@lru_cache(maxsize=4096)
def _column_of(character: str) -> int:
    """How many columns a terminal gives a character."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
