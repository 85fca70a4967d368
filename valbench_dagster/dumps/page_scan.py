"""Page scan: decoded bytes of an export, from anywhere in it, to its whole pages and what little is read of each.

Here belongs the quick reading of raw XML: where pages begin and end, and the few values that say whether a page can
matter. It recognises exactly what MediaWiki writes, element by element, up to the last `>` of a page. A page that
looks any other way is not guessed at: it is left to the parser (`pages.py`), whose word counts.

Not seen here: whether entities and letters of a text are well-formed (only the parser looks at them, and only where it
is asked), and `<page>` or `</page>` in a comment or a CDATA section, which no producer writes: they count as marks.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from valbench_dagster.dumps.span_checks import Damage

PAGE = b"<page"
"""How a page begins, with attributes or without: no other element of an export begins so, and no text holds a `<`."""
PAGE_END = b"</page>"
_SEAM = len(PAGE_END) - 1

_SPACE = rb"[ \t\r\n]*+"
PAGE_TO_TEXT = re.compile(
    _SPACE.join(
        (
            rb"<page>",
            rb"<title>(?P<title>[^<]*)</title>",
            rb"<ns>(?P<ns>0|-?[1-9]\d{0,8})</ns>",
            rb"<id>(?P<id>\d{1,18})</id>",
            rb'(?P<redirect><redirect title="[^"<]*" ?/>)?+',
            rb"(?:<restrictions>[^<]*</restrictions>)?+",
            rb"<revision>",
            rb"<id>(?P<revision>\d{1,18})</id>",
            rb"(?:<parentid>\d+</parentid>)?+",
            rb"<timestamp>(?P<time>[^<]*)</timestamp>",
            rb'(?:<contributor deleted="deleted" ?/>|<contributor>'
            + _SPACE.join((b"", rb"(?:<(?:username|ip)>[^<]*</(?:username|ip)>|<(?:username|ip) ?/>)?+", b""))
            + rb"(?:<id>\d+</id>)?+"
            + _SPACE
            + rb"</contributor>)",
            rb"(?:<minor ?/>)?+",
            rb'(?:<comment>[^<]*</comment>|<comment deleted="deleted" ?/>|<comment ?/>)?+',
            rb"(?:<origin>-?\d+</origin>)?+",
            rb"(?:<model>(?P<model>[^<&]*)</model>)?+",
            rb"(?:<format>[^<]*</format>)?+",
            rb'<text(?P<text>(?: (?:bytes="-?\d{1,18}"|(?!bytes=)[a-z0-9:]+="[^"<>&]*+"))*+ ?/?)>',
        )
    )
)
TEXT_TO_END = re.compile(
    _SPACE.join(
        (
            rb"(?:</text>)?+",
            rb"(?:<sha1>(?P<sha1>[^<]*)</sha1>|<sha1 ?/>)?+",
            rb"(?:<model>(?P<model>[^<&]*)</model>)?+",
            rb"(?:<format>[^<]*</format>)?+",
            rb"</revision>",
            rb"</page>",
        )
    )
)
_LENGTH = re.compile(rb' bytes="(\d+)"')
_WHITE = frozenset(b" \t\r\n\f\v\x1c\x1d\x1e\x1f")

Kind = Literal["other_namespace", "redirect", "other_content_model", "empty_or_hidden", "text", "unknown"]


class RawPage(NamedTuple):  # made for every page of a dump: a tuple is made in a third of the time
    """One whole page in a stretch of XML: where it stands, and what it is by a quick look."""

    start: int
    end: int
    page_id: int
    """0 where `kind` is `unknown`."""
    text_start: int
    """Where its text begins, 0 where `kind` is `unknown`."""
    kind: Kind
    """The first of these that holds, in the order of `stages.sections.PAGE_REASONS`; `unknown`: parse it to know."""
    lost_text: bool
    """Whether there is no text although the producer states a length above 0."""


def look(xml: bytes, start: int) -> RawPage | None:
    """Read the page that begins at `start`; null where it is not whole in `xml`."""
    head = PAGE_TO_TEXT.match(xml, start)
    if head is None:
        return _unknown(xml, start)
    text = head["text"]
    text_start = head.end()
    empty = text.endswith(b"/")
    text_end = text_start if empty else xml.find(b"<", text_start)
    if text_end < 0:
        return None
    tail = TEXT_TO_END.match(xml, text_end)
    if (
        tail is None
        or xml.startswith(b"</text>", text_end) is empty
        or (head["model"] is not None and tail["model"] is not None)
    ):
        return _unknown(xml, start)
    model = head["model"] or tail["model"] or b"wikitext"
    kind: Kind = "text"
    if head["ns"] != b"0":
        kind = "other_namespace"
    elif head["redirect"]:
        kind = "redirect"
    elif model != b"wikitext":
        kind = "other_content_model"
    elif empty or text_end == text_start or b" deleted=" in text:
        kind = "empty_or_hidden"
    elif xml[text_start] in _WHITE or xml[text_start] >= 0x80:
        kind = "text" if not _is_blank(xml, text_start, text_end) else "empty_or_hidden"
    lost = text_end == text_start and b" deleted=" not in text and _states_length(text)
    return RawPage(start, tail.end(), int(head["id"]), text_start, kind, lost)


def _unknown(xml: bytes, start: int) -> RawPage | None:
    """Take all up to the page's end tag; where another page begins before that, this one is torn and ends there."""
    end = xml.find(PAGE_END, start)
    if end < 0:
        return None
    following = xml.find(PAGE, start + len(PAGE), end)
    return RawPage(start, end + len(PAGE_END) if following < 0 else following, 0, 0, "unknown", False)


