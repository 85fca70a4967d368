"""A plain miner: which sections of a dump are candidates, found the slow way, to compare others with.

It shares no code with the package: bzip2 and XML are the standard library's, and a heading is what is left for a
regular expression when other regular expressions have blanked what is no page text. What it does not know of
MediaWiki's rules (links that shadow braces, equals that begin a line inside of them) does not occur in real dumps often
enough to matter; where a miner differs from this one, one of the two is wrong.
"""

import bz2
import html
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REASONS = ("other_namespace", "redirect", "other_content_model", "empty_or_hidden", "no_matching_heading", "kept")
"""What becomes of a page: the first that holds."""


@dataclass(frozen=True, slots=True)
class PlainHeading:
    """A heading; offsets count characters of the page's wikitext."""

    index: int
    level: int
    title: str
    start: int
    body_start: int


@dataclass(frozen=True, slots=True)
class PlainSection:
    """A candidate section: its wikitext is `page[start:end]`, its heading line left out."""

    page_id: int
    page_title: str
    heading_index: int
    """Place among the headings of the page, from 1."""
    heading_path: tuple[str, ...]
    """Titles from the outermost heading it stands under to its own."""
    start: int
    end: int
    wikitext: str


@dataclass(frozen=True, slots=True)
class PlainResult:
    """What is in a dump: its candidate sections in order, and how many pages there are for each of `REASONS`."""

    sections: tuple[PlainSection, ...]
    reasons: Mapping[str, int]
    whole: bool
    """False where the file ends before `</mediawiki>`, or is damaged: then the pages before that place are counted."""

    @property
    def pages(self) -> int:
        return sum(self.reasons.values())


def mine_plainly(path: Path, patterns: Sequence[str]) -> PlainResult:
    """Find the candidate sections of the dump at `path` (`.xml` or `.xml.bz2`): those with a heading that matches one
    of the regular expressions `patterns` (case ignored, found anywhere in the title as it is shown).

    Only pages of namespace 0 that are no redirects and hold wikitext. A section has all that is under it, and a match
    inside a section that was taken counts for nothing.
    """
    found: list[PlainSection] = []
    reasons = Counter(dict.fromkeys(REASONS, 0))
    reader = _Reader()
    for page_id, title, reason, text in reader.pages(path):
        sections = [] if reason else list(_candidates(page_id, title, text, patterns))
        reasons[reason or ("kept" if sections else "no_matching_heading")] += 1
        found += sections
    return PlainResult(tuple(found), dict(reasons), reader.whole)


def _candidates(page_id: int, page_title: str, text: str, patterns: Sequence[str]) -> Iterator[PlainSection]:
    headings = plain_headings(text)
    path: list[PlainHeading] = []
    taken_to = 0
    for place, heading in enumerate(headings):
        path = [*(above for above in path if above.level < heading.level), heading]
        if heading.start < taken_to or not any(re.search(one, heading.title, re.IGNORECASE) for one in patterns):
            continue
        ends = [later.start for later in headings[place + 1 :] if later.level <= heading.level]
        taken_to = ends[0] if ends else len(text)
        titles = tuple(above.title for above in path)
        body = text[heading.body_start : taken_to]
        yield PlainSection(page_id, page_title, heading.index, titles, heading.body_start, taken_to, body)


# Headings.

_TAGS = (
    "nowiki|pre|gallery|indicator|langconvert|ref|references|math|chem|ce|syntaxhighlight|source|poem|score|timeline"
    "|templatestyles|templatedata|imagemap|inputbox|hiero|graph|chart|mapframe|maplink|categorytree|charinsert|section"
    "|dynamicpagelist|languages|phonos|quiz|rss|seo|embedvideo|listen|talkpage|thread"
)
_NO_PAGE_TEXT = re.compile(
    r"(?P<gone><!--.*?(?:-->|\Z)"
    r"|</?(?:noinclude|onlyinclude)(?=[\s/>])[^>]*>"
    r"|<includeonly(?=[\s/>])(?:[^>]*/>|[^>]*>.*?(?:</includeonly\s*>|\Z)))"
    rf"|<(?P<tag>{_TAGS})(?=[\s/>])(?:[^>]*/>|[^>]*>.*?</(?P=tag)\s*>)",
    re.DOTALL | re.IGNORECASE,
)
_INNERMOST_BRACES = re.compile(r"\{\{(?:(?!\{\{|\}\}).)*\}\}", re.DOTALL)
_SWITCH = re.compile(r"__(?!TOC__)[A-Z]+__")
_GONE, _SOMETHING = "\ue000", "\ue001"  # private characters, which stand for nothing and for something that is shown


