"""Dump files of pages that a test wrote: XML as MediaWiki exports it, packed as both layouts pack it, and broken.

Here belong bytes by file name: what a snapshot holds, and what may be wrong with it. Where a server puts them and what
lists it lays beside them is `dump_lists`'s. Formats: wikipedia.md, sections 1 to 3.
"""

import bz2
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

Layout = Literal["classic", "exports"]

NAMESPACES = (
    *((-2, "Media"), (-1, "Special"), (0, ""), (1, "Talk"), (2, "User"), (3, "User talk"), (4, "Project")),
    *((5, "Project talk"), (6, "File"), (7, "File talk"), (8, "MediaWiki"), (9, "MediaWiki talk"), (10, "Template")),
    *((11, "Template talk"), (12, "Help"), (13, "Help talk"), (14, "Category"), (15, "Category talk")),
)
_FORMATS = {"wikitext": "text/x-wiki", "json": "application/json", "css": "text/css", "javascript": "text/javascript"}
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SYLLABLES = ("bel", "cor", "dun", "fal", "gar", "hes", "lim", "mor", "nev", "osk", "pra", "rud", "sil", "tav", "wen")


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """A page with its newest revision; null text is text hidden from the public."""

    page_id: int
    title: str
    text: str | None
    revision_id: int
    ns: int = 0
    redirect: str | None = None
    model: str = "wikitext"
    timestamp: str = "2026-09-14T08:30:00Z"
    username: str = "Pagekeeper"


