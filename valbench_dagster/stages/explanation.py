"""Explanation: one page to what became of it and of each of its headings, and why.

Here belongs telling, for people, what `sections` decided. No rule stands here: the page is mined by `mine_page`, every
text that it asked for is listened to, and what it kept and dropped is read off; so an explanation cannot disagree with
mining. How it looks on a terminal is `report`; finding the page in a file is `steps`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from valbench_dagster.dumps.pages import Page
from valbench_dagster.records import SectionDrop
from valbench_dagster.stages.sections import (
    SECTION_REASONS,
    Limits,
    MinedPage,
    Site,
    ToText,
    heading_paths,
    mine_page,
    revision_url,
)
from valbench_dagster.wikitext.headings import headings, section_end
from valbench_dagster.wikitext.patterns import Patterns
from valbench_dagster.wikitext.plain_text import LinkNames, plain_text

STATUSES = (*SECTION_REASONS, "inside", "no_pattern")
"""What can become of a heading: of those that mining looked at, and of the others."""

BECAME = {
    "cut": "kept, cut",
    "no_text_left": "no text left",
    "parser_gave_up": "parser gave up",
    "too_short": "too short",
    "no_pattern": "no pattern",
}
"""Statuses in words, where the words are others."""

_READ = ("no_matching_heading", "kept")  # the page reasons that its headings decide
_TARGET = re.compile(r"\[\[[ _:]*([^\[\]{}|#\n]+)")


@dataclass(frozen=True, slots=True)
class HeadingExplanation:
    """What became of one heading."""

    index: int
    """Place among the headings of the page, from 1."""
    level: int
    """1 to 6."""
    title: str
    """As a reader sees it."""
    path: tuple[str, ...]
    """Titles from the outermost heading it stands under to its own."""
    pattern: str | None
    """The first pattern found in the title, whatever became of the section; null where none is."""
    status: str
    """One of `STATUSES`. `kept`; `cut` (kept, the beginning only); `too_short`, `no_text_left`, `parser_gave_up`:
    dropped; `inside`: part of a section that was taken, whatever became of that one; `no_pattern`."""
    inside: int | None
    """For `inside`: the index of the heading whose section it is part of; else null."""
    why: str
    """A sentence."""
    wikitext: str | None
    """All that stands under the heading, for the sections that were looked at; null for `inside` and `no_pattern`."""
    wikitext_chars: int
    """Characters of wikitext under the heading, for every status."""
    text: str | None
    """Plain text, cut where it was cut; null where there is no wikitext and where the parser gave up."""
    text_chars: int | None
    """Characters of the plain text before it was cut; null where `text` is."""
    section_id: str | None
    """Id of the section where it is kept, cut or not; else null."""


@dataclass(frozen=True, slots=True)
class PageExplanation:
    """What became of one page; its fields are the keys of `valbench explain --json`."""

    wiki: str
    """Database name, as the ids of sections have it."""
    language: str
    """Language of the patterns that were tried."""
    patterns: int
    """How many were tried."""
    min_chars: int
    max_chars: int
    """The bounds on a section's plain text, in characters."""
    title: str
    page_id: int
    namespace: int
    model: str
    """Content model."""
    revision_id: int
    revision_time: str
    """ISO 8601, UTC, as written in the export."""
    url: str
    """Permanent link to the revision."""
    reason: str
    """One of `sections.PAGE_REASONS`; `kept` says that a heading matched, not that a section was kept."""
    why: str
    """A sentence."""
    headings: tuple[HeadingExplanation, ...]
    """Every heading in order; none where the page was not looked into."""


def explain_page(
    page: Page, site: Site, patterns: Patterns, limits: Limits, snapshot: str, to_text: ToText = plain_text
) -> PageExplanation:
    """Mine a page and say what became of it; takes what `mine_page` takes."""
    looked_at: list[tuple[str, str | None]] = []  # wikitext and text, null where the parser gave up

    def listening(wikitext: str, names: LinkNames) -> str:
        text = None
        try:
            text = to_text(wikitext, names)
        finally:
            looked_at.append((wikitext, text))
        return text

    mined = mine_page(page, site, patterns, limits, snapshot, listening)
    explained: tuple[HeadingExplanation, ...] = ()
    if page.text is not None and mined.reason in _READ:
        explained = tuple(_headings(page.text, site, patterns, mined, looked_at))
    return PageExplanation(
        wiki=site.wiki,
        language=patterns.language,
        patterns=len(patterns.compiled),
        min_chars=limits.min_chars,
        max_chars=limits.max_chars,
        title=page.title,
        page_id=page.page_id,
        namespace=page.namespace,
        model=page.model,
        revision_id=page.revision_id,
        revision_time=page.revision_time,
        url=revision_url(site, page.revision_id),
        reason=mined.reason,
        why=_why_page(page, mined, explained, patterns),
        headings=explained,
    )


