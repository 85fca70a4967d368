"""Explaining: one page of an export to its explanation: found by title or id, through the index where there is one.

Here belongs finding the page and knowing the wiki. What became of the page is `stages.explanation`.
"""

import bz2
import io
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import unescape

from valbench_dagster.dumps.decode import READ_BYTES, DumpError
from valbench_dagster.dumps.names import DumpFilesError, parse_snapshot, snapshot_in
from valbench_dagster.dumps.page_index import index_of
from valbench_dagster.dumps.pages import Export, Page, SiteInfo, read_export
from valbench_dagster.stages.explanation import PageExplanation, explain_page
from valbench_dagster.stages.sections import Limits, site_of
from valbench_dagster.wikitext.patterns import load_patterns
from valbench_dagster.wikitext.wikis import host_of

MOST_ALIKE = 20
"""Pages whose titles differ from the wanted one in case alone that are looked at."""
MOST_NEAR = 1_000
"""Titles that are held at a time to find the nearest of all."""

TOLD_EVERY = 100_000
"""Pages after which it is told how many were looked at."""


class NoSuchPageError(LookupError):
    """The file was looked through and does not give out the page; says how much there was, and what is near."""


class UnknownWikiError(ValueError):
    """Nothing tells which wiki a file is of."""


def explain_in_file(
    file: Path,
    *,
    title: str | None = None,
    page_id: int | None = None,
    wiki: str | None = None,
    looked: Callable[[int], object] | None = None,
) -> PageExplanation:
    """Find the page with this title or this id in an export and explain it as mining would take it.

    A title is that of the page exactly (underscores are blanks), else one that differs in case alone: the first such
    page that is no redirect, else the first. The file is read forwards as far as the page; a multistream file whose
    index lies beside it is read at the one stream that holds the page. `looked` is told the number of pages looked at
    after every `TOLD_EVERY`. The patterns are those of `wiki`, else, as in mining, of the snapshot whose folder
    the file lies in or that its name tells, else of the wiki that siteinfo names, else of the name's first word.

    Raises `NoSuchPageError`, `UnknownWikiError`, `PatternsError` where the wiki's language has no patterns, `OSError`
    where the file cannot be opened, `DumpError` where it is damaged before the page is found.
    """
    search = _Search(file, title, page_id, looked)
    with read_export(file) as export:
        key = _snapshot(file, export.site, wiki)
        try:
            site = site_of(export.site, key)
        except ValueError as error:
            raise UnknownWikiError(f"{file.name}: {error}") from error
        patterns = load_patterns(key.rpartition("-")[0])
        index = index_of(file) if file.suffix == ".bz2" else None  # its offsets are those of the packed file
        page = search.in_file(export) if index is None else search.in_streams(index)
    return explain_page(page, site, patterns, Limits(), key)


def _snapshot(file: Path, info: SiteInfo, wiki: str | None) -> str:
    """The key under which the file would be mined; its date, which changes no text, may be that of the file."""
    folder = file.absolute().parent.name
    try:
        parse_snapshot(folder)
    except DumpFilesError:
        folder = ""
    if folder and wiki is None:
        return folder
    named = snapshot_in(file.name)
    word = file.name.partition("-")[0]
    wiki = wiki or (named.rpartition("-")[0] if named else info.dbname) or (word if host_of(word) else None)
    if wiki is None:
        raise UnknownWikiError(
            f"{file.name}: neither siteinfo nor the name says which wiki the file is of; expected a name such as "
            "enwiki-20261101-pages-articles.xml.bz2; add --wiki WIKI, such as --wiki enwiki"
        )
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return f"{wiki}-{named.rpartition('-')[2] if named else f'{written:%Y%m%d}'}"


