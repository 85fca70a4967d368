"""Stores: snapshots under a folder or object store prefix, any that fsspec opens, as a catalogue.

A snapshot lies in `{wiki}-{YYYYMMDD}/` or, as mirrors of a dump server have it, in `{wiki}/{YYYYMMDD}/`. Which of its
files are exports is the rule of `files`; so is that a file ending in `.part` or `.tmp` means it is not whole. Where a
whole run lies as its producer names it (stubs, histories, the same articles in several forms), one form of the articles
is read, in the order in which `classic` prefers them.

Files of checksums beside them (`SHA256SUMS`, `*-sha1sums.txt`, `*-md5sums.txt`) give hashes and say what is absent.
Without one, a store cannot say that a file has not been put there yet: write under a name ending in `.part`, or write
`SHA256SUMS` first.
"""

import re
from dataclasses import dataclass
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from valbench_dagster.dumps.catalogue import (
    CatalogueError,
    Offer,
    RemoteFile,
    check_question,
    is_date,
    refuse,
)
from valbench_dagster.dumps.classic import articles_pattern, index_pattern
from valbench_dagster.dumps.exports import read_checksums
from valbench_dagster.dumps.names import UNFINISHED, is_export
from valbench_dagster.dumps.page_ranges import in_reading_order, pages_of, range_problems

_SUMS = (("SHA256SUMS", "sha256", 64), ("-sha1sums.txt", "sha1", 40), ("-md5sums.txt", "md5", 32))
_DIGITS = re.compile("[0-9]+")


def open_store(source: str) -> "StoreCatalogue":
    """The catalogue of the folder or prefix at `source`, a path or an fsspec URL; nothing is listed yet.

    Raises `CatalogueError` where fsspec knows no such protocol or lacks the package for it.
    """
    try:
        fs, root = url_to_fs(source)
    except (ImportError, ValueError) as error:
        raise CatalogueError(
            [f"{source}: {error}."], "Expected a path, or a URL such as s3://bucket/dumps whose package is installed."
        ) from None
    url = source if "://" in source and not isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(root)
    return StoreCatalogue(fs, root.rstrip("/"), url if url.endswith("/") else f"{url}/")


