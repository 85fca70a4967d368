"""Titles: what a reader sees of the title of a heading (wikipedia.md, rules 18 and 19).

Here belongs the small part of wikitext that stands in one line: links, pictures, tags, and the pieces that `blanking`
took out. The text of sections is `plain_text`, with which apostrophes and entities are shared. Templates are not
expanded: of them only `{{!}}` and `{{=}}` show anything here.
"""

import re
from collections.abc import Sequence

from valbench_dagster.wikitext.blanking import MARKER
from valbench_dagster.wikitext.lines import without_apostrophes
from valbench_dagster.wikitext.link_names import LinkNames, is_no_prose
from valbench_dagster.wikitext.repair import decoded_once

_SHOWN_TAGS = frozenset({"nowiki", "pre", "syntaxhighlight", "source", "poem", "math", "chem", "ce"})
_CHARACTERS = {"{{!}}": "|", "{{=}}": "="}

_BRACKETS = re.compile(r"\[\[(?!\[)|\]\]")
_NO_TARGET = re.compile(r"[\[\]{}<>]|^\s*$")
_EXTERNAL = re.compile(
    r"\[(?:https?://|ftps?://|ircs?://|//|mailto:|news:|tel:)[^\s\[\]<>\"]++\s*+([^\[\]]*+)\]", re.IGNORECASE
)
_LINE_BREAK = re.compile(r"<br(?:[\s/][^<>]*+)?>", re.IGNORECASE)
_HTML = re.compile(
    r"</?(?:abbr|b|bdi|bdo|big|blockquote|center|cite|code|data|dd|del|dfn|div|dl|dt|em|font|h[1-6]|hr|i|ins|kbd|li"
    r"|link|mark|meta|ol|p|q|rb|rp|rt|rtc|ruby|s|samp|small|span|strike|strong|sub|sup|table|td|th|time|tr|tt|u|ul"
    r"|var|wbr)(?:[\s/][^<>]*+)?>",
    re.IGNORECASE,
)
_MAX_DEPTH = 40  # of links in links; what lies deeper stays text, so that time stays linear
_CONTENTS_TABLE = re.compile("__TOC__", re.IGNORECASE)
_TAG = re.compile(r"<(\w+)[^>]*>(.*)</", re.DOTALL)
_MARKUP = re.compile(rf"[\[<'&_{MARKER}]")
_PLACE = re.compile(f"{MARKER}([0-9]+){MARKER}")


def shown_title(raw: str, hidden: Sequence[str], names: LinkNames) -> str:
    """Turn the wikitext between the equals of a heading into what is read there.

    `raw` holds a `MARKER` for each of the pieces `hidden`, in order, which are given as wikitext (see `blanking`).
    Links show their labels, references and pictures nothing; entities are decoded once; white space of every kind,
    U+00A0 too, is one blank, none at the edges. May be empty. Never raises; linear in the length of its input.
    """
    if _MARKUP.search(raw) is None:
        return " ".join(raw.split())
    pieces = iter(enumerate(hidden))
    text = "".join(_placeholder(*next(pieces)) if part == MARKER else part for part in re.split(f"({MARKER})", raw))
    text = _links(_CONTENTS_TABLE.sub("", text), names)
    text = _HTML.sub("", _LINE_BREAK.sub(" ", _EXTERNAL.sub(r"\1", without_apostrophes(text))))
    parts = _PLACE.split(text)  # words and numbers of pieces by turns
    parts[1::2] = [_inside(hidden[int(number)]) for number in parts[1::2]]
    return " ".join("".join(map(decoded_once, parts)).split())


def _placeholder(number: int, piece: str) -> str:
    """Two signs that stand for themselves, or the piece's number: its inside is no wikitext any more."""
    return _CHARACTERS.get(piece, f"{MARKER}{number}{MARKER}")


def _inside(piece: str) -> str:
    """What a hidden piece shows: the inside of a tag that shows it as it stands, else nothing."""
    tag = _TAG.match(piece)
    return tag[2] if tag and tag[1].lower() in _SHOWN_TAGS else ""


def _links(text: str, names: LinkNames) -> str:
    """Put the label, or else the target, in place of each `[[..]]`, from the innermost out."""
    open_links: list[list[str]] = []
    parts: list[str] = []
    at = 0
    for bracket in _BRACKETS.finditer(text):
        parts.append(text[at : bracket.start()])
        at = bracket.end()
        if bracket[0] == "[[" and len(open_links) < _MAX_DEPTH:
            open_links.append(parts)
            parts = []
        elif bracket[0] == "]]" and open_links:
            inside = "".join(parts)
            parts = open_links.pop()
            parts.append(_label(inside, names))
        else:
            parts.append(bracket[0])
    parts.append(text[at:])
    without_end = "".join(f"{''.join(before)}[[" for before in open_links)  # these brackets are text
    return without_end + "".join(parts)


def _label(inside: str, names: LinkNames) -> str:
    target, _, label = inside.partition("|")
    if _NO_TARGET.search(target):
        return f"[[{inside}]]"
    if is_no_prose(target, names):
        return ""
    return label or target.strip().removeprefix(":")
