"""Page ranges: which pages a dump file promises by its name, the order to read files in, and ranges that cannot be.

Both layouts of a dump server write a range as `-p{first}p{last}`, the exports a part of one page as
`-p{page}r{first}r{last}` (wikipedia.md, sections 1 and 2). Here belong names only; a file's content is not looked at.
"""

import re
import sys
from collections.abc import Iterable

from valbench_dagster.dumps.names import in_reading_order as place_of

PAGES = "p[0-9]{1,15}p[0-9]{1,15}"
"""A range of page ids in a file name, without its hyphen, as a pattern."""

REVISIONS = "p[0-9]{1,15}r[0-9]{1,15}r[0-9]{1,15}"
"""A range of revision ids of one page in a file name, as a pattern."""

_RANGE = re.compile(r"-p([0-9]{1,15})(?:p([0-9]{1,15})|r([0-9]{1,15})r([0-9]{1,15}))(?=\.)")

Span = tuple[tuple[int, int], tuple[int, int]]
"""First and last (page id, revision id) of a range, both within it."""


def span_of(name: str) -> Span | None:
    """First and last (page, revision) that a file name promises; null where it has no range."""
    found = _RANGE.search(name)
    if found is None:
        return None
    page, last_page, first, last = (int(group) if group else 0 for group in found.groups())
    return ((page, 0), (last_page, sys.maxsize)) if found[2] else ((page, first), (page, last))


def pages_of(name: str) -> tuple[int | None, int | None]:
    """First and last page id that a file name promises; nulls where it has no range."""
    span = span_of(name)
    return (span[0][0], span[1][0]) if span else (None, None)


def in_reading_order(names: Iterable[str]) -> list[str]:
    """File names by page range, those without one first; then by name, with runs of digits as numbers."""

    def place(name: str) -> tuple[tuple[int, int], list[str | int]]:
        span = span_of(name)
        return span[0] if span else (-1, 0), place_of(name)

    return sorted(names, key=place)


def range_problems(names: Iterable[str]) -> list[str]:
    """What is wrong with the page ranges of files that are read together: backwards, or overlapping. One line each."""
    problems: list[str] = []
    before, end = "", (-1, 0)
    for name in in_reading_order(names):
        span = span_of(name)
        if span is None:
            continue
        if span[0] > span[1]:
            problems.append(f"{name}: the range runs backwards.")
        elif span[0] <= end:
            problems.append(f"{name}: the range overlaps that of {before}.")
        if span[1] > end:
            before, end = name, span[1]
    return problems
