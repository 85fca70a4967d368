"""Lines: wikitext that has no brackets left, line by line, to paragraphs, list items and sub-headings.

Here belongs what MediaWiki decides by the beginning of a line, and the apostrophes of bold and italics, which it
balances line by line.
"""

import re

from valbench_dagster.wikitext.marks import BREAK, HEADING, REMOVED, SEAM

_APOSTROPHES = re.compile(r"'{2,}")
_LIST = re.compile(r"[*#:;]+")
_RULE = re.compile(r"-{4,}")
_BARE_HATNOTE = re.compile(
    r":+\s*''+\s*(?:main articles?|see also|see main article|for more details|further (?:information|details))\b",
    re.IGNORECASE,
)
_NOTHING = f" \t{REMOVED}{BREAK}{HEADING}"
_COLON = re.compile(r":(?!//)")


def mark_headings(text: str) -> str:
    """`text` with every line of the shape `== x ==` made a line that begins with `HEADING`, without its equals.

    The smaller count of equals on the two sides is taken off, six at most (wikipedia.md, 7.2 to 7.4).
    """
    if "=" not in text:
        return text
    return "\n".join(_marked(line) if line.startswith("=") else line for line in text.split("\n"))


def _marked(line: str) -> str:
    line = line.rstrip(" \t")
    left = len(line) - len(line.lstrip("="))
    right = len(line) - len(line.rstrip("="))
    count = min((left - 1) // 2 if left == len(line) else min(left, right), 6)
    return f"{HEADING}{line[count : len(line) - count].strip()}" if count else line


def without_apostrophes(line: str) -> str:
    """`line` without the apostrophes that make bold and italics, as MediaWiki's `doQuotes` counts them.

    Runs of four give one apostrophe, of more than five all but five. Where bold and italics are both left open, one
    run of three gives an apostrophe: the one after a one-letter word, else after a longer word, else after a blank.
    """
    runs = [(found.start(), found.end()) for found in _APOSTROPHES.finditer(line)]
    if not runs:
        return line
    sizes = [{4: 3}.get(end - start, min(end - start, 5)) for start, end in runs]
    extra = [end - start - size for (start, end), size in zip(runs, sizes, strict=True)]
    bold = sum(size in (3, 5) for size in sizes)
    italic = sum(size in (2, 5) for size in sizes)
    if bold % 2 and italic % 2:
        first: dict[int, int] = {}
        for index, (start, _) in enumerate(runs):
            if sizes[index] == 3:
                before, before_that = line[start - 1 : start], line[start - 2 : start - 1] if start > 1 else ""
                rank = 2 if before == " " else 0 if before_that == " " else 1
                first.setdefault(rank, index)
        if first:
            extra[first[min(first)]] += 1
    out: list[str] = []
    at = 0
    for (start, end), kept in zip(runs, extra, strict=True):
        out.append(line[at:start] + "'" * kept)
        at = end
    return "".join(out) + line[at:]


def paragraphs(text: str) -> str:
    """`text` as blocks with a blank line between, each line a paragraph, a list item, a sub-heading or code.

    Lines of one paragraph are joined by a blank, as they are shown. List items keep `*` and `#` as often as they are
    nested, then a blank; indents (`:`) are dropped, `; term : definition` reads `term: definition`. A line with
    nothing left on it ends a paragraph, an item with nothing left is dropped. Lines that begin with a blank stand
    alone. Lines that begin with a bar are dropped: they belong to a table or template that does not begin or end here.
    """
    blocks: list[list[list[str]]] = [[]]  # blocks of lines of pieces that are joined by a blank
    open_paragraph = False
    for line in text.split("\n"):
        dropped = line.startswith("|") or _is_bare_hatnote(line)
        shown = REMOVED if dropped else without_apostrophes(line).replace(SEAM, "")
        rule = _RULE.match(shown)
        if rule is not None:
            blocks.append([])
            open_paragraph = False
            shown = shown[rule.end() :]
        if not shown.strip(_NOTHING):
            blocks.append([])
            open_paragraph = False
        elif shown.startswith(HEADING):
            blocks.extend(([[shown]], []))
            open_paragraph = False
        elif (item := _LIST.match(shown)) is not None:
            text_of_item = shown[item.end() :].strip()
            if text_of_item.strip(_NOTHING):
                blocks[-1].append([_list_item(item[0], text_of_item)])
            open_paragraph = False
        elif open_paragraph and not shown.startswith(" "):
            blocks[-1][-1].append(shown)
        else:
            blocks[-1].append([shown])
            open_paragraph = not shown.startswith(" ")
    joined = ("\n".join(" ".join(pieces) for pieces in block) for block in blocks if block)
    return "\n\n".join(joined).replace(HEADING, "")


def _is_bare_hatnote(line: str) -> bool:
    """Whether an indented line, all in italics, points to another article as hatnotes did before templates."""
    return line.startswith(":") and line.rstrip(" .").endswith("''") and _BARE_HATNOTE.match(line) is not None


def _list_item(marker: str, text: str) -> str:
    """A list item as a line: its bullets or numbers, then its text."""
    if marker.endswith(":"):
        return text
    if marker.endswith(";"):
        term, *definition = _COLON.split(text, maxsplit=1)
        return ": ".join([term.strip(), *(value.strip() for value in definition)])
    return f"{marker.replace(':', '').replace(';', '')} {text}"
