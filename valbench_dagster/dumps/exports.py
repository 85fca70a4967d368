"""Exports: the MediaWiki content file exports of a server as a catalogue (wikipedia.md, section 2).

    /other/mediawiki_content_current/{wiki}/{YYYY-MM-DD}/xml/bzip2/

Here belongs what `SHA256SUMS` says: it appears last, so an export without it is not complete, and it is the list of
files. There is no index. How a line of checksums reads is defined here for stores, too.
"""

import re
from dataclasses import dataclass

from valbench_dagster.dumps.catalogue import (
    CatalogueError,
    Documents,
    NotThereError,
    Offer,
    RemoteFile,
    check_question,
    linked_dates,
    refuse,
)
from valbench_dagster.dumps.page_ranges import PAGES, REVISIONS, in_reading_order, pages_of, range_problems

_ROOT = "/other/mediawiki_content_current"


@dataclass(frozen=True, slots=True)
class Checksum:
    """One line of a file of checksums: its number from 1, the hash in lower-case hex, the file name as it stands."""

    line: int
    hash: str
    name: str


def read_checksums(text: str, where: str, digits: int) -> list[Checksum]:
    """The lines `hex  name` (or `hex *name`) of a file of checksums with so many hex digits, in its order.

    Names are not judged here. Raises `CatalogueError` with every malformed line and every name that stands twice.
    """
    shape = re.compile(rf"([0-9a-f]{{{digits}}}) [ *](\S.*)")
    problems: list[str] = []
    sums: dict[str, Checksum] = {}
    # Only "\n" ends a line: other separators of Unicode would hide a name's tail.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        found = shape.fullmatch(line)
        if found is None:
            problems.append(
                f"{where}, line {number}: expected {digits} hex digits, two blanks, a name; found {line!r}."
            )
        elif found[2] in sums:
            problems.append(f"{where}, line {number}: {found[2]!r} stands in line {sums[found[2]].line} already.")
        else:
            sums[found[2]] = Checksum(number, found[1], found[2])
    if problems:
        raise CatalogueError(problems, "Nothing of it is taken. Ask again later, or take another date.")
    return list(sums.values())


@dataclass(frozen=True, slots=True)
class ExportsCatalogue:
    """The content file exports of the server behind `documents`."""

    documents: Documents

    def dates(self, wiki: str) -> list[str]:
        """The dates on the wiki's directory page, as YYYYMMDD, newest first; none where there is no such page."""
        check_question(wiki)
        path = f"{_ROOT}/{wiki}/"
        try:
            page = self.documents.text(path)
        except NotThereError:
            return []
        return linked_dates(page, path, "[0-9]{4}-[0-9]{2}-[0-9]{2}")

    def offer(self, wiki: str, date: str) -> Offer | None:
        """What `SHA256SUMS` of the date names, sizes asked one by one; null where there is no folder of that date.

        Complete means: `SHA256SUMS` is there, and so is every file it names. Raises `CatalogueError` where a line is
        malformed, a name is not one of this wiki and date, stands twice, or page ranges overlap.
        """
        check_question(wiki, date)
        day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
        folder = f"{_ROOT}/{wiki}/{day}/xml/bzip2/"
        try:
            text = self.documents.text(f"{folder}SHA256SUMS")
        except NotThereError:
            return self._without_sums(wiki, date, day)
        name_shape = re.compile(rf"{re.escape(wiki)}-{day}-(?:{PAGES}|{REVISIONS})\.xml\.bz2")
        sums = {each.name: each for each in read_checksums(text, f"{folder}SHA256SUMS", 64)}
        problems = [
            f"{folder}SHA256SUMS, line {each.line}: {each.name!r} is no name of an export of {wiki} {day}."
            for each in sums.values()
            if not name_shape.fullmatch(each.name)
        ]
        refuse(problems or [f"{folder}SHA256SUMS: {problem}" for problem in range_problems(sums)], wiki, date)
        files, absent = [], []
        for name in in_reading_order(sums):
            try:
                size = self.documents.size(folder + name)
            except NotThereError:
                absent.append(name)
                size = None
            files.append(_remote(name, folder, size, sums[name].hash))
        missing = f"SHA256SUMS names files that are not there: {', '.join(absent)}." if absent else ""
        return _offer(wiki, date, missing if files else "SHA256SUMS names no file.", files)

    def _without_sums(self, wiki: str, date: str, day: str) -> Offer | None:
        try:
            self.documents.text(f"{_ROOT}/{wiki}/{day}/")
        except NotThereError:
            return None
        return _offer(wiki, date, "The export has no SHA256SUMS yet, which is written last.", [])


def _offer(wiki: str, date: str, missing: str, files: list[RemoteFile]) -> Offer:
    return Offer(
        wiki=wiki, date=date, layout="exports", complete=not missing, missing=missing, files=tuple(files), indexes=()
    )


def _remote(name: str, folder: str, size: int | None, sha256: str) -> RemoteFile:
    first, last = pages_of(name)
    return RemoteFile(
        name=name,
        place=folder + name,
        bytes=size,
        sha256=sha256,
        sha1=None,
        md5=None,
        role="articles",
        first_page=first,
        last_page=last,
    )