def _headings(
    wikitext: str, site: Site, patterns: Patterns, mined: MinedPage, looked_at: Sequence[tuple[str, str | None]]
) -> Iterator[HeadingExplanation]:
    sections = {section.heading_index: section for section in mined.sections}
    drops = {drop.heading_index: drop for drop in mined.drops if drop.heading_index is not None}
    # Each section that mining looks at, in the order of the page, leaves a section, a drop, or, where cut, both.
    looks = dict(zip(sorted(sections.keys() | drops.keys()), looked_at, strict=True))
    found = headings(wikitext, site.names)
    taken: HeadingExplanation | None = None  # the last section that was taken
    taken_to = 0
    for i, path in heading_paths(found):
        heading, pattern = found[i], patterns.match(found[i].title)
        end = section_end(found, i, len(wikitext))
        section, drop = sections.get(heading.index), drops.get(heading.index)
        source, text = looks.get(heading.index, (None, None))
        around = taken if heading.start < taken_to else None
        if drop is not None:
            status, why = drop.reason, _why_not_whole(drop, pattern)
        elif section is not None:
            status, why = "kept", f"Matches {pattern}; all {len(section.text)} characters of its text are kept."
        elif around is not None:
            status, why = "inside", _why_inside(around, pattern)
        else:
            status = "no_pattern"
            why = f"None of the {len(patterns.compiled)} patterns of {patterns.language!r} is found in it."
        explained = HeadingExplanation(
            index=heading.index,
            level=heading.level,
            title=heading.title,
            path=path,
            pattern=pattern,
            status=status,
            inside=around.index if around else None,
            why=why,
            wikitext=source,
            wikitext_chars=end - heading.body_start,
            text=section.text if section else text,
            text_chars=None if text is None else len(text),
            section_id=section.section_id if section else None,
        )
        if text is not None:
            taken, taken_to = explained, end
        yield explained


def _why_not_whole(drop: SectionDrop, pattern: str | None) -> str:
    if drop.reason == "cut":
        return f"Matches {pattern}; {drop.detail}."
    rest = " Matching headings inside it are looked at for themselves." if drop.reason == "parser_gave_up" else ""
    return f"Matches {pattern}, but is dropped: {drop.detail}.{rest}"


def _why_inside(around: HeadingExplanation, pattern: str | None) -> str:
    where = f"heading {around.index}, {around.title!r} ({BECAME.get(around.status, around.status)})"
    if pattern is None:
        return f"Is part of the section of {where}."
    return f"Matches {pattern}, but is part of the section of {where}, not one of its own."


def _why_page(page: Page, mined: MinedPage, explained: Sequence[HeadingExplanation], patterns: Patterns) -> str:
    if mined.reason == "other_namespace":
        return f"It stands in namespace {page.namespace}; only articles, namespace 0, are looked into."
    if mined.reason == "redirect":
        target = _TARGET.search(page.text or "")
        leads = f" to {target[1].strip()!r}" if target else ""
        return f"It is a redirect{leads} and has no text of its own; what it leads to is a page for itself."
    if mined.reason == "other_content_model":
        return f"Its content model is {page.model!r}; only wikitext is looked into."
    if mined.reason == "empty_or_hidden":
        lost = f", although its length is given as {page.text_bytes} bytes" if (page.text_bytes or 0) > 0 else ""
        return f"Its text is {'hidden or absent' if page.text is None else 'empty'}{lost}."
    count = f"{len(explained)} heading{'s' * (len(explained) != 1)}"
    tried = f"the {len(patterns.compiled)} patterns of {patterns.language!r}"
    if mined.reason == "no_matching_heading":
        return f"None of its {count} matches any of {tried}." if explained else "It has no heading."
    matching = sum(heading.pattern is not None for heading in explained)
    return (
        f"{matching} of its {count} match{'es' * (matching == 1)} one of {tried}; sections kept: {len(mined.sections)}."
    )
