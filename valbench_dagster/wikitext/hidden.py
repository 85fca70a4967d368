"""Hidden: what goes before any parsing, because the parser mishandles it or the reader does not see it as text.

Here belong comments, extension tags, tables and links to pictures, each found by one pass from left to right, so that
the time is linear in the text. HTML tags are `tags.py`, templates and other links are left to the parser.
"""

import re

from valbench_dagster.wikitext.link_names import LinkNames, is_no_prose
from valbench_dagster.wikitext.marks import KEPT, REMOVED

_INLINE = frozenset({"ref", "math", "hiero", "section", "templatestyles", "indicator", "charinsert", "maplink"})
_BLOCK = frozenset(
    {"references", "gallery", "score", "timeline", "graph", "imagemap", "inputbox", "mapframe", "categorytree"}
    | {"templatedata", "style", "script"}
)
_LITERAL = frozenset({"nowiki", "pre", "syntaxhighlight", "source", "chem", "ce"})
_DROPPED_WHOLE = frozenset({"includeonly"})
_TAG_ONLY = frozenset({"noinclude", "onlyinclude"})
_NAMES = sorted(_INLINE | _BLOCK | _LITERAL | _DROPPED_WHOLE | _TAG_ONLY | {"poem"}, key=len, reverse=True)
_OPENER = re.compile(rf"<!--|<(/?)({'|'.join(_NAMES)})(?=[\s/>])", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t]*")
_COMMENT_AGAIN = re.compile(r"[ \t]*<!--")

_TABLE_LINE = re.compile(r"^[ \t:]*(?:(?P<open>\{\|)|(?P<close>\|\}(?!\}(?!\}))))", re.MULTILINE)
_TABLE_ROW = re.compile(r"[ \t:]*(?:[|!]|\{\|)")
_BRACKETS = re.compile(r"\[\[(?!\[)|\]\]")
_SWITCH = re.compile(r"__([^\W\d_]+(?:_[^\W\d_]+)*)__")


class Stash:
    """Literal text set aside under a number: markup inside it is shown as it stands."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def keep(self, text: str) -> str:
        """Set `text` aside; returns what stands for it."""
        self._texts.append(text)
        return f"{KEPT}{len(self._texts) - 1}{KEPT}"

    def restored(self, text: str) -> str:
        """`text` with everything set aside back in its place."""
        return re.sub(f"{KEPT}([0-9]+){KEPT}", lambda found: self._texts[int(found[1])], text).replace(KEPT, "")


class _Finder:
    """`str.find` that remembers what does not occur any more, so that a missing end is looked for once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._closers: dict[str, re.Pattern[str]] = {}
        self._absent: set[str] = set()

    def find(self, what: str, start: int) -> int:
        """Where `what` next stands at or after `start`; -1 where it does not. `start` never goes back."""
        if what in self._absent:
            return -1
        at = self._text.find(what, start)
        if at < 0:
            self._absent.add(what)
        return at

    def closer(self, name: str, start: int) -> re.Match[str] | None:
        """The next end tag of `name` at or after `start`."""
        if name in self._absent:
            return None
        pattern = self._closers.setdefault(name, re.compile(rf"</{name}[ \t\n]*>", re.IGNORECASE))
        found = pattern.search(self._text, start)
        if found is None:
            self._absent.add(name)
        return found


def without_hidden(text: str, stash: Stash) -> str:
    """`text` without comments, references and extension tags; literal text goes to `stash`.

    The first opener wins (wikipedia.md, 7.10). An extension tag ends at its first `>`, whatever quotes say, and runs
    to the next end tag of its name, so an unclosed `<ref name=x>` takes the text before the next `</ref>`. A tag
    without any end tag is plain text and is shown, as the wiki shows it; an unclosed comment or `<includeonly>`
    hides the rest.
    """
    out: list[str] = []
    finder, at = _Finder(text), 0
    while (opener := _OPENER.search(text, at)) is not None:
        start = opener.start()
        if opener[2] is None:
            end = _comment_end(text, start, finder)
            line_start = text.rfind("\n", at, start) + 1
            alone = line_start > 0 or at == 0 or text[at - 1] == "\n"
            line_start = line_start or at
            if alone and not text[line_start:start].strip(" \t") and text[end : end + 1] == "\n":
                start, end = line_start, end + 1  # a comment alone on its line goes with its line end (7.9)
            out.append(text[at:start])
            at = end
            continue
        out.append(text[at:start])
        name, tag_end = opener[2].lower(), finder.find(">", opener.end())
        if tag_end < 0 or (opener[1] and name not in _TAG_ONLY):
            out.append(stash.keep(opener[0]))  # no tag, or a stray end tag: shown
            at = opener.end()
        elif name in _TAG_ONLY:
            at = tag_end + 1
        elif text[tag_end - 1] == "/":
            out.append(_shown(name, "", stash))
            at = tag_end + 1
        elif (closer := finder.closer(name, tag_end + 1)) is not None:
            out.append(_shown(name, text[tag_end + 1 : closer.start()], stash))
            at = closer.end()
        elif name in _DROPPED_WHOLE:
            at = len(text)
        else:
            out.append(stash.keep(text[start : tag_end + 1]))
            at = tag_end + 1
    out.append(text[at:])
    return "".join(out)