def _is_blank(xml: bytes, start: int, end: int) -> bool:
    """Whether a text is white space only; looks at its first characters before it decodes the rest."""
    if not xml[start : min(start + 64, end)].decode("utf-8", "ignore").strip():
        return not xml[start:end].decode("utf-8", "replace").strip()
    return False


def _states_length(attributes: bytes) -> bool:
    found = _LENGTH.search(attributes)
    return found is not None and int(found[1]) > 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of XML in which pages stand whole, one after the other; what is around them belongs to others."""

    xml: bytes
    pages: tuple[RawPage, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """Bytes between pages that are more than white space: of a document, its beginning, its end, or a fault."""

    xml: bytes


class PageScan:
    """Cuts decoded chunks into pages: `scan` gives stretches, what stands between pages, and damage, in order.

    What comes before the first page of the chunks is `head`, what is left after the last whole one is `tail`: with
    the neighbours' they make whole pages again. Where no page begins in the chunks (`found_page`), all of them are
    `head`. Damage tears: `head_torn` says that the head goes only up to damage which came before any page, `tail_torn`
    that the tail begins with damage, after which no page began.
    """

    def __init__(self) -> None:
        self.head = self.tail = b""
        self.head_torn = self.tail_torn = False
        self.found_page = False
        self.xml_bytes = 0

    def scan(self, chunks: Iterator[bytes | Damage]) -> Iterator[Stretch | Between | Damage]:
        """Give everything in order; constant memory but for a page's own length."""
        pending: list[bytes] = []  # bytes of a page, or of a head, that is not whole yet
        edge = b""  # the last of them, in which a mark may begin
        for chunk in chunks:
            if isinstance(chunk, Damage):
                # Garbage is too much, not too little: what stands around it fits together.
                if chunk.kind != "garbage":
                    if not (self.found_page or self.head_torn):
                        self.head, self.head_torn = b"".join(pending), True
                    pending, edge, self.tail_torn = [], b"", True
                yield chunk
                continue
            self.xml_bytes += len(chunk)
            mark = PAGE if self.tail_torn or not self.found_page else PAGE_END
            if mark not in chunk and mark not in edge + chunk[:_SEAM]:
                pending.append(chunk)
                edge = (edge + chunk[-_SEAM:])[-_SEAM:]
                continue
            at = 0
            if mark is PAGE:
                xml = b"".join((*pending, chunk))
                at = xml.find(PAGE)
                if not (self.found_page or self.head_torn):
                    self.head = xml[:at]
                self.found_page, self.tail_torn = True, False
            else:
                # Only the page that is torn is put together: what follows it is looked at where it lies.
                xml = chunk
                if pending:
                    torn, at = self._torn(pending, edge, chunk)
                    left = yield from self._cut(torn, 0)
                    if left:
                        xml, at = left + chunk[at:], 0
            rest = yield from self._cut(xml, at)
            pending, edge = [rest] if rest else [], rest[-_SEAM:]
        left = b"".join(pending)
        if self.found_page or self.head_torn:
            self.tail = left
        else:
            self.head = left

    @staticmethod
    def _torn(pending: list[bytes], edge: bytes, chunk: bytes) -> tuple[bytes, int]:
        """What is pending with as much of the chunk as ends its page, and how much that is."""
        seam = (edge + chunk[:_SEAM]).find(PAGE_END)
        end = chunk.find(PAGE_END) if seam < 0 else seam - len(edge)
        end += len(PAGE_END)
        return b"".join((*pending, chunk[:end])), end

    def _cut(self, xml: bytes, at: int) -> Generator[Stretch | Between, None, bytes]:
        """Give the whole pages of `xml` from `at` on, and return what is left after the last of them."""
        pages: list[RawPage] = []
        holes = b"\0" in xml  # a disk lost something: never part of XML
        while True:
            start = xml.find(b"<", at)
            if start < 0 or not xml.startswith(PAGE, start) or xml[at:start].strip():
                following = xml.find(PAGE, at)
                if following < 0:
                    break
                if pages:
                    yield Stretch(xml, tuple(pages))
                    pages = []
                yield Between(xml[at:following])
                at = start = following
            page = look(xml, start)
            if holes and page is not None and b"\0" in xml[start : page.end]:
                page = _unknown(xml, start)
            if page is None:
                break
            pages.append(page)
            at = page.end
        if pages:
            yield Stretch(xml, tuple(pages))
        return xml[at:]
