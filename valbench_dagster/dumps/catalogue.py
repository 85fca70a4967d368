"""Catalogue: which snapshots of a wiki a source offers, and which files each is made of. Nothing is downloaded here.

A source is anything with dates per wiki and an offer per date (`Catalogue`). Adapters: `classic` and `exports`, the two
layouts of a dump server (wikipedia.md, sections 1 and 2), which see it through `Documents`; `stores`, a folder or
object store. Here belong the port, what every adapter asks of a question and a listing, the choice between adapters and
the choice of a snapshot. What file names say of pages belongs to `page_ranges`, how bytes travel to `http` and `fetch`.

A source of ready-made sections (rows of a structured data set) would be one more adapter of `Catalogue`, its data files
the files of an offer under a layout of its own; what reads those files would stand where `decode` and `pages` do.

What a listing says is not believed before its names fully match the pattern of the wiki and date asked for; a listing
that cannot be right raises `CatalogueError` and is never shortened to the part that can.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from valbench_dagster.identity import identify

_WIKI = re.compile(r"[a-z][a-z0-9_]*")
_DATE = re.compile(r"[0-9]{8}")
_DATES_LOOKED_AT = 4


class NotThereError(Exception):
    """The server has nothing under a path (404)."""


class CatalogueError(Exception):
    """What cannot be right about a listing or a question to it: every problem at once, and what to do."""

    def __init__(self, problems: Sequence[str], remedy: str) -> None:
        super().__init__("\n".join([*problems, remedy]))
        self.problems = tuple(problems)


class Documents(Protocol):
    """What a catalogue needs of a dump server: its small documents and the sizes of its files.

    Paths are absolute (`/enwiki/`), on the main server, never a mirror. Both raise `NotThereError` on 404, and whatever
    else the client raises.
    """

    def text(self, path: str) -> str:
        """Read a small document."""
        ...

    def size(self, path: str) -> int | None:
        """Ask for the size of a file in bytes; null where the server does not say."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of an offer.

    `place` is an absolute path on the dump server, or a URL with a protocol (`file://`, `s3://`) for a store. `bytes`
    and hashes (lower-case hex) are null where nobody published them, pages where the name has no range; of a part of
    one page (`p5r1r9`) both are that page.
    """

    name: str
    place: str
    bytes: int | None
    sha256: str | None
    sha1: str | None
    md5: str | None
    role: Literal["articles", "index"]
    first_page: int | None
    last_page: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source has of one wiki and date, in one layout.

    `files` are the articles in reading order (page ranges as numbers), `indexes` those of multistream files in the same
    order; both may be short where the offer is not complete. `missing` says in a sentence why it is not, and is empty
    where it is. Complete is what the source says now: a producer may take it back.
    """

    wiki: str
    date: str
    layout: Literal["classic", "exports", "store"]
    complete: bool
    missing: str
    files: tuple[RemoteFile, ...]
    indexes: tuple[RemoteFile, ...]

    @property
    def snapshot(self) -> str:
        """The snapshot key, `{wiki}-{YYYYMMDD}`."""
        return f"{self.wiki}-{self.date}"

    @property
    def bytes(self) -> int | None:
        """Size of all article files together; null where that of one is not known, or no file is."""
        sizes = [file.bytes for file in self.files if file.bytes is not None]
        return sum(sizes) if sizes and len(sizes) == len(self.files) else None

    @property
    def fingerprint(self) -> str:
        """32 hex characters that change with the layout and the name, size or hash of a file, and with nothing else."""
        files, indexes = (
            [[file.name, file.bytes, file.sha256, file.sha1, file.md5] for file in group]
            for group in (self.files, self.indexes)
        )
        return identify("dump_offer", {"layout": self.layout, "files": files, "indexes": indexes})

    def index_of(self, file: RemoteFile) -> RemoteFile | None:
        """The index of an article file: of its page range, else (no range) of its name; null where there is none."""
        name = file.name.replace("-multistream", "-multistream-index").replace(".xml", ".txt")
        for index in self.indexes:
            ranges = [(each.first_page, each.last_page) for each in (index, file)]
            if ranges[0] == ranges[1] and (file.first_page is not None or index.name == name):
                return index
        return None


class Catalogue(Protocol):
    """A source of snapshots. Both functions raise `CatalogueError`, and whatever else the client of the source does."""

    def dates(self, wiki: str) -> list[str]:
        """The dates (YYYYMMDD) that there is anything of, newest first, whole or not; none for an unknown wiki."""
        ...

    def offer(self, wiki: str, date: str) -> Offer | None:
        """What there is of a date (YYYYMMDD); null where there is nothing."""
        ...