def _comment_end(text: str, start: int, finder: _Finder) -> int:
    """The end of the comment at `start` and of those right behind it."""
    while True:
        closer = finder.find("-->", start + 4)
        if closer < 0:
            return len(text)
        again = _COMMENT_AGAIN.match(text, closer + 3)
        if again is None:
            blanks = _BLANKS.match(text, closer + 3)
            end = blanks.end() if blanks is not None else closer + 3
            return end if text[end : end + 1] == "\n" else closer + 3
        start = again.end() - 4


def _shown(name: str, inside: str, stash: Stash) -> str:
    """What a closed extension tag leaves in the text."""
    if name in _INLINE:
        return REMOVED
    if name in _BLOCK:
        return f"\n\n{REMOVED}\n\n"
    if name in _DROPPED_WHOLE:
        return ""
    if name == "poem":
        lines = [line.strip().lstrip(":") for line in without_hidden(inside, stash).strip("\n").split("\n")]
        return "\n\n" + "<br>".join(lines) + "\n\n"
    if name == "pre" or (name != "nowiki" and "\n" in inside):
        return f"\n\n{stash.keep(inside.strip(chr(10)))}\n\n"
    return stash.keep(inside)


def without_tables(text: str) -> str:
    """`text` without its tables, nested ones too.

    A table is closed by the `|}` that belongs to it. An unclosed one ends with the paragraph in which its last row
    stands: at the first blank line that no line beginning with `|` or `!` follows.
    """
    spans: list[tuple[int, int]] = []
    opened: list[int] = []
    for line in _TABLE_LINE.finditer(text):
        if line["open"]:
            opened.append(line.start())
        elif opened:
            start = opened.pop()
            while spans and spans[-1][0] > start:
                spans.pop()
            spans.append((start, line.end()))
    spans.extend((start, 0) for start in opened)
    out: list[str] = []
    at = 0
    for start, closed in sorted(spans):
        if start >= at:
            out.append(text[at:start])
            out.append(f"\n\n{REMOVED}\n\n")
            at = closed or _unclosed_table_end(text, start)
    out.append(text[at:])
    return "".join(out)


def _unclosed_table_end(text: str, start: int) -> int:
    at, end = start, start
    blank = False
    while at < len(text):
        line_end = text.find("\n", at)
        line_end = len(text) if line_end < 0 else line_end
        if not text[at:line_end].strip():
            blank = True
        elif blank and not _TABLE_ROW.match(text, at):
            break
        else:
            blank, end = False, line_end
        at = line_end + 1
    return end


def without_pictures(text: str, names: LinkNames) -> str:
    """`text` without links to files, categories and other languages, captions and the links inside them included.

    One that is never closed ends with its line.
    """
    spans: list[tuple[int, int]] = []
    opened: list[int] = []
    for bracket in _BRACKETS.finditer(text):
        if bracket[0] == "[[":
            opened.append(bracket.start())
        elif opened:
            start = opened.pop()
            if _is_no_prose(text, start, names):
                while spans and spans[-1][0] > start:
                    spans.pop()
                spans.append((start, bracket.end()))
    for start in opened:
        if _is_no_prose(text, start, names):
            line_end = text.find("\n", start)
            spans.append((start, len(text) if line_end < 0 else line_end))
    out: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if start >= at:
            out.append(text[at:start])
            out.append(REMOVED)
            at = end
    out.append(text[at:])
    return "".join(out)


def _is_no_prose(text: str, start: int, names: LinkNames) -> bool:
    """Whether the link whose brackets open at `start` is none of prose; no prefix is longer than 60 characters."""
    return is_no_prose(text[start + 2 : start + 62], names)


def without_switches(text: str) -> str:
    """`text` without behaviour switches such as `__NOTOC__`, in any language: words in capitals between the lines."""
    return _SWITCH.sub(lambda found: "" if found[1] == found[1].upper() else found[0], text)
