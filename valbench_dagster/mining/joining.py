"""Joining: the mined spans of one dump file, in order, to what the file holds as a whole.

Here belongs what only shows between spans: a page that begins in one and ends in another, ids that must ascend over
them all, the end of the document, the index, the checksum of a stream. Whatever is wrong becomes a `DumpDamage`; what
to do about it is `mine`.
"""

from array import array
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.page_index import IndexedPages, index_of
from valbench_dagster.dumps.page_scan import PAGE, PAGE_END
from valbench_dagster.dumps.span_checks import SpanEnd, check_spans
from valbench_dagster.dumps.spans import Span
from valbench_dagster.mining.file_header import MOST_BETWEEN_PAGES
from valbench_dagster.mining.span_miner import CLOSING, MinedSpan, SpanDamage, SpanTask, mine_span
from valbench_dagster.mining.watch import Watch
from valbench_dagster.records import DumpDamage, MinedFile
from valbench_dagster.wikitext.link_names import LinkNames

MOST_NAMED = 20
"""Most lost pages that a damage names."""

_LOSING = frozenset({"corrupt", "cut_short", "malformed"})
"""Kinds of damage that can lose pages."""

Remine = Callable[[SpanTask], MinedSpan]


class _NeedsCleaningError(Exception):
    """A section was found in this process, in which none is ever cleaned."""


def _not_here(_wikitext: str, _names: LinkNames) -> str:
    raise _NeedsCleaningError


def _with_lost(damage: DumpDamage, page_ids: Sequence[int]) -> DumpDamage:
    """Count lost pages at a damage, and name the first of them."""
    already = damage.missing_pages or 0
    names = [str(page_id) for page_id in page_ids][: max(0, MOST_NAMED - already)]
    joint = ", " if already else "; lost by the index: page "
    detail = f"{damage.detail}{joint}{', '.join(names)}" if names else damage.detail
    return replace(damage, missing_pages=already + len(page_ids), detail=detail)


