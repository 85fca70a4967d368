"""Span miner: what a worker process does with one span of a dump file. Decode, look, parse the few, clean the kept.

Here belongs the order of work on decoded bytes, and what a span tells the one who puts spans together (`joining`).
What a page is by a quick look is `dumps.page_scan`, whether it may have a matching heading `wikitext.candidates`,
what its sections are `stages.sections`; none of it is decided here.
"""

import io
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress, groupby
from operator import itemgetter, lt
from time import perf_counter

from valbench_dagster.dumps.bzip2_decoder import Decoder
from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.elements import Page, sha1_base36
from valbench_dagster.dumps.page_scan import Between, PageScan, RawPage, Stretch
from valbench_dagster.dumps.pages import read_export
from valbench_dagster.dumps.plain_pages import read_plain
from valbench_dagster.dumps.span_checks import Damage, SpanEnd
from valbench_dagster.dumps.span_reader import SpanReader
from valbench_dagster.dumps.spans import Span
from valbench_dagster.mining.watch import Lost, Watch
from valbench_dagster.records import Section, SectionDrop
from valbench_dagster.stages.sections import Limits, MinedPage, Site, ToText, mine_page, site_of
from valbench_dagster.wikitext.candidates import Candidates
from valbench_dagster.wikitext.link_names import LinkNames
from valbench_dagster.wikitext.patterns import Patterns
from valbench_dagster.wikitext.plain_text import ParserGaveUp, plain_text

CLOSING = b"</mediawiki>"
_PAGE_ID = re.compile(rb"<id>\s*(\d+)\s*</id>")


@dataclass(frozen=True, slots=True)
class Rules:
    """What sections are mined by: equal for every span of a snapshot."""

    snapshot: str
    patterns: Patterns
    limits: Limits = field(default_factory=Limits)
    to_text: ToText = plain_text
    """Makes text of a section's wikitext; called under the watch of the pool."""
    decoder: Decoder = "auto"


@dataclass(frozen=True, slots=True)
class SpanTask:
    """One span to mine, or whole pages out of two spans (`pages`)."""

    span: Span
    header: bytes
    """The file's XML before its first page."""
    rules: Rules
    after_page_id: int = -1
    """Pages must have ids above this, and ascend, unless they may stand in any order (`seen`)."""
    seen: frozenset[int] | None = None
    """Pages that were read before; null where ids must ascend."""
    pages: bytes | None = None
    """XML that is mined in place of the span's: a page that begins in one span and ends in another."""
    with_ids: bool = False
    """Whether to list the ids of all pages."""

    def __repr__(self) -> str:
        """Name the span: what a failed task is called by."""
        return f"{self.span.path.name}, bytes {self.span.start} to {self.span.stop}"


@dataclass(frozen=True, slots=True)
class SpanDamage:
    """One place of a span that could not be read."""

    kind: str
    offset: int
    detail: str
    after_page_id: int | None
    before_page_id: int | None


@dataclass(slots=True)
class MinedSpan:
    """What became of a span's pages; `head` and `tail`, as of `PageScan`, belong to pages that begin or end in another
    span."""

    reasons: Counter[str] = field(default_factory=Counter)
    sections: list[Section] = field(default_factory=list)
    drops: list[SectionDrop] = field(default_factory=list)
    damages: list[SpanDamage] = field(default_factory=list)
    ids: "array[int] | None" = None
    first_page_id: int | None = None
    last_page_id: int | None = None
    head: bytes = b""
    tail: bytes = b""
    head_torn: bool = False
    tail_torn: bool = False
    found_page: bool = False
    end: SpanEnd | None = None
    xml_bytes: int = 0
    sha1_compared: int = 0
    sha1_differing: int = 0
    lost_texts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """Where the worker's time went: `decode`, `look`, `parse` and `clean`."""


def mine_span(task: SpanTask, watch: Watch, lost: tuple[Lost, ...]) -> MinedSpan:
    """Mine one span; sections that the pool has `lost` are not cleaned again but dropped, with its reason."""
    return _Miner(task, watch, {(each.page_id, each.heading_index): each.detail for each in lost}).mine()