class _Search:
    """The search for one page, by title or by id: what is wanted, what was looked at, what is near."""

    def __init__(
        self, file: Path, title: str | None, page_id: int | None, looked: Callable[[int], object] | None
    ) -> None:
        if (title is None) == (page_id is None):
            raise ValueError("give either a title or a page id")
        self.file = file
        self.page_id = page_id
        self.title = None if title is None else " ".join(title.replace("_", " ").split())
        self.folded = (self.title or "").casefold()
        self.words = [word for word in re.findall(r"\w+", self.folded) if len(word) > 3]
        self.looked = looked
        self.count = 0
        self.ids: tuple[int, int] | None = None
        self.near: dict[str, str] = {}

    def in_file(self, export: Export) -> Page:
        """Look at one page after the other."""
        alike: Page | None = None
        try:
            for page in export:
                if self._is_wanted(page.title, page.page_id):
                    return page
                if self._is_alike(page.title) and (alike is None or (alike.redirect and not page.redirect)):
                    alike = page
        except DumpError as error:
            if alike is None:
                raise DumpError(f"{error}. Before that there is {self._nothing()}") from error
        if alike is None:
            without = export.without_revision
            raise NoSuchPageError(
                f"{self.file.name}: there is {self._nothing()}"
                + (f" Not looked at: {without} that hold no revision." if without else "")
            )
        return alike

    def in_streams(self, index: Path) -> Page:
        """Look the page up in the index, and read the stream that holds it."""
        listed = _entries(index, self._in_its_line())
        places = next(([place[:2]] for place in listed if self._is_it(place[2], place[1])), [])
        if not places:  # once more and slower, for titles that differ in case and those that are near
            for offset, page_id, title in _entries(index):
                if not self._is_wanted(title, page_id) and len(places) < MOST_ALIKE and self._is_alike(title):
                    places.append((offset, page_id))
        if not places:
            raise NoSuchPageError(f"{self.file.name}: by its index {index.name}, there is {self._nothing()}")
        pages = [_page_at(self.file, index, offset, page_id) for offset, page_id in places]
        return next((page for page in pages if not page.redirect), pages[0])

    def _is_wanted(self, title: str, page_id: int) -> bool:
        self.count += 1
        if self.looked and self.count % TOLD_EVERY == 0:
            self.looked(self.count)
        self.ids = (self.ids[0] if self.ids else page_id, page_id)
        if self._is_it(title, page_id):
            return True
        if self.title is not None:
            self._keep_if_near(title)
        return False

    def _is_it(self, title: str, page_id: int) -> bool:
        return page_id == self.page_id if self.title is None else title == self.title

    def _in_its_line(self) -> bytes:
        """What the line of the wanted page has in the index at least, however the index escapes."""
        if self.title is None:
            return f":{self.page_id}:".encode()
        return max(re.split("[&<>\"']", self.title), key=len).encode()

    def _is_alike(self, title: str) -> bool:
        return self.title is not None and title.casefold() == self.folded

    def _keep_if_near(self, title: str) -> None:
        folded = title.casefold()
        if abs(len(folded) - len(self.folded)) * 2 <= max(len(self.folded), 6) and (
            folded[:2] == self.folded[:2]
            or folded[-3:] == self.folded[-3:]
            or any(word in folded for word in self.words)
        ):
            self.near[folded] = title
            if len(self.near) >= MOST_NEAR:
                self.near = {near: self.near[near] for near in self._nearest()}

    def _nearest(self) -> list[str]:
        return get_close_matches(self.folded, self.near, n=5, cutoff=0.6)

    def _nothing(self) -> str:
        """Say that the page was not found: `no page ...`, to the end of a sentence or of several."""
        among = f"among the {self.count} pages looked at"
        if self.title is None:
            ids = f", whose ids run from {self.ids[0]} to {self.ids[1]}" if self.ids else ""
            return f"no page with the id {self.page_id} {among}{ids}."
        titles = [self.near[near] for near in self._nearest()]
        if not titles:
            return f"no page titled {self.title!r} {among}, nor one with a title near to it."
        # A title that could write to the terminal is told, but never handed over to be pasted.
        run = f"\nRun: valbench explain {shlex.quote(str(self.file))} --title {shlex.quote(titles[0])}"
        nearest = ", ".join(map(repr, titles))
        return f"no page titled {self.title!r} {among}; the nearest: {nearest}.{run if titles[0].isprintable() else ''}"


def _entries(index: Path, needle: bytes = b"") -> Iterator[tuple[int, int, str]]:
    """The lines of an index that hold `needle`: offset of the stream, page id, title (which the index has escaped)."""
    whole = 0
    try:
        with io.BufferedReader(bz2.open(index), READ_BYTES) as lines:
            for line in lines:
                if needle in line:
                    offset, page_id, title = line.decode("utf-8").removesuffix("\n").split(":", 2)
                    yield int(offset), int(page_id), unescape(title, _QUOTES) if "&" in title else title
                whole += 1
    except (ValueError, EOFError, OSError) as error:
        raise DumpError(
            f"{index.name}: cannot be read beyond line {whole} ({error}); expected offset:page id:title in each line, "
            f"to the end of the file; {_aside(index)}"
        ) from error


_QUOTES = {"&quot;": '"', "&#039;": "'", "&#39;": "'"}


def _aside(index: Path) -> str:
    return f"fetch the index again, or move it away to have the file itself searched: mv {index.name} {index.name}.bad"


def _page_at(file: Path, index: Path, offset: int, page_id: int) -> Page:
    """Read one page out of the stream that begins at a compressed offset."""
    place = f"the stream at byte {offset}, where {index.name} has page {page_id}"
    with file.open("rb") as head, file.open("rb") as source:
        source.seek(offset)
        xml = chain(_one_stream(head, "the first stream"), _one_stream(source, place), [b"</mediawiki>"])
        try:
            with read_export(io.BufferedReader(_Joined(xml)), file.name) as export:
                found = next((page for page in export if page.page_id == page_id), None)
        except DumpError as error:
            raise DumpError(f"{error}; this is {place}; {_aside(index)}") from error
    if found is None:
        raise DumpError(
            f"{file.name}: {place}, gives out no such page; expected one with a revision; the index may be that of "
            f"another file: {_aside(index)}"
        )
    return found


def _one_stream(source: BinaryIO, place: str) -> Iterator[bytes]:
    """The decoded bytes of the one bzip2 stream that begins where `source` stands."""
    decoder = bz2.BZ2Decompressor()
    while not decoder.eof:
        data = source.read(READ_BYTES) if decoder.needs_input else b""
        if decoder.needs_input and not data:
            raise DumpError(f"{place}: the file ends inside it; expected the end of a bzip2 stream")
        try:
            yield decoder.decompress(data, READ_BYTES)
        except OSError as error:
            raise DumpError(f"{place}: no bzip2 data that agrees with its own checksums: {error}") from error


class _Joined(io.RawIOBase):
    """Chunks of bytes as a stream that is read forwards."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        taken = self._rest[: len(buffer)]
        self._rest = self._rest[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)
