"""Sections: from one page to its candidate sections, and what became of every page and section.

Here belong which pages are looked into, which sections are cut out of them and how, and the counting. What is a
heading and what a reader sees are `wikitext`; where pages come from is `dumps`.

A page is counted under the first of `PAGE_REASONS` that holds. `kept` there says that a heading of the page matched:
what became of each such section is counted for itself, under one of `SECTION_REASONS`, so that a page whose only
candidate was too short is a kept page with a dropped section. The sections `cut` are kept too, only shorter.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from valbench_dagster.dumps.pages import Page, SiteInfo
from valbench_dagster.identity import identify, text_hash
from valbench_dagster.records import Section, SectionDrop
from valbench_dagster.wikitext.headings import Heading, headings, section_end
from valbench_dagster.wikitext.patterns import Patterns
from valbench_dagster.wikitext.plain_text import LinkNames, ParserGaveUp, link_names, plain_text
from valbench_dagster.wikitext.wikis import host_of

PAGE_REASONS = (
    *("other_namespace", "redirect", "other_content_model", "empty_or_hidden", "no_matching_heading", "kept"),
)
SECTION_REASONS = ("too_short", "cut", "parser_gave_up", "no_text_left", "kept")

ToText = Callable[[str, LinkNames], str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on the plain text of a section, in characters."""

    min_chars: int = 200
    """About two sentences of English. What is shorter names a quarrel at most (a pointer to another article, a
    stub): the two positions that an annotator looks for do not fit in."""
    max_chars: int = 20_000
    """About 5,000 tokens, so that a section fits the prompt of any model and one page cannot fill a file. What stands
    beyond it is further detail of what a section opens with."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the sections of a wiki share."""

    wiki: str
    """Database name."""
    host: str
    names: LinkNames


@dataclass(frozen=True, slots=True)
class MinedPage:
    """What became of one page: its reason, its kept sections, a row for each that was dropped or cut."""

    reason: str
    sections: tuple[Section, ...] = ()
    drops: tuple[SectionDrop, ...] = ()


def site_of(info: SiteInfo, snapshot: str) -> Site:
    """Know the wiki of a dump: by what its siteinfo says, else by the snapshot key (`{wiki}-{YYYYMMDD}`).

    Raises `ValueError` where neither tells the wiki's host.
    """
    wiki = info.dbname or snapshot.rpartition("-")[0]
    host = (urlsplit(info.base).hostname if info.base else None) or host_of(wiki)
    if host is None:
        raise ValueError(
            f"nothing tells the host of the wiki {wiki!r} of snapshot {snapshot!r}: its name is none of Wikimedia's, "
            f"and siteinfo has the base {info.base!r}; give the dump a siteinfo whose <base> is the address of the "
            "wiki's main page"
        )
    return Site(wiki, host, link_names(info.namespaces))


def revision_url(site: Site, revision_id: int) -> str:
    """Give the permanent address of a revision (wikipedia.md, section 3)."""
    return f"https://{site.host}/w/index.php?oldid={revision_id}"


def mine_page(
    page: Page, site: Site, patterns: Patterns, limits: Limits, snapshot: str, to_text: ToText = plain_text
) -> MinedPage:
    """Find the candidate sections of a page: every section whose heading matches, with all that is under it.

    A match inside a section that was taken is part of that section, not one of its own; only where the parser gave up
    on the outer one are those inside tried for themselves. `to_text` makes plain text of a section's wikitext or
    raises `ParserGaveUp`.
    """
    if page.namespace != 0:
        return MinedPage("other_namespace")
    if page.redirect:
        return MinedPage("redirect")
    if page.model != "wikitext":
        return MinedPage("other_content_model")
    if not page.text or page.text.isspace():
        return MinedPage("empty_or_hidden")
    return _Miner(page, page.text, site, limits, snapshot, to_text).mine(patterns)


