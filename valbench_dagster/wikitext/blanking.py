"""Blanking: which characters of a page its lines are made of, in one pass from left to right.

MediaWiki finds headings in two looks (wikipedia.md, section 7). This is the first, without expanding anything:
comments, transclusion tags, tags whose inside is no page text, and closed braces are taken out, length kept, and
openers without an end are let go as text. What is a heading among the lines left is decided in `headings`, what a
title shows in `titles`.

The pass keeps MediaWiki's own stack of open pieces, because they shadow each other: `}}` closes nothing while a
`[[` is open above its `{{`, nor on a line that starts with `=`. It takes linear time whatever the page holds: an
end tag that was looked for in vain is not looked for again, and every opener is pushed and popped at most once.
"""

import re
from dataclasses import dataclass

GONE = "\0"
"""Stands for a character that leaves nothing behind."""
MARKER = "\x7f"
"""Stands for a whole hidden piece that leaves something visible: a tag with its inside, closed braces."""

# Tags whose inside is not page text (rule 10): MediaWiki's own, and those of the extensions that Wikimedia runs.
EXTENSION_TAGS = (
    *("nowiki", "pre", "gallery", "indicator", "langconvert", "ref", "references", "math", "chem", "ce"),
    *("syntaxhighlight", "source", "poem", "score", "timeline", "templatestyles", "templatedata", "imagemap"),
    *("inputbox", "hiero", "graph", "chart", "mapframe", "maplink", "categorytree", "charinsert", "section"),
    *("dynamicpagelist", "languages", "phonos", "quiz", "rss", "seo", "embedvideo", "listen", "talkpage", "thread"),
)

_TAG = re.compile(
    rf"<(?:!--|(/?(?:noinclude|onlyinclude)|includeonly|{'|'.join(EXTENSION_TAGS)})(?=[\s>]|/>))",
    re.IGNORECASE | re.ASCII,
)


def _run(*pieces: str) -> str:
    """As many of the `pieces` as follow each other. Nothing is given back, so that the time is linear in the page.

    The last one never matches: up to Python 3.11.4 a piece that fails in its middle counts as read that far, unless
    another one is tried after it (CPython issue 106052).
    """
    return f"(?:{'|'.join(pieces)}|(?!))*+"


# What matters to no open piece is passed over within one match: single brackets, line ends with no `=` behind them, and
# links that end before any other sign, as nearly all do. Braces with nothing else in them, and references with no tag
# in them, are matched to their end.
_INERT = (r"\[\[(?!\[)[^\n\[\]{<]*+\]\]", r"\[(?!\[)", r"\{(?!\{)")
_LINE_END, _SINGLE_END = r"\n(?!=)", r"\}(?!\})"
_REF = r"<ref(?:[ \n\t][^<>]*+)?(?:(?<=/)>|(?<!/)>[^<]*+</ref>)"
_BRACES = r"\{\{(?!\{)" + _run(r"[^\n\[{<}]++", _LINE_END, _SINGLE_END, *_INERT) + r"\}\}"


def _pattern(signs: str, *passed: str) -> re.Pattern[str]:
    """Pass over what is `passed` and inert; then one group: whole braces or references, an opener, one of `signs`."""
    return re.compile(rf"{_run(*passed, *_INERT)}({_BRACES}|\[\[+|\{{\{{+|{_REF}|<|{signs})")


# What is looked for next depends on the piece that is open: nothing, a line that starts with `=`, `[[`, `{{`.
_IN_TEXT = _pattern(r"\n", r"[^\n\[{<]++", _LINE_END)
_IN_LINE = _pattern(r"\n", r"[^\n\[{<]++")
_IN_LINK = _pattern(r"\n|\]\]", r"[^\n\[{<\]]++", _LINE_END, r"\](?!\])")
_IN_BRACES = _pattern(r"\n|\}{2,3}|\|", r"[^\n\[{<}|]++", _LINE_END, _SINGLE_END)
_IN_ARGUMENT = _pattern(r"\n|\}{2,3}|=", r"[^\n\[{<}=]++", _LINE_END, _SINGLE_END)
_STATES = {"=": _IN_LINE, "[": _IN_LINK, "{": _IN_BRACES}

_END_TAGS = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE | re.ASCII) for name in (*EXTENSION_TAGS, "includeonly")}


@dataclass(frozen=True, slots=True)
class Blanked:
    """A page with its hidden pieces taken out.

    `text` is as long as the page: every character stands where it stood, or is `GONE`, or is a `MARKER` (the first
    character of a piece; the rest of it is `GONE`). Line ends inside hidden pieces are hidden with them.
    `markers` holds start and end of every marked piece, ascending.
    """

    text: str
    markers: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _Open:
    """A piece that is open: `{` or `[` (`count` of them from `start`), or a line that starts with `=`."""

    sign: str
    start: int
    count: int
    pattern: re.Pattern[str]  # `_IN_ARGUMENT` after a `|`, before the argument's first `=`: there `=` names it