def written_pages(count: int, *, words: int = 120, seed: int = 0) -> list[WrittenPage]:
    """Write articles of about `words` words, ids ascending with gaps; the same for the same arguments.

    Each has a section `Criticism` of two paragraphs and one under another heading. Words are made of syllables and
    hardly repeat, so that a few thousand pages fill several bzip2 blocks.
    """
    rng = random.Random(seed)

    def prose(length: int) -> str:
        made = ["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3))) for _ in range(max(length, 1))]
        return " ".join(made).capitalize() + "."

    pages = []
    for number in range(1, count + 1):
        title = f"{prose(1)[:-1]} & Sons {number}"
        text = (
            f"'''{title}''' is a firm of [[{prose(1)[:-1]}]].\n\n== History ==\n{prose(words // 3)}\n\n"
            f"== Criticism ==\n{prose(words // 3)}\n\n{prose(words // 3)}\n\n[[Category:Firms]]"
        )
        page_id = number * 10 + rng.randint(0, 9)
        pages.append(WrittenPage(page_id, title, text, revision_id=900_000 + number))
    return pages


def sha1_base36(text: str) -> str:
    """Give the SHA-1 of the UTF-8 text in base 36, 31 characters."""
    number, digits = int.from_bytes(hashlib.sha1(text.encode(), usedforsecurity=False).digest(), "big"), ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits.zfill(31)


def escaped(text: str) -> str:
    """Escape `& < > "` as exports and indexes of multistream files do."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def opening_xml(wiki: str, layout: Layout = "classic") -> str:
    """Give the root's start tag and siteinfo. Exports list the namespaces in no order (section 2)."""
    language = wiki.removesuffix("wiki").replace("_", "-")
    spaces = NAMESPACES if layout == "classic" else sorted(NAMESPACES, key=lambda space: str(space[0]))
    schema = "http://www.mediawiki.org/xml/export-0.11"
    lines = [
        f'<mediawiki xmlns="{schema}/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{schema}/ {schema}.xsd" version="0.11" xml:lang="{language}">',
        "  <siteinfo>",
        "    <sitename>Wikipedia</sitename>",
        f"    <dbname>{wiki}</dbname>",
        f"    <base>https://{language}.wikipedia.org/wiki/Main_Page</base>",
        "    <generator>MediaWiki 1.46.0-wmf.8</generator>",
        "    <case>first-letter</case>",
        "    <namespaces>",
        *(
            f'      <namespace key="{key}" case="first-letter"' + (f">{name}</namespace>" if name else " />")
            for key, name in spaces
        ),
        "    </namespaces>",
        "  </siteinfo>",
    ]
    return "\n".join(lines) + "\n"


CLOSING_XML = "</mediawiki>\n"


def page_xml(page: WrittenPage, layout: Layout = "classic") -> str:
    """Give the `<page>` element with its indentation and line ends."""
    text, sha1 = _text_and_sha1(page, layout)
    lines = [
        "  <page>",
        f"    <title>{escaped(page.title)}</title>",
        f"    <ns>{page.ns}</ns>",
        f"    <id>{page.page_id}</id>",
        *([f'    <redirect title="{escaped(page.redirect)}" />'] if page.redirect is not None else []),
        "    <revision>",
        f"      <id>{page.revision_id}</id>",
        f"      <timestamp>{page.timestamp}</timestamp>",
        "      <contributor>",
        f"        <username>{escaped(page.username)}</username>",
        "        <id>12</id>",
        "      </contributor>",
        "      <comment>new source</comment>",
        f"      <origin>{page.revision_id}</origin>",
        f"      <model>{page.model}</model>",
        f"      <format>{_FORMATS.get(page.model, 'text/plain')}</format>",
        f"      {text}",
        f"      {sha1}",
        "    </revision>",
        "  </page>",
    ]
    return "\n".join(lines) + "\n"


def _text_and_sha1(page: WrittenPage, layout: Layout) -> tuple[str, str]:
    if page.text is None:  # the classic layout gives the real length, which a hidden text of ours has not: any will do
        length = 100 if layout == "classic" else -1
        return f'<text bytes="{length}" deleted="deleted" />', "<sha1 />"
    sha1 = sha1_base36(page.text)
    if not page.text:
        classic = f'<text bytes="0" sha1="{sha1}" xml:space="preserve" />'
        return classic if layout == "classic" else '<text bytes="0" />', f"<sha1>{sha1}</sha1>"
    attributes = f'bytes="{len(page.text.encode())}" sha1="{sha1}" xml:space="preserve"'
    return f"<text {attributes}>{escaped(page.text)}</text>", f"<sha1>{sha1}</sha1>"


def export_xml(pages: Sequence[WrittenPage], *, wiki: str = "enwiki", layout: Layout = "classic") -> bytes:
    """Give a whole document of these pages, in the order given."""
    return "".join([opening_xml(wiki, layout), *(page_xml(page, layout) for page in pages), CLOSING_XML]).encode()


def single_stream(pages: Sequence[WrittenPage], *, wiki: str = "enwiki", layout: Layout = "exports") -> bytes:
    """Give a whole document as one bzip2 stream of 900 kB blocks."""
    return bz2.compress(export_xml(pages, wiki=wiki, layout=layout), compresslevel=9)


def multistream(pages: Sequence[WrittenPage], pages_a_stream: int = 100, *, wiki: str = "enwiki") -> tuple[bytes, str]:
    """Give a multistream file and the text of its index.

    The first stream holds root and siteinfo, the last the closing tag, those between `pages_a_stream` pages each. An
    index line is `offset:pageid:title`, the title escaped as in the XML.
    """
    streams, lines = [bz2.compress(opening_xml(wiki).encode())], []
    offset = len(streams[0])
    for first in range(0, len(pages), pages_a_stream):
        some = pages[first : first + pages_a_stream]
        streams.append(bz2.compress("".join(map(page_xml, some)).encode()))
        lines += [f"{offset}:{page.page_id}:{escaped(page.title)}\n" for page in some]
        offset += len(streams[-1])
    return b"".join([*streams, bz2.compress(CLOSING_XML.encode())]), "".join(lines)


def classic_snapshot(
    wiki: str,
    day: date,
    pages: Sequence[WrittenPage],
    *,
    numbers: Sequence[int] = (),
    pages_a_stream: int = 100,
) -> dict[str, bytes]:
    """Give the multistream files of a classic snapshot and their indexes, by name.

    Without `numbers` it is one file as of a small wiki. With them it is as many parts, of equally many pages and so
    numbered: `(1, 1, 2)` gives two page ranges under the number 1, as happens on the real server.
    """
    stem, files = f"{wiki}-{day:%Y%m%d}-pages-articles-multistream", {}
    if not numbers:
        parts = [("", "", list(pages))]
    else:
        # Here ranges touch: each begins after the last page id of the one before, the first with 1.
        split = _split(pages, len(numbers))
        begins = [1, *(some[-1].page_id + 1 for some in split[:-1])]
        spans = [f"-p{begin}p{some[-1].page_id}" for begin, some in zip(begins, split, strict=True)]
        parts = list(zip(map(str, numbers), spans, split, strict=True))
    for number, span, some in parts:
        data, index = multistream(some, pages_a_stream, wiki=wiki)
        files[f"{stem}{number}.xml{span}.bz2"] = data
        files[f"{stem}-index{number}.txt{span}.bz2"] = bz2.compress(index.encode())
    return files


def exports_snapshot(wiki: str, day: date, pages: Sequence[WrittenPage], *, parts: int = 2) -> dict[str, bytes]:
    """Give the files of an exports snapshot by name: one bzip2 stream each, of equally many pages."""
    return {
        f"{wiki}-{day:%Y-%m-%d}-p{some[0].page_id}p{some[-1].page_id}.xml.bz2": single_stream(some, wiki=wiki)
        for some in _split(pages, parts)
    }


def _split(pages: Sequence[WrittenPage], parts: int) -> list[list[WrittenPage]]:
    ends = [len(pages) * part // parts for part in range(parts + 1)]
    return [list(pages[start:stop]) for start, stop in pairwise(ends)]


def without_indexes(parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Leave out the indexes of multistream files."""
    return {name: data for name, data in parts.items() if "-multistream-index" not in name}


def stream_spans(data: bytes) -> list[tuple[int, int]]:
    """Give start and end of each bzip2 stream in `data`, which holds complete streams only."""
    spans, start = [], 0
    while start < len(data):
        decompressor = bz2.BZ2Decompressor()
        decompressor.decompress(data[start:])
        spans.append((start, len(data) - len(decompressor.unused_data)))
        start = spans[-1][1]
    return spans


def without_stream(data: bytes, number: int) -> bytes:
    """Leave out the stream of that number, counted from 0; negative numbers count from the end."""
    start, stop = stream_spans(data)[number]
    return data[:start] + data[stop:]


def with_stream_doubled(data: bytes, number: int) -> bytes:
    """Repeat the stream of that number right after itself."""
    start, stop = stream_spans(data)[number]
    return data[:stop] + data[start:]


def with_stream_corrupted(data: bytes, number: int) -> bytes:
    """Let the checksum of the first block in the stream of that number be wrong, which every decoder must notice.

    A change inside the block (`corrupted`) may show as an error, or as a stream that does not end.
    """
    start, _ = stream_spans(data)[number]
    return corrupted(data, start + len(b"BZh9" + b"1AY&SY"))


def corrupted(data: bytes, at: int) -> bytes:
    """Change the byte at that offset."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def truncated(data: bytes, at: int) -> bytes:
    """Keep the bytes before that offset."""
    return data[:at]


def with_garbage(data: bytes, garbage: bytes = b"<html><body>Service unavailable</body></html>\n") -> bytes:
    """Append what is no bzip2."""
    return data + garbage