@dataclass(slots=True)
class _Miner:
    """The candidate sections of one page, gathered one by one."""

    page: Page
    wikitext: str
    site: Site
    limits: Limits
    snapshot: str
    to_text: ToText
    kept: list[Section] = field(default_factory=list)
    drops: list[SectionDrop] = field(default_factory=list)
    equals: Counter[tuple[tuple[str, ...], str]] = field(default_factory=Counter)

    def mine(self, patterns: Patterns) -> MinedPage:
        found = headings(self.wikitext, self.site.names)
        taken_to = 0
        matched = False
        for i, path in heading_paths(found):
            heading = found[i]
            if heading.start < taken_to or (pattern := patterns.match(heading.title)) is None:
                continue
            matched = True
            end = section_end(found, i, len(self.wikitext))
            if self.take(heading, path, pattern, self.wikitext[heading.body_start : end]):
                taken_to = end
        if not matched:
            return MinedPage("no_matching_heading")
        return MinedPage("kept", tuple(self.kept), tuple(self.drops))

    def take(self, heading: Heading, path: tuple[str, ...], pattern: str, wikitext: str) -> bool:
        """Keep the section or write down why not; false where the parser gave up on it."""
        try:
            text = self.to_text(wikitext, self.site.names)
        except ParserGaveUp as error:
            self.drop(heading, "parser_gave_up", f"{error}; {len(wikitext)} characters of wikitext")
            return False
        length = len(text)
        if not text.strip():
            self.drop(heading, "no_text_left", f"{len(wikitext)} characters of wikitext show no text")
        elif length < self.limits.min_chars:
            self.drop(heading, "too_short", f"{length} characters; at least {self.limits.min_chars} are wanted")
        else:
            if length > self.limits.max_chars:
                text = _cut_at_paragraph(text, self.limits.max_chars)
                self.drop(heading, "cut", f"{length} characters, of which the first {len(text)} are kept")
            self.keep(heading, path, pattern, text, cut=len(text) < length)
        return True

    def keep(self, heading: Heading, path: tuple[str, ...], pattern: str, text: str, *, cut: bool) -> None:
        page, wiki, name = self.page, self.site.wiki, text_hash(text)
        ordinal = self.equals[path, name]
        self.equals[path, name] += 1
        self.kept.append(
            Section(
                snapshot=self.snapshot,
                section_id=identify("section", [wiki, page.page_id, path, name, ordinal]),
                wiki=wiki,
                page_id=page.page_id,
                heading_index=heading.index,
                revision_id=page.revision_id,
                revision_time=page.revision_time,
                title=page.title,
                heading_path=path,
                level=heading.level,
                pattern=pattern,
                text=text,
                text_hash=name,
                ordinal=ordinal,
                cut=cut,
                url=revision_url(self.site, page.revision_id),
            )
        )

    def drop(self, heading: Heading, reason: str, detail: str) -> None:
        page = self.page
        self.drops.append(
            SectionDrop(
                snapshot=self.snapshot,
                unit="section",
                reason=reason,
                counted=1,
                page_id=page.page_id,
                revision_id=page.revision_id,
                title=page.title,
                heading_index=heading.index,
                heading=heading.title,
                detail=detail,
            )
        )


def heading_paths(found: Sequence[Heading]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each heading's place with the titles from the outermost heading it stands under to its own."""
    above: list[Heading] = []
    for i, heading in enumerate(found):
        while above and above[-1].level >= heading.level:
            above.pop()
        above.append(heading)
        yield i, tuple(outer.title for outer in above)


def _cut_at_paragraph(text: str, limit: int) -> str:
    """The longest beginning of `text` within `limit` that ends with a line.

    Where that would leave less than half of the limit, it ends with a word, and where there is no blank either, at
    the limit.
    """
    for separator in ("\n", " "):
        end = text.rfind(separator, 0, limit + 1)
        if 2 * end >= limit:
            return text[:end].rstrip()
    return text[:limit]


@dataclass(slots=True)
class Tally:
    """The counts of one snapshot, page by page; keeps a row for each section dropped or cut and nothing else."""

    snapshot: str
    pages: Counter[str] = field(default_factory=Counter)
    sections_kept: int = 0
    drops: list[SectionDrop] = field(default_factory=list)

    def add(self, mined: MinedPage) -> None:
        """Count one page with its sections."""
        self.pages[mined.reason] += 1
        self.sections_kept += sum(not section.cut for section in mined.sections)
        self.drops.extend(mined.drops)

    def add_without_revision(self, count: int) -> None:
        """Count pages of the dump that hold no revision at all: the reader does not give them out."""
        self.pages["empty_or_hidden"] += count

    def rows(self) -> list[SectionDrop]:
        """List what became of everything, sorted by key.

        One row a page reason, those that never occurred too: their counts add up to the pages read. One row counts
        the sections kept whole, and each other section has a row of its own: together every candidate section.
        """
        counts = [("page", reason, self.pages[reason]) for reason in PAGE_REASONS]
        counts.append(("section", "kept", self.sections_kept))
        rows = [
            SectionDrop(self.snapshot, unit, reason, counted, None, None, None, None, None, None)
            for unit, reason, counted in counts
        ]
        return sorted(
            [*rows, *self.drops],
            key=lambda row: (row.unit, row.reason, row.page_id or 0, row.heading_index or 0),
        )
