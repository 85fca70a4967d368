"""Files: which dump files a snapshot has, where they come from a person's hand into the folder of dumps.

Here belongs the folder adapter: `dumps/<snapshot>/` with export files in it. A snapshot is whole when no file in its
folder ends in `.part` or `.tmp`; every function here reads or keeps that rule, so nobody ever sees half of one.
"""

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from valbench_dagster.dumps.decode import DumpError, open_decoded
from valbench_dagster.identity import identify
from valbench_dagster.records import DumpFile

_KEY = re.compile(r"([a-z0-9][a-z0-9_-]*)-([0-9]{8})")
_EXPORT = re.compile(r"\.xml(?:-p[0-9]+p[0-9]+)?(?:\.bz2|\.gz)?$")
_DIGITS = re.compile(r"([0-9]+)")
_UNFINISHED = (".part", ".tmp")


class DumpFilesError(Exception):
    """What is wrong with a snapshot or with files for it: every problem at once, and what to run."""

    def __init__(self, problems: Sequence[str], remedy: str) -> None:
        super().__init__("\n".join([*problems, remedy]))
        self.problems = tuple(problems)


def parse_snapshot(key: str) -> tuple[str, date]:
    """The wiki (database name) and the date that a snapshot key `{wiki}-{YYYYMMDD}` names.

    Raises `DumpFilesError` where the key has another shape or the date is not in the calendar.
    """
    remedy = "Expected {wiki}-{YYYYMMDD}, such as enwiki-20261101."
    found = _KEY.fullmatch(key)
    if found is None:
        raise DumpFilesError([f"{key!r} is no snapshot key."], remedy)
    try:
        return found[1], datetime.strptime(found[2], "%Y%m%d").date()
    except ValueError:
        raise DumpFilesError([f"{key!r} is no snapshot key: {found[2]} is no date."], remedy) from None


def add_snapshot(
    dumps_folder: Path, key: str, files: Sequence[Path], mode: Literal["link", "copy"] = "link"
) -> list[Path]:
    """Put export files under `dumps_folder/key/` and return where they lie, in the order of `files`.

    `link` makes hard links, and copies where the file system cannot; `copy` always copies. Files are first laid down
    as `<name>.part`, all of them, then renamed: until the last is, the snapshot is not whole and nobody takes it.
    A file that is there already under the same name with the same bytes is left alone. Raises `DumpFilesError` with
    every problem (bad key; files that are missing, empty, unreadable, no export by name or content, or clash by
    name), then nothing was written; `OSError` where the disk fails, then what was laid down is taken away again.
    """
    folder = dumps_folder / key
    problems: list[str] = []
    try:
        parse_snapshot(key)
    except DumpFilesError as error:
        problems.append(str(error))
    if not files:
        problems.append("No file is given.")
    problems += [
        f"{name} is given {count} times: names must differ."
        for name, count in Counter(path.name for path in files).items()
        if count > 1
    ]
    problems += [problem for path in files if (problem := _problem(path, folder))]
    if problems:
        raise DumpFilesError(problems, "Nothing was added. Run: valbench snapshot add KEY FILE...")
    missing = [path for path in files if not (folder / path.name).exists()]
    parts = [folder / f"{path.name}.part" for path in missing]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for path, part in zip(missing, parts, strict=True):
            part.unlink(missing_ok=True)  # of an attempt that was killed
            _lay_down(path.resolve(), part, mode)
    except BaseException:
        for part in parts:
            part.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    for part in parts:
        part.rename(part.with_suffix(""))
    return [folder / path.name for path in files]


def _problem(path: Path, folder: Path) -> str | None:
    """What keeps `path` from being a file of the snapshot in `folder`; null where nothing does."""
    if not _EXPORT.search(path.name):
        return f"{path}: expected a name that ends in .xml, .xml.bz2, .xml.gz or .xml-p1p999.bz2."
    if not path.is_file():
        return f"{path}: {'not a file' if path.exists() else 'there is no such file'}."
    try:
        with open_decoded(path) as chunks:
            next(chunks, None)
    except DumpError as error:
        return f"{path}: {error}."
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}."
    there = folder / path.name
    if there.exists() and not path.samefile(there) and sha256_of(path) != sha256_of(there):
        return f"{path}: {there} is another file of that name; files of a snapshot never change under its key."
    return None


def _lay_down(source: Path, target: Path, mode: Literal["link", "copy"]) -> None:
    if mode == "link":
        try:
            target.hardlink_to(source)
        except OSError:  # another file system, or one without hard links
            mode = "copy"
    if mode == "copy":
        with source.open("rb") as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())


def list_files(dumps_folder: Path, key: str) -> list[Path]:
    """The export files of a snapshot in reading order: by name, with part numbers and page ids as numbers.

    Indexes of multistream files, checksum files and anything else that is no export are left out. Raises
    `DumpFilesError` where the key is bad, the folder has no export, or it is not whole.
    """
    parse_snapshot(key)
    folder = dumps_folder / key
    remedy = f"Run: valbench snapshot add {key} FILE..."
    if not folder.is_dir():
        raise DumpFilesError([f"Snapshot {key}: there is no folder {folder}."], remedy)
    unfinished = _unfinished(folder)
    if unfinished:
        raise DumpFilesError([f"Snapshot {key} is not whole: {folder} holds {', '.join(unfinished)}."], remedy)
    files = _exports(folder)
    if not files:
        raise DumpFilesError([f"Snapshot {key}: {folder} holds no export (.xml, .xml.bz2, .xml.gz)."], remedy)
    return files


def _unfinished(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in _UNFINISHED)


def _exports(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if _EXPORT.search(path.name) and not path.name.startswith("."))
    return sorted((path for path in files if path.is_file()), key=lambda path: _place(path.name))


def _place(name: str) -> list[str | int]:
    """Where a file stands among those of its snapshot: its name, with every run of digits compared as a number."""
    return [int(piece) if piece.isdecimal() else piece for piece in _DIGITS.split(name)]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as it lies, 64 hex characters, in constant memory."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def describe(dumps_folder: Path, key: str) -> list[DumpFile]:
    """One record per export file of a snapshot, in reading order; raises what `list_files` raises."""
    wiki, _ = parse_snapshot(key)
    return [
        DumpFile(
            snapshot=key,
            wiki=wiki,
            layout="folder",
            part=part,
            name=path.name,
            path=path.relative_to(dumps_folder).as_posix(),
            bytes=path.stat().st_size,
            sha256=sha256_of(path),
            verified=False,
        )
        for part, path in enumerate(list_files(dumps_folder, key))
    ]


def discover(dumps_folder: Path) -> dict[str, str]:
    """The whole snapshots in the folder of dumps, by key in order, each with a fingerprint of what lies in it.

    The fingerprint changes when a file is added, removed or written, and costs no reading: it is made of names, sizes
    and times. Folders that are no snapshot, hold no export or are not whole are left out; so is a missing folder.
    """
    found: dict[str, str] = {}
    for folder in sorted(dumps_folder.iterdir()) if dumps_folder.is_dir() else []:
        if not folder.is_dir() or not _is_key(folder.name) or _unfinished(folder):
            continue
        files = [(path.name, path.stat()) for path in _exports(folder)]
        if files:
            content = [[name, facts.st_size, facts.st_mtime_ns] for name, facts in files]
            found[folder.name] = identify("dump_folder", content)
    return found


def _is_key(name: str) -> bool:
    try:
        parse_snapshot(name)
    except DumpFilesError:
        return False
    return True
