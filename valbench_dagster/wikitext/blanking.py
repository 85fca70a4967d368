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

_TAG = rf"<(?:!--|(/?(?:noinclude|onlyinclude)|includeonly|{'|'.join(EXTENSION_TAGS)})(?=[\s>]|/>))"
_OPENERS = rf"\[{{2,}}|\{{{{2,}}|{_TAG}"


def _pattern(extra: str) -> re.Pattern[str]:
    return re.compile(f"{extra}|{_OPENERS}", re.IGNORECASE | re.ASCII)


# What is looked for next depends on the piece that is open: nothing, a line that starts with `=`, `[[`, `{{`.
_IN_TEXT = _pattern(r"\n(?==)")
_IN_LINE = _pattern(r"\n")
_IN_LINK = _pattern(r"\n(?==)|\]{1,2}")
_IN_BRACES = _pattern(r"\n(?==)|\}{1,3}|\|")
_IN_ARGUMENT = _pattern(r"\n(?==)|\}{1,3}|\||=")

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
    in_argument: bool = False  # after a `|`, before the argument's first `=`: there `=` names the argument

    def pattern(self) -> re.Pattern[str]:
        if self.sign == "{":
            return _IN_ARGUMENT if self.in_argument else _IN_BRACES
        return _IN_LINK if self.sign == "[" else _IN_LINE


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
        while True:
            found = (stack[-1].pattern() if stack else _IN_TEXT).search(text, at)
            if found is None:
                return
            sign, at = found[0][0], found.end()
            if sign == "<":
                at = self.tag(found)
            elif sign == "\n":
                if stack and stack[-1].sign == "=":
                    stack.pop()
                self.line_start(at)
            elif sign in "{[":
                stack.append(_Open(sign, found.start(), at - found.start()))
            elif sign in "}]":
                at = self.close(found.start(), at - found.start())
            else:  # `|` opens the next argument, the first `=` in it ends the argument's name
                stack[-1].in_argument = sign == "|"

    def line_start(self, at: int) -> None:
        """Open a line if it starts with `=`; a single one that may name an argument is left to do so."""
        names_argument = bool(self.stack) and self.stack[-1].in_argument and not self.text.startswith("==", at)
        if self.text.startswith("=", at) and not names_argument:
            self.stack.append(_Open("=", at, 1))

    def close(self, at: int, run: int) -> int:
        """Close the open piece with as many of the `run` signs at `at` as belong to it; return where to go on."""
        piece = self.stack[-1]
        used = min(run, piece.count)
        if used < 2:
            return at + used
        self.stack.pop()
        if piece.sign == "{":
            self.hide(piece.start + piece.count - used, at + used, marker=True)
        if piece.count - used >= 2:  # the outer braces of `{{{{{a}}} b}}` are still open
            self.stack.append(_Open(piece.sign, piece.start, piece.count - used))
        return at + used

    def tag(self, found: re.Match[str]) -> int:
        """Hide the comment or the tag that starts here, if it has an end; return where to go on."""
        text, start, name = self.text, found.start(), found[1]
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
    walk = _Pass(text, hidden=[], stack=[], no_more_tag_ends=False, no_more_end_tags=set())
    walk.run()
    pieces: list[str] = []
    at = 0
    for start, end, marker in walk.hidden:
        pieces += text[at:start], MARKER if marker else GONE, GONE * (end - start - 1)
        at = end
    pieces.append(text[at:])
    return Blanked("".join(pieces), tuple((start, end) for start, end, marker in walk.hidden if marker))
