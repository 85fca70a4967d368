"""Repair: the last step to plain text: entities, blanks, and what removals leave behind.

Nothing here reads markup, and only places where something was removed are repaired: a text without markup comes out
as it went in, but for its blanks.
"""

import re
from html.entities import html5

from valbench_dagster.wikitext.marks import BREAK, REMOVED

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_BLANKS = dict.fromkeys([0x09, 0xA0, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F], " ")
_UNSEEN = dict.fromkeys([0xAD, 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF])
_SHOWN_BLANKS = str.maketrans(_BLANKS | _UNSEEN)
_BLANK_RUN = re.compile(r" {2,}")
_GAP = re.compile(rf" *{REMOVED}[ {REMOVED}]*")
_LEFT = re.compile(rf"([(\[]) *{REMOVED}[ {REMOVED}]*[,;:]?[ {REMOVED}]*")
_BETWEEN = re.compile(rf"[,;] *{REMOVED}[ {REMOVED}]*(?=[,;)\]])")
_EMPTY = re.compile(rf" ?[(\[][ ,;:]*{REMOVED}[ ,;:{REMOVED}]*[)\]]")
_LINES = re.compile(r"\n{3,}")


def decoded_once(text: str) -> str:
    """`text` with each entity that names a character replaced by it, once; `&foo;` and `&#xD800;` stay."""
    return _ENTITY.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    name = found[0][1:]
    if not name.startswith("#"):
        return html5.get(name, found[0])
    number = int(name[2:-1], 16) if name[1] in "xX" else int(name[1:-1])
    if number in (0x09, 0x0A, 0x0D):
        return " "
    forbidden = number < 0x20 or 0x7F <= number < 0xA0 or 0xD800 <= number < 0xE000 or number > 0x10FFFF
    return found[0] if forbidden or number & 0xFFFE == 0xFFFE else chr(number)


def repaired(text: str) -> str:
    """`text` with entities decoded, blanks folded to one, marks gone, and brackets and commas closed up after removals.

    U+00A0 and the typographic blanks become plain ones; soft hyphens, zero-width blanks and directional marks go
    (joiners stay: Persian and Hindi need them). Lines are trimmed, blank lines never follow each other.
    """
    text = decoded_once(text).translate(_SHOWN_BLANKS)
    text = _BLANK_RUN.sub(" ", text)
    if REMOVED in text:
        for _ in range(3):  # brackets inside brackets
            text, closed_up = _EMPTY.subn(REMOVED, text)
            if not closed_up:
                break
        text = _BETWEEN.sub(REMOVED, text)
        text = _LEFT.sub(r"\1", text)
        text = _GAP.sub(_closed_up, text)
    text = "\n".join(_BLANK_RUN.sub(" ", line).strip() for line in text.replace(BREAK, "\n").split("\n"))
    return _LINES.sub("\n\n", text).strip()


def _closed_up(gap: re.Match[str]) -> str:
    """What stands where something was removed: a blank if there was one, unless punctuation follows."""
    after = gap.string[gap.end() : gap.end() + 1]
    if " " not in gap[0] or not after or after in ".,;:!?)]\n":
        return ""
    return " "