@dataclass
class FileJoin:
    """One file: give it the results of its spans in order (`add`), then `finish`."""

    path: Path
    part: int
    header: bytes
    snapshot: str
    remine: Remine
    last_page_id: int
    """Last page of the files before, -1 where this is the first; afterwards the last page of this one."""
    seen: set[int] | None = None
    """Pages of the files before, then of this one too, where pages may stand in any order; null where ids ascend."""

    def __post_init__(self) -> None:
        self._index_path = index_of(self.path)
        self._index = IndexedPages(self._index_path) if self._index_path else None
        # XML that belongs to no whole page yet: of which span it is the tail, and whether its beginning is torn.
        self._carry, self._torn = b"", False
        self._carried_from: Span | None = None
        self._begun = self._closed = False
        self._ends: list[SpanEnd] = []
        self._counts: Counter[str] = Counter()
        self._range: list[int] = []  # the lowest page id and the highest
        self._own_last: int | None = None
        self._missing = self._unlisted = 0
        self.damages: list[DumpDamage] = []

    @property
    def with_ids(self) -> bool:
        """Whether the ids of pages are wanted: there is something to hold them against."""
        return self._index is not None or self.seen is not None

    def add(self, task: SpanTask, mined: MinedSpan) -> Iterator[MinedSpan]:
        """Take the next span's result; gives what was mined, in the order of pages."""
        if mined.end is not None:
            self._ends.append(mined.end)
        if self._carried_from is None:
            self._carried_from = task.span
        self._carry += mined.head
        if mined.found_page or mined.head_torn:
            yield from self._between_spans(task, torn_end=mined.head_torn)
            if self._repeats(mined):
                mined = self.remine(self._after_all_before(task))
            self._carry, self._torn, self._carried_from = mined.tail, mined.tail_torn, task.span
        yield self._take(mined, task.span)
        if task.span.last:
            yield from self._close(task)
        elif len(self._carry) > MOST_BETWEEN_PAGES:
            self._note("malformed", self._carried_from.start, f"no whole page in {len(self._carry)} bytes of XML")
            self._carry, self._torn, self._carried_from = b"", True, task.span

    def finish(self) -> MinedFile:
        """End the file once its last span was added: its checksums, what is left of its index."""
        for damage in check_spans(self.path, self._ends):
            self._note(damage.kind, damage.offset, damage.detail)
        self._compare_index(array("q"), None, self._own_last, self._carried_from.start if self._carried_from else 0)
        return MinedFile(
            snapshot=self.snapshot,
            part=self.part,
            name=self.path.name,
            xml_bytes=self._counts["xml_bytes"],
            pages=self._counts["pages"],
            first_page_id=self._range[0] if self._range else None,
            last_page_id=self._range[1] if self._range else None,
            closed=self._closed,
            indexed_pages=self._index.listed if self._index else None,
            missing_pages=self._missing if self._index else None,
            unlisted_pages=self._unlisted if self._index else None,
            sha1_compared=self._counts["sha1_compared"],
            sha1_differing=self._counts["sha1_differing"],
            lost_texts=self._counts["lost_texts"],
            damages=len(self.damages),
        )

    def _repeats(self, mined: MinedSpan) -> bool:
        """Whether the span holds a page that was read, or should have been read, before it."""
        if self.seen is not None:
            return not self.seen.isdisjoint(mined.ids or ())
        return mined.first_page_id is not None and mined.first_page_id <= self.last_page_id

    def _after_all_before(self, task: SpanTask) -> SpanTask:
        seen = None if self.seen is None else frozenset(self.seen)
        return replace(task, after_page_id=self.last_page_id, seen=seen)

    def _carried(self) -> bytes:
        """What is carried, without the header of the file, and without the end of a page that damage tore."""
        xml = self._carry
        if not self._begun:
            xml, self._begun = xml.removeprefix(self.header), True
        if self._torn and (first := xml.find(PAGE)) >= 0:
            xml, self._torn = xml[first:], False
        return xml

    def _between_spans(self, task: SpanTask, *, torn_end: bool) -> Iterator[MinedSpan]:
        """Mine the page that begins in a span before and ends in this one; `torn_end`: damage follows the XML."""
        xml = self._carried()
        if self._torn:
            return  # no page begins in it
        if torn_end:
            xml = xml[: xml.rfind(PAGE_END) + len(PAGE_END)] if PAGE_END in xml else b""
        yield from self._border(task, xml)

    def _close(self, task: SpanTask) -> Iterator[MinedSpan]:
        """Mine the last page, if it begins in a span before the last, and look for the end of the document."""
        before, closing, behind = self._carried().partition(CLOSING)
        pages, end, rest = before.rpartition(PAGE_END)
        if self._torn:
            self._closed = bool(closing)
            return  # what is missing was told
        yield from self._border(task, pages + end)
        start = self._carried_from.start if self._carried_from else 0
        expected = f"expected {CLOSING.decode()} after the last page, found"
        if rest.strip():
            whose = "a page that is cut short" if rest.lstrip().startswith(PAGE) else f"{rest.strip()[:60]!r}"
            kind, offset = ("malformed", start) if closing else ("cut_short", task.span.stop)
            self._note(kind, offset, f"{expected} {whose}")
        elif not closing:
            self._note("cut_short", task.span.stop, f"{expected} the end")
        if behind.strip():
            self._note("garbage", start, f"expected nothing after {CLOSING.decode()}, found {behind.strip()[:60]!r}")
        self._closed = bool(closing) and not rest.strip()

    def _border(self, task: SpanTask, xml: bytes) -> Iterator[MinedSpan]:
        """Mine whole pages that no span holds whole."""
        if not xml.strip():
            return
        span = self._carried_from or task.span
        own = replace(self._after_all_before(task), span=span, pages=xml)
        try:
            quick = replace(own, rules=replace(own.rules, to_text=_not_here))
            mined = mine_span(quick, Watch(), ())
        except _NeedsCleaningError:
            mined = self.remine(own)
        yield self._take(mined, span)
        for rest in (mined.head.strip(), mined.tail.strip()):
            if rest:
                self._note("malformed", span.start, f"expected <page> to </page>, found {rest[:60]!r}")

    def _take(self, mined: MinedSpan, span: Span) -> MinedSpan:
        for name in ("xml_bytes", "sha1_compared", "sha1_differing", "lost_texts"):
            self._counts[name] += getattr(mined, name)
        self._counts["pages"] += mined.reasons.total()
        for damage in mined.damages:
            self._note_span(damage)
        if mined.last_page_id is not None and mined.first_page_id is not None:
            ids = mined.ids or array("q")
            if self.seen is not None:
                self.seen.update(ids)
            ends = [mined.first_page_id, mined.last_page_id] if self.seen is None else ids
            self._range = [min((*self._range, *ends)), max((*self._range, *ends))]
            self._fill_before(mined.first_page_id)
            last, self.last_page_id, self._own_last = self._own_last, mined.last_page_id, mined.last_page_id
            self._compare_index(ids, mined.last_page_id, last, span.start)
        return mined

    def _compare_index(self, ids: "array[int]", up_to: int | None, after: int | None, offset: int) -> None:
        """Hold the pages read since page `after`, up to page `up_to` (null: no more come), against the index.

        A page that is missing is counted at the damage it was lost in, else at a gap: what stands between the two
        pages around it is not there, and the file does not show it.
        """
        if self._index is None:
            return
        try:
            missing, unlisted = self._index.missing_and_unlisted(ids, up_to)
        except DumpError as error:
            self._lose_index(error)
            return
        self._missing += len(missing)
        self._unlisted += unlisted
        gap: tuple[int | None, int | None] | None = None
        for page_id in missing:
            if self._explained(page_id):
                continue
            place = bisect(ids, page_id)
            around = (ids[place - 1] if place else after, ids[place] if place < len(ids) else None)
            if around != gap:
                gap = around
                self._note("missing", offset, "expected the pages that the index lists")
                self.damages[-1] = replace(self.damages[-1], after_page_id=gap[0], before_page_id=gap[1])
            self.damages[-1] = _with_lost(self.damages[-1], [page_id])

    def _lose_index(self, error: DumpError) -> None:
        """Go on without an index that cannot be read: it is damaged, the file may be whole."""
        name = self._index_path.name if self._index_path else ""
        self._index = None
        self._note("corrupt", 0, str(error).removeprefix(f"{name}: "))
        self.damages[-1] = replace(self.damages[-1], name=name)

    def _explained(self, page_id: int) -> bool:
        """Count a missing page at the damage it was lost in, if there is one."""
        for place, damage in enumerate(self.damages):
            after, before = damage.after_page_id or -1, damage.before_page_id
            if damage.kind in _LOSING and after < page_id and (before is None or page_id < before):
                self.damages[place] = _with_lost(damage, [page_id])
                return True
        return False

    def _fill_before(self, page_id: int) -> None:
        for place, damage in enumerate(self.damages):
            if damage.before_page_id is None and (damage.after_page_id or -1) < page_id:
                self.damages[place] = replace(damage, before_page_id=page_id)

    def _note_span(self, damage: SpanDamage) -> None:
        after = damage.after_page_id if damage.after_page_id is not None else self._own_last
        before = self.damages[-1] if self.damages else None
        if before and damage.kind == before.kind == "out_of_order" and after == before.after_page_id:
            self.damages.pop()  # pages of one stretch, which lies in two spans
            damage = replace(damage, offset=before.byte_offset, detail=before.detail)
        self._note(damage.kind, damage.offset, damage.detail)
        self.damages[-1] = replace(self.damages[-1], after_page_id=after, before_page_id=damage.before_page_id)

    def _note(self, kind: str, offset: int, detail: str) -> None:
        self.damages.append(
            DumpDamage(
                snapshot=self.snapshot,
                part=self.part,
                number=len(self.damages),
                name=self.path.name,
                byte_offset=offset,
                kind=kind,
                after_page_id=self._own_last,
                before_page_id=None,
                missing_pages=0 if self._index else None,
                detail=detail,
            )
        )