def plain_headings(text: str) -> list[PlainHeading]:
    """The headings of a page as a reader sees them, in order."""
    blanked = _NO_PAGE_TEXT.sub(lambda found: _filled(found[0], _GONE if found["gone"] else _SOMETHING), text)
    before = ""
    while before != blanked:
        before, blanked = blanked, _INNERMOST_BRACES.sub(lambda found: _filled(found[0], _SOMETHING), blanked)
    headings: list[PlainHeading] = []
    start = 0
    for line in blanked.split("\n"):
        body_start = min(start + len(line) + 1, len(text))
        for level in (6, 5, 4, 3, 2, 1):
            equals = "=" * level
            found = re.match(f"{equals}(.+){equals}[ \t]*$", _SWITCH.sub("", line.replace(_GONE, "")))
            if found is not None:
                headings.append(PlainHeading(len(headings) + 1, level, _title(found[1]), start, body_start))
                break
        start = body_start
    return headings


def _filled(piece: str, sign: str) -> str:
    """As many characters as `piece` has: `sign`, then nothing."""
    return sign + _GONE * (len(piece) - 1)


def _title(text: str) -> str:
    """The words of a title: links show their labels, styles and tags nothing."""
    text = re.sub(r"\[\[:?(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]", r"\1", text.replace(_SOMETHING, ""))
    text = re.sub(r"\[(?:https?:)?//\S+\s*([^\]]*)\]", r"\1", text)
    text = re.sub(r"</?[a-zA-Z][^<>]*>", "", re.sub(r"'{2,}", "", text))
    return " ".join(html.unescape(text).split())


# Pages.


class _Reader:
    """Reads pages one by one; `whole` says afterwards whether the file went on to its end."""

    def __init__(self) -> None:
        self.whole = False
        self._prefixes: set[str] = set()

    def pages(self, path: Path) -> Iterator[tuple[int, str, str | None, str]]:
        """Id, title, the reason why nothing is looked for in it, text."""
        with bz2.open(path) if path.suffix == ".bz2" else path.open("rb") as file:
            try:
                for _, element in ET.iterparse(file):  # noqa: S314 - the dumps of tests, which are trusted
                    name = element.tag.rpartition("}")[2]
                    if name == "namespaces":
                        self._prefixes = {one.text for one in element if one.text and one.get("key") != "0"}
                    elif name == "page":
                        yield self._page(element)
                        element.clear()
            except (ET.ParseError, EOFError):
                return
        self.whole = True

    def _page(self, page: ET.Element) -> tuple[int, str, str | None, str]:
        title = page.findtext("{*}title", "")
        revisions = page.findall("{*}revision")
        content = revisions[-1].find("{*}text") if revisions else None
        text = (content.text or "") if content is not None and content.get("deleted") is None else ""
        model = revisions[-1].findtext("{*}model", "wikitext") if revisions else "wikitext"
        number = page.findtext("{*}ns")
        other = int(number) != 0 if number else title.partition(":")[0] in self._prefixes
        redirect = page.find("{*}redirect") is not None or (
            number is None and re.match(r"\s*#REDIRECT\s*:?\s*\[\[", text, re.IGNORECASE) is not None
        )
        reason = None
        if not revisions or not text.strip():
            reason = "empty_or_hidden"
        if revisions and model != "wikitext":
            reason = "other_content_model"
        if revisions and redirect:
            reason = "redirect"
        if revisions and other:
            reason = "other_namespace"
        return int(page.findtext("{*}id", "")), title, reason, text