@dataclass(slots=True)
class _Pass:
    """One pass over one page."""

    text: str
    hidden: list[tuple[int, int, bool]]  # start, end, whether it leaves a marker; disjoint, ascending
    stack: list[_Open]
    no_more_tag_ends: bool
    no_more_end_tags: set[str]

    def run(self) -> None:
        """Walk the page from one sign to the next."""
        text, stack = self.text, self.stack
        at = 0  # a first line that starts with `=` needs no piece: there is nothing open for it to shadow
        while (found := (stack[-1].pattern if stack else _IN_TEXT).match(text, at)) is not None:
            start, at = found.span(1)
            sign = text[start]
            if sign == "<":
                at = self.tag(start) if at == start + 1 else self.hide(start, at, marker=True)
            elif sign == "\n":
                if stack and stack[-1].sign == "=":
                    stack.pop()
                self.line_start(at)
            elif sign == "{" and text[at - 1] == "}":
                self.hide(start, at, marker=True)
            elif sign in "{[":
                self.open(sign, start, at - start)
            elif sign in "}]":
                at = self.close(start, at - start)
            else:  # `|` opens the next argument, the first `=` in it ends the argument's name
                stack[-1].pattern = _IN_ARGUMENT if sign == "|" else _IN_BRACES

    def open(self, sign: str, start: int, count: int) -> None:
        """Have a piece open from here on."""
        self.stack.append(_Open(sign, start, count, _STATES[sign]))

    def line_start(self, at: int) -> None:
        """Open a line if it starts with `=`; a single one that may name an argument is left to do so."""
        in_argument = bool(self.stack) and self.stack[-1].pattern is _IN_ARGUMENT
        if self.text.startswith("==" if in_argument else "=", at):
            self.open("=", at, 1)

    def close(self, at: int, run: int) -> int:
        """Close the open piece with those of the `run` signs at `at` that belong to it; return where to go on."""
        piece = self.stack[-1]
        used = min(run, piece.count)
        self.stack.pop()
        if piece.sign == "{":
            self.hide(piece.start + piece.count - used, at + used, marker=True)
        if piece.count - used >= 2:  # the outer braces of `{{{{{a}}} b}}` are still open
            self.open(piece.sign, piece.start, piece.count - used)
        return at + used

    def tag(self, start: int) -> int:
        """Hide the comment or the tag that starts here, if one does and has an end; return where to go on."""
        text, found = self.text, _TAG.match(self.text, start)
        if found is None:
            return start + 1
        name = found[1]
        if name is None:
            end = text.find("-->", start + 4)
            return self.hide(start, len(text) if end < 0 else end + 3)
        name = name.lower()
        tag_end = -1 if self.no_more_tag_ends else text.find(">", found.end())
        if tag_end < 0:
            self.no_more_tag_ends = True
            return start + 1
        if name.endswith(("noinclude", "onlyinclude")):
            return self.hide(start, tag_end + 1)
        shown = name != "includeonly"
        if text[tag_end - 1] == "/":
            return self.hide(start, tag_end + 1, marker=shown)
        end_tag = None if name in self.no_more_end_tags else _END_TAGS[name].search(text, tag_end + 1)
        if end_tag is not None:
            return self.hide(start, end_tag.end(), marker=shown)
        self.no_more_end_tags.add(name)
        return tag_end + 1 if shown else self.hide(start, len(text))

    def hide(self, start: int, end: int, *, marker: bool = False) -> int:
        """Hide from `start` to `end`, with whatever is hidden in between already; return `end`."""
        while self.hidden and self.hidden[-1][0] >= start:
            self.hidden.pop()
        self.hidden.append((start, end, marker))
        return end


def blank(wikitext: str) -> Blanked:
    """Take out of `wikitext` what its lines are not made of (wikipedia.md, rules 8 to 13), length kept.

    `GONE` and `MARKER` in the page itself, which no dump holds, become U+FFFD and `?`, as MediaWiki has it. Never
    raises; linear in the length of the page.
    """
    text = wikitext.replace(GONE, "\ufffd").replace(MARKER, "?")
    if "<" not in text and "{{" not in text:  # only tags, comments and braces hide anything
        return Blanked(text, ())
    walk = _Pass(text, hidden=[], stack=[], no_more_tag_ends=False, no_more_end_tags=set())
    walk.run()
    pieces: list[str] = []
    at = 0
    for start, end, marker in walk.hidden:
        pieces += text[at:start], MARKER if marker else GONE, GONE * (end - start - 1)
        at = end
    pieces.append(text[at:])
    return Blanked("".join(pieces), tuple((start, end) for start, end, marker in walk.hidden if marker))


def goes_on(line: str) -> bool:
    """Whether a line alone leaves something open that may hide what follows it: a tag, a comment, braces.

    A line of which this is false is blanked by itself as it is on its page, or is hidden there as a whole.
    """
    if "<" not in line and "{{" not in line:
        return False
    text = blank(f"{line}\n").text
    return text[-1] != "\n" or "{{" in text or _TAG.search(text) is not None
