"""Marks: the characters that the steps from wikitext to plain text leave for each other.

XML cannot carry them and `cleared` takes them from anything else, so none is ever part of a text. What each step does
with them is said where it is done.
"""

import re

HEADING = "\x01"
"""Begins a line that is a sub-heading."""
AMPERSAND = "\x02"
LESS = "\x03"
GREATER = "\x04"
"""Stand for `&`, `<`, `>` while the parser, which must not see them, is at work."""
KEPT = "\x05"
"""Before and after the number of a piece of literal text that no further step may read as markup."""
BREAK = "\x06"
"""A line break that the reader sees, as of `<br>`."""
REMOVED = "\x07"
"""Something was here that the reader of a plain text does not get: what it leaves behind may need repair."""
SEAM = "\x08"
"""Markup ended or began here: apostrophes on its two sides are not one run."""
LINE = "\x1f"
"""Begins every line that the parser gets; white space to Python, so that trimming takes it off names and values."""

_NEVER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def cleared(text: str) -> str:
    """`text` without control characters, surrogates and marks, with `\\n` as its only line end."""
    return _NEVER.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).replace("\x85", "\n")


def masked(text: str) -> str:
    """Hide from the parser what it mishandles: ampersands (it writes before a buffer) and tags (quadratic time)."""
    return text.replace("&", AMPERSAND).replace("<", LESS).replace(">", GREATER)


def unmasked(text: str) -> str:
    """Undo `masked`."""
    return text.replace(AMPERSAND, "&").replace(LESS, "<").replace(GREATER, ">")


def bare(text: str) -> str:
    """`text` without what was removed from it and without seams, trimmed: empty where nothing is left to read."""
    return text.replace(REMOVED, "").replace(SEAM, "").strip()
