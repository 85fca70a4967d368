"""Files: which dump files a snapshot has, where they come from a person's hand into the folder of dumps.

Here belongs the folder adapter: `dumps/<snapshot>/` with export files in it. A snapshot is whole when no file in its
folder ends in `.part` or `.tmp`; every function here reads or keeps that rule, so nobody ever sees half of one. Where
files were fetched, their manifest says what they are; bringing them is `fetch`.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from valbench_dagster.dumps.decode import DumpError, open_decoded
from valbench_dagster.dumps.manifest import FETCHING, MANIFEST, Manifest, ManifestFile, read_manifest
from valbench_dagster.dumps.names import (
    UNFINISHED,
    DumpFilesError,
    in_reading_order,
    is_export,
    is_snapshot,
    parse_snapshot,
)
from valbench_dagster.identity import identify
from valbench_dagster.records import DumpFile

FolderState = Literal["absent", "by hand", "unfinished", "fetched"]


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
    if not is_export(path.name):
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
    remedy = f"Run: valbench snapshot add {key} FILE... or, where a dump server has it: valbench snapshot fetch {key}"
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
    return sorted(path.name for path in folder.iterdir() if path.suffix in UNFINISHED)


def _exports(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if is_export(path.name) and not path.name.startswith("."))
    return sorted((path for path in files if path.is_file()), key=lambda path: in_reading_order(path.name))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as it lies, 64 hex characters, in constant memory."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def state_of(folder: Path) -> FolderState:
    """What a snapshot's folder is to a fetch; costs no reading of dump files. Raises `ManifestError`.

    `absent`: there is nothing in it. `unfinished`: a fetch was begun there and has not ended, or a file that it brought
    is gone or has another size. `fetched`: all of them are there. `by hand`: anything else, whole or not.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if FETCHING in names:
        return "unfinished"
    manifest = read_manifest(folder)
    if manifest is not None:
        return "fetched" if all(_is_there(folder / file.name, file) for file in manifest.files) else "unfinished"
    return "by hand" if names - {f"{FETCHING}.tmp", f"{MANIFEST}.tmp"} else "absent"


def _is_there(path: Path, file: ManifestFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes


def describe(dumps_folder: Path, key: str) -> list[DumpFile]:
    """One record per export file of a snapshot, in reading order.

    Of fetched files the manifest tells layout, hash and whether it was compared; a file is hashed again only where it
    was written to after the manifest. What came from a store is of layout `folder`: somebody placed it there by hand.
    Raises what `list_files` raises, `DumpFilesError` where files are not those of the manifest, and `ManifestError`.
    """
    wiki, _ = parse_snapshot(key)
    paths = list_files(dumps_folder, key)
    manifest = read_manifest(dumps_folder / key)
    known = _known(manifest, paths, dumps_folder / key)
    return [
        DumpFile(
            snapshot=key,
            wiki=wiki,
            layout="folder" if manifest is None or manifest.layout == "store" else manifest.layout,
            part=part,
            name=path.name,
            path=path.relative_to(dumps_folder).as_posix(),
            bytes=path.stat().st_size,
            sha256=known[path.name].sha256 if path.name in known else sha256_of(path),
            verified=path.name in known and known[path.name].published is not None,
        )
        for part, path in enumerate(paths)
    ]


def _known(manifest: Manifest | None, paths: Sequence[Path], folder: Path) -> dict[str, ManifestFile]:
    """The files of the manifest by name, each found to be what the manifest says of it; none without a manifest."""
    if manifest is None:
        return {}
    known = {file.name: file for file in manifest.files}
    problems = [
        f"{folder / file.name} is gone or has another size than the {file.bytes} bytes that were fetched."
        for file in manifest.files
        if not _is_there(folder / file.name, file)
    ]
    for path in paths:
        if path.name not in known:
            problems.append(f"{path} was not fetched with the others: move it away.")
        elif path.stat().st_mtime > manifest.fetched_at.timestamp() and not problems:
            digest = sha256_of(path)
            if digest != known[path.name].sha256:
                problems.append(f"{path} was changed: expected SHA-256 {known[path.name].sha256}, found {digest}.")
    if problems:
        raise DumpFilesError(problems, f"Delete what was changed, then run: valbench snapshot fetch {folder.name}")
    return known


def discover(dumps_folder: Path) -> dict[str, str]:
    """The whole snapshots in the folder of dumps, by key in order, each with a fingerprint of what lies in it.

    The fingerprint changes when a file is added, removed or written, and costs no reading: it is made of names, sizes
    and times. Folders that are no snapshot, hold no export or are not whole are left out; so is a missing folder.
    """
    found: dict[str, str] = {}
    for folder in sorted(dumps_folder.iterdir()) if dumps_folder.is_dir() else []:
        if not folder.is_dir() or not is_snapshot(folder.name) or _unfinished(folder):
            continue
        files = [(path.name, path.stat()) for path in _exports(folder)]
        if files:
            content = [[name, facts.st_size, facts.st_mtime_ns] for name, facts in files]
            found[folder.name] = identify("dump_folder", content)
    return found