@lru_cache(maxsize=4)
def _site(header: bytes, snapshot: str) -> Site:
    with read_export(io.BytesIO(header + CLOSING), "siteinfo") as export:
        return site_of(export.site, snapshot)


@lru_cache(maxsize=4)
def _candidates(patterns: Patterns, names_of: bytes, snapshot: str) -> Candidates:
    return Candidates(patterns, _site(names_of, snapshot).names)


class _Miner:
    def __init__(self, task: SpanTask, watch: Watch, lost: dict[tuple[int, int], str]) -> None:
        self._task, self._watch, self._lost = task, watch, lost
        self._rules = task.rules
        self._site = _site(task.header, task.rules.snapshot)
        self._candidates = _candidates(task.rules.patterns, task.header, task.rules.snapshot)
        self._result = MinedSpan(ids=array("q") if task.with_ids else None)
        self._last = task.after_page_id
        self._seen = None if task.seen is None else set(task.seen)
        self._misplaced_after: int | None = None
        self._pending: list[int] = []  # damages that wait for the next page's id
        self._page_id, self._sections_of_page = 0, 0
        self._spent = {"decode": 0.0, "look": 0.0, "parse": 0.0, "clean": 0.0}

    def mine(self) -> MinedSpan:
        result, began, scan = self._result, perf_counter(), PageScan()
        reader = None if self._task.pages is not None else SpanReader(self._task.span, self._rules.decoder)
        chunks: Iterator[bytes | Damage] = iter([self._task.pages or b""] if reader is None else reader)
        for part in scan.scan(self._timed(chunks)):
            if isinstance(part, Stretch):
                self._stretch(part)
            elif isinstance(part, Damage):
                self._damage(part.kind, part.offset, part.detail)
            else:
                self._between(part)
        result.head, result.tail, result.found_page = scan.head, scan.tail, scan.found_page
        result.head_torn, result.tail_torn = scan.head_torn, scan.tail_torn
        result.xml_bytes, result.end = (scan.xml_bytes, reader.end) if reader else (0, None)
        spent = self._spent
        spent["look"] = perf_counter() - began - spent["decode"] - spent["parse"] - spent["clean"]
        result.seconds = spent
        return result

    def _timed(self, chunks: Iterator[bytes | Damage]) -> Iterator[bytes | Damage]:
        while True:
            began = perf_counter()
            chunk = next(chunks, None)
            self._spent["decode"] += perf_counter() - began
            if chunk is None:
                return
            yield chunk

    def _stretch(self, stretch: Stretch) -> None:
        """Count the pages of a stretch, and mine those that the quick look leaves open."""
        places = self._candidates.places(stretch.xml)
        wanted, at = [], 0
        for page in stretch.pages:
            while at < len(places) and places[at] < page.start:
                at += 1
            hit = at < len(places) and places[at] < page.end
            hit = hit or self._candidates.opens(stretch.xml, page.text_start)
            wanted.append(page.kind == "unknown" or (hit and page.kind == "text"))
        began, cleaned = perf_counter(), self._spent["clean"]
        parsed = self._parsed(stretch, list(compress(stretch.pages, wanted)))
        for want, run in groupby(zip(wanted, stretch.pages, strict=True), key=itemgetter(0)):
            pages = [page for _, page in run]
            if not want:
                self._take_plain(pages)
            else:
                for raw in pages:
                    self._take_parsed(next(parsed), raw, stretch.xml)
        self._spent["parse"] += perf_counter() - began - (self._spent["clean"] - cleaned)

    def _parsed(self, stretch: Stretch, wanted: Sequence[RawPage]) -> Iterator[Page | DumpError | None]:
        """Read pages the exact way; gives the error in place of one that is malformed, null for one without revision.

        The parser reads each in a document of its own, so that none can spoil another.
        """
        for raw in wanted:
            if (plain := read_plain(stretch.xml, raw)) is not None:
                yield plain
                continue
            document = self._task.header + stretch.xml[raw.start : raw.end] + CLOSING
            try:
                with read_export(io.BytesIO(document), "page") as export:
                    yield next(iter(export), None)
            except DumpError as error:
                yield error

    def _take_parsed(self, page: Page | DumpError | None, raw: RawPage, xml: bytes) -> None:
        result = self._result
        if isinstance(page, DumpError):
            page_id = _PAGE_ID.search(xml, raw.start, raw.end)
            which = f"page {page_id[1].decode()}" if page_id else "a page without an id"
            why = str(page.__cause__ or page).partition(": line ")[0]  # of a document that holds this page alone
            self._damage("malformed", self._task.span.start, f"{which} is no well-formed XML: {why}")
            return
        if page is None:  # it has no revision: all that is known of it is its id
            page_id = _PAGE_ID.search(xml, raw.start, raw.end)
            if page_id is None or self._in_order(int(page_id[1])):
                result.reasons["empty_or_hidden"] += 1
            return
        if not self._in_order(page.page_id):
            return
        self._page_id, self._sections_of_page = page.page_id, 0
        mined = mine_page(
            page, self._site, self._rules.patterns, self._rules.limits, self._rules.snapshot, self._to_text
        )
        self._count(mined)
        result.lost_texts += page.text == "" and (page.text_bytes or 0) > 0
        if mined.sections and page.sha1 and page.text is not None:
            result.sha1_compared += 1
            result.sha1_differing += sha1_base36(page.text) != page.sha1

    def _take_plain(self, pages: Sequence[RawPage]) -> None:
        """Count pages that the quick look has settled: all at once where their ids ascend, as they nearly always do."""
        ids = [page.page_id for page in pages]
        if self._seen is None and not self._pending and all(map(lt, [self._last, *ids], ids)):
            self._last = self._result.last_page_id = ids[-1]
            if self._result.first_page_id is None:
                self._result.first_page_id = ids[0]
            if self._result.ids is not None:
                self._result.ids.extend(ids)
        else:
            pages = [page for page in pages if self._in_order(page.page_id)]
        for kind, count in Counter(page.kind for page in pages).items():
            self._result.reasons["no_matching_heading" if kind == "text" else kind] += count
        self._result.lost_texts += sum(page.lost_text for page in pages)

    def _count(self, mined: MinedPage) -> None:
        self._result.reasons[mined.reason] += 1
        self._result.sections += mined.sections
        self._result.drops += mined.drops

    def _in_order(self, page_id: int) -> bool:
        """Take notice of a page's id; false, and damage, where it does not ascend: it is there twice or misplaced.

        Where pages may stand in any order, it is false for those that are there twice only.
        """
        result, seen = self._result, self._seen
        if page_id <= self._last if seen is None else page_id in seen:
            if self._misplaced_after != self._last:  # else it is one more of those that were told
                self._misplaced_after = self._last
                wanted = "ids to ascend" if seen is None else "each page once"
                detail = f"page {page_id} stands after page {self._last}; expected {wanted}"
                self._damage("out_of_order", self._task.span.start, detail)
            return False
        for place in self._pending:
            damage = result.damages[place]
            result.damages[place] = SpanDamage(
                damage.kind, damage.offset, damage.detail, damage.after_page_id, before_page_id=page_id
            )
        self._pending = []
        if seen is not None:
            seen.add(page_id)
        self._last = page_id
        result.first_page_id = page_id if result.first_page_id is None else result.first_page_id
        result.last_page_id = page_id
        if result.ids is not None:
            result.ids.append(page_id)
        return True

    def _between(self, between: Between) -> None:
        shown = between.xml.strip()[:60]
        self._damage("malformed", self._task.span.start, f"expected <page> after </page>, found {shown!r}")

    def _damage(self, kind: str, offset: int, detail: str) -> None:
        self._pending.append(len(self._result.damages))
        self._result.damages.append(SpanDamage(kind, offset, detail, self._result.last_page_id, None))

    def _to_text(self, wikitext: str, names: LinkNames) -> str:
        """Clean a section under the watch; `Lost` names it by its place among those of its page that were tried."""
        self._sections_of_page += 1
        place = self._page_id, self._sections_of_page
        if place in self._lost:
            raise ParserGaveUp(self._lost[place])
        began = perf_counter()
        try:
            with self._watch.section(*place):
                return self._rules.to_text(wikitext, names)
        finally:
            self._spent["clean"] += perf_counter() - began