@dataclass(frozen=True, slots=True)
class StoreCatalogue:
    """The snapshots under one prefix: `root` as the file system names it, `url` as people do, ending in a slash."""

    fs: AbstractFileSystem
    root: str
    url: str

    def dates(self, wiki: str) -> list[str]:
        """The dates that the wiki has a folder of, newest first; raises `CatalogueError` where there is no prefix."""
        check_question(wiki)
        return sorted(self._folders(wiki), reverse=True)

    def offer(self, wiki: str, date: str) -> Offer | None:
        """The exports in the folder of a date; null where there is no such folder.

        Complete means: there is an export, nothing is being written, and nothing is absent that checksums name and that
        belongs with what is there. Raises `CatalogueError` where two folders hold the date, a file of checksums is
        malformed, a name cannot be part of a URL, or page ranges overlap.
        """
        check_question(wiki, date)
        folders = self._folders(wiki).get(date, [])
        if len(folders) > 1:
            places = " and ".join(f"{self.url}{folder}/" for folder in folders)
            raise CatalogueError([f"{places} are both {wiki}-{date}."], "Remove or rename one of them.")
        return self._offer_in(folders[0], wiki, date) if folders else None

    def _folders(self, wiki: str) -> dict[str, list[str]]:
        """Folders below the prefix, by the date they are of."""
        self.fs.invalidate_cache()
        if not self.fs.isdir(self.root):
            raise CatalogueError(
                [f"{self.url}: there is no such folder, or nothing in it."],
                "Expected auto, classic or exports, or the path or fsspec URL of a folder that holds snapshots.",
            )
        found: dict[str, list[str]] = {}
        own = self._entries("")
        below = self._entries(wiki) if own.get(wiki, {}).get("type") == "directory" else {}
        for group, opening, parent in ((own, f"{wiki}-", ""), (below, "", f"{wiki}/")):
            for name, facts in group.items():
                date = name.removeprefix(opening)
                if facts["type"] == "directory" and name.startswith(opening) and is_date(date):
                    found.setdefault(date, []).append(parent + name)
        return found

    def _entries(self, folder: str) -> dict[str, dict[str, Any]]:
        """What lies in a folder below the prefix, by name."""
        listed = self.fs.ls(f"{self.root}/{folder}".rstrip("/") or "/", detail=True)
        named = {each["name"].rstrip("/").rpartition("/")[2]: each for each in listed}
        return {name: facts for name, facts in sorted(named.items()) if name}

    def _offer_in(self, folder: str, wiki: str, date: str) -> Offer:
        entries = {name: facts for name, facts in self._entries(folder).items() if facts["type"] == "file"}
        problems = [
            f"{self.url}{folder}/: {name!r} cannot be part of a URL."
            for name in entries
            if is_export(name) and (not name.isprintable() or "\\" in name or "::" in name)
        ]
        sums = self._checksums(folder, entries)
        articles, indexes = _chosen(list(entries), wiki, date)
        problems += [
            f"{self.url}{folder}/: {problem}" for group in (articles, indexes) for problem in range_problems(group)
        ]
        refuse(problems, wiki, date)
        missing = _missing(entries, articles, indexes, sums)

        def remote(name: str, *, index: bool) -> RemoteFile:
            first, last = pages_of(name)
            return RemoteFile(
                name=name,
                place=f"{self.url}{folder}/{name}",
                bytes=entries[name].get("size"),
                sha256=sums["sha256"].get(name),
                sha1=sums["sha1"].get(name),
                md5=sums["md5"].get(name),
                role="index" if index else "articles",
                first_page=first,
                last_page=last,
            )

        return Offer(
            wiki=wiki,
            date=date,
            layout="store",
            complete=not missing,
            missing=missing,
            files=tuple(remote(name, index=False) for name in in_reading_order(articles)),
            indexes=tuple(remote(name, index=True) for name in in_reading_order(indexes)),
        )

    def _checksums(self, folder: str, entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
        """Hashes by file name, for each kind of hash; raises `CatalogueError` where files of checksums disagree."""
        found: dict[str, dict[str, str]] = {kind: {} for _, kind, _ in _SUMS}
        for ending, kind, digits in _SUMS:
            for name in entries:
                if name != ending and not (ending.startswith("-") and name.endswith(ending)):
                    continue
                where = f"{self.url}{folder}/{name}"
                try:
                    text = self.fs.cat_file(entries[name]["name"]).decode("utf-8")
                except UnicodeDecodeError as error:
                    raise CatalogueError([f"{where}: no text: {error}."], "Write it again with sha256sum.") from None
                for each in read_checksums(text, where, digits):
                    if found[kind].setdefault(each.name, each.hash) != each.hash:
                        problem = f"{where}, line {each.line}: another hash of {each.name} than in another file."
                        raise CatalogueError([problem], "Remove the file of checksums that is wrong.")
        return found


def _chosen(names: list[str], wiki: str, date: str) -> tuple[list[str], list[str]]:
    """The exports to read and their indexes.

    Of files named as the producer names those of this date, in either layout, one form of the articles is taken where
    there is a classic one.
    """
    of_this_run = (f"{wiki}-{date}-", f"{wiki}-{date[:4]}-{date[4:6]}-{date[6:]}-")
    exports = [name for name in names if is_export(name) and not name.startswith(".")]
    for multistream in (True, False):
        pattern = articles_pattern(wiki, date, multistream=multistream)
        for parts in (True, False):
            form = [name for name in exports if _is_form(pattern, name, parts=parts)]
            if form:
                others = [name for name in exports if not name.startswith(of_this_run)]
                index = index_pattern(wiki, date)
                return form + others, [name for name in names if multistream and _is_form(index, name, parts=parts)]
    return exports, []


def _is_form(pattern: re.Pattern[str], name: str, *, parts: bool) -> bool:
    found = pattern.fullmatch(name)
    return found is not None and parts == bool(found["part"] or found["pages"])


def _missing(
    entries: dict[str, dict[str, Any]], articles: list[str], indexes: list[str], sums: dict[str, dict[str, str]]
) -> str:
    """Why the snapshot is not whole, in a sentence; empty where it is."""
    unfinished = [name for name in entries if name.endswith(UNFINISHED)]
    if unfinished:
        return f"Files are still being written: {', '.join(unfinished)}."
    # SHA256SUMS lists the files of one export, so each is awaited. The other kinds list a whole run, hundreds of files
    # that nobody needs here: of those only names that differ from the ones taken in nothing but numbers are.
    forms = {_DIGITS.sub("0", name) for name in [*articles, *indexes]}
    named = {name for each in sums.values() for name in each if _DIGITS.sub("0", name) in forms}
    absent = sorted((named | {name for name in sums["sha256"] if is_export(name)}) - entries.keys())
    if absent:
        return f"Checksums name files that are not there: {', '.join(absent)}."
    return "" if articles else "The folder holds no export (.xml, .xml.bz2, .xml.gz)."