@dataclass(frozen=True, slots=True)
class _Either:
    """The first catalogue where it is complete, else the second where that is, else what the first has so far."""

    first: Catalogue
    second: Catalogue

    def dates(self, wiki: str) -> list[str]:
        return sorted({*self.first.dates(wiki), *self.second.dates(wiki)}, reverse=True)

    def offer(self, wiki: str, date: str) -> Offer | None:
        first = self.first.offer(wiki, date)
        if first and first.complete:
            return first
        second = self.second.offer(wiki, date)
        return second if second and (second.complete or not first) else first


def open_catalogue(source: str, documents: Documents | None) -> Catalogue:
    """The catalogue that `source` names: `classic`, `exports`, `auto` (of a date, classic where complete, else exports)
    or a path or fsspec URL of a store.

    Raises `CatalogueError` for `folder` (its snapshots are given by hand), for a web address, for an empty source, for
    a layout of a server without `documents`, and for a store that cannot be opened. Nothing is asked yet.
    """
    # The adapters know the port, so the port meets them only here.
    from valbench_dagster.dumps.classic import ClassicCatalogue
    from valbench_dagster.dumps.exports import ExportsCatalogue
    from valbench_dagster.dumps.stores import open_store

    expected = "Expected auto, classic or exports, or the path or fsspec URL of a folder that holds snapshots."
    if source in ("auto", "classic", "exports"):
        if documents is None:
            raise CatalogueError(
                [f"Source {source} is a dump server, and there is no client to ask it with."], expected
            )
        classic, exports = ClassicCatalogue(documents), ExportsCatalogue(documents)
        if source == "auto":
            return _Either(classic, exports)
        return classic if source == "classic" else exports
    if source == "folder":
        problem = "Source folder has no catalogue: its snapshots are given by hand."
        raise CatalogueError([problem], "Run: valbench snapshot add KEY FILE...")
    if not source.strip():
        raise CatalogueError(["The source is empty."], expected)
    if re.match(r"(?:.*::)?https?://", source):
        raise CatalogueError([f"{source}: a dump server is named by its layout, not by an address."], expected)
    return open_store(source)


def newest_complete(catalogue: Catalogue, wiki: str, after: str | None = None) -> Offer | None:
    """The newest complete offer dated later than `after` (YYYYMMDD); null where there is none.

    Only the newest four dates are asked for: older ones are not what a refresh waits for. Raises `CatalogueError`.
    """
    if after is not None:
        check_question(wiki, after)
    dates = [date for date in catalogue.dates(wiki) if after is None or date > after]
    offers = (catalogue.offer(wiki, date) for date in dates[:_DATES_LOOKED_AT])
    return next((offer for offer in offers if offer and offer.complete), None)


def check_question(wiki: str, date: str | None = None) -> None:
    """Raise `CatalogueError` unless `wiki` can be a database name and `date`, where given, is YYYYMMDD in the calendar.

    Adapters call it before anything that could become a request.
    """
    if not _WIKI.fullmatch(wiki):
        raise CatalogueError([f"{wiki!r} is no wiki."], "Expected a database name, such as enwiki or zh_yuewiki.")
    if date is not None and not is_date(date):
        raise CatalogueError([f"{date!r} is no date."], "Expected YYYYMMDD, such as 20261101.")


def is_date(text: str) -> bool:
    """Whether a text is YYYYMMDD and in the calendar."""
    try:
        return bool(_DATE.fullmatch(text) and datetime.strptime(text, "%Y%m%d"))
    except ValueError:
        return False


def linked_dates(page: str, path: str, shape: str) -> list[str]:
    """The dates, as YYYYMMDD and newest first, of the folders of `shape` (a pattern) that a directory page links to.

    `path` is the page's own. Links that are no dates (`latest/`, the parent, another wiki's) are not folders of dates.
    """
    links = re.findall(rf"""href=["'](?:\./|{re.escape(path)})?({shape})/["']""", page, re.IGNORECASE)
    return sorted({date for link in links if is_date(date := link.replace("-", ""))}, reverse=True)


def refuse(problems: Sequence[str], wiki: str, date: str) -> None:
    """Raise `CatalogueError` where there are problems with the listing of a wiki and date."""
    if problems:
        raise CatalogueError(
            problems,
            f"Nothing of it is taken. Take another date, or run: valbench snapshot add {wiki}-{date} FILE...",
        )
