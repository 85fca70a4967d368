"""Facts: immutable Parquet files, one table a record class, one pointer a partition.

    <url>/<table>/<partition>/<first 16 hex of the file's SHA-256>.parquet
    <url>/<table>/<partition>/_CURRENT.json

A file is written whole and under a name made from its bytes, then the pointer is replaced: one rename on a disk, one
put on an object store. Whoever dies in between leaves the old facts. Equal rows give equal bytes, so nothing here
holds a time, a host or a run. There is no lock: partitions share nothing, and of two publishers of one partition the
last pointer stands.

Here belongs where facts lie and which are current. What is in a file is known to `parquet`, what it means to `records`.
"""

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, cast

import polars as pl
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError

from valbench_dagster.adapters.parquet import (
    Column,
    FactsError,
    arrow_schema,
    column_docs,
    empty_file,
    frame_of,
    read_frame,
    read_rows,
    write_file,
)
from valbench_dagster.records import Record

__all__ = ["Column", "Facts", "FactsError", "Pointer", "StoredFile", "arrow_schema", "column_docs", "frame_of"]

R = TypeVar("R", bound=Record)

CURRENT = "_CURRENT.json"
_EMPTY = "_EMPTY-"
_TEMPORARY = "_tmp-"
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]{0,127}")


class StoredFile(BaseModel):
    """One Parquet file of a partition: its name in the partition's folder, its rows, the hash of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    sha256: str


class Pointer(BaseModel):
    """What is current in one partition of one table; `content` is the hash of the files' hashes.

    `unfinished` counts rows that asking again may better, such as calls without a reply.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    partition: str
    files: tuple[StoredFile, ...]
    rows: int
    schema_version: int
    input_fingerprint: str
    content: str
    unfinished: int


class Facts:
    """The fact tables under one local folder or fsspec URL."""

    def __init__(self, url: str) -> None:
        """Take `url` as the folder of the tables; nothing is read or made yet."""
        self._fs, root = url_to_fs(url)
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)

    def current(self, record: type[Record], partition: str) -> Pointer | None:
        """Give the pointer of a partition; null where nothing is published, or only by an older schema version.

        Both mean the same to a step: publish. Raises `FactsError` when the pointer is unreadable or newer.
        """
        pointer = self._pointer(record, partition)
        return pointer if pointer and pointer.schema_version == record.VERSION else None

    def publish(
        self,
        record: type[R],
        partition: str,
        rows: Iterable[R],
        *,
        input_fingerprint: str,
        unfinished: int | Callable[[], int] = 0,
    ) -> Pointer:
        """Write the rows of a partition and make them the current ones; `rows` is read once, a row group at a time.

        `unfinished` may be a function, called after the last row. Raises `FactsError` when rows do not strictly ascend
        by the record's key (nulls first) or a value is not of its column's type; then the old facts stay.
        """
        folder = self._folder(record, partition)
        with _scratch(Path(folder) if self._local else Path(tempfile.gettempdir())) as scratch:
            count = write_file(record, rows, scratch)
            with scratch.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = f"{digest[:16]}.parquet"
            if self._local:
                _rename(scratch, Path(folder, name))  # over a file of equal bytes too: it is young again for `sweep`
            else:
                self._fs.put_file(str(scratch), f"{folder}/{name}")
        pointer = Pointer(
            table=record.TABLE,
            partition=partition,
            files=(StoredFile(name=name, rows=count, sha256=digest),),
            rows=count,
            schema_version=record.VERSION,
            input_fingerprint=input_fingerprint,
            content=hashlib.sha256(digest.encode()).hexdigest()[:32],
            unfinished=unfinished() if callable(unfinished) else unfinished,
        )
        self._put(f"{folder}/{CURRENT}", pointer.model_dump_json(indent=1).encode())
        return pointer

    def rows(self, record: type[R], partition: str) -> Iterator[R]:
        """Stream the rows of a partition in the order of their key, a thousand in memory at a time.

        Raises `FactsError` at once when there are none that this program can read.
        """
        files = self._files(record, partition)
        return (row for path in files for row in self._stream(record, path))

    def frame(self, record: type[Record], partition: str) -> pl.DataFrame:
        """Give a partition as a frame, one column a field, in the order of the key; errors as `rows`."""
        frames = []
        for path in self._files(record, partition):
            with self._fs.open(path, "rb") as file:
                frames.append(read_frame(record, file, path))
        return pl.concat(frames)

    def partitions(self, record: type[Record]) -> list[str]:
        """List the partitions that have facts, sorted."""
        prefix, suffix = f"{self._root}/{record.TABLE}/", f"/{CURRENT}"
        return sorted(path[len(prefix) : -len(suffix)] for path in self._found(prefix) if path.endswith(suffix))

    def paths(self, record: type[Record], partitions: Iterable[str]) -> list[str]:
        """List the current files of the partitions, as paths or URLs that DuckDB and polars read.

        The first is a typed file without rows, so that a table without facts can be read too; a partition without
        facts adds none. Raises `FactsError` for facts of another schema version.
        """
        data = empty_file(record)
        empty = f"{self._root}/{record.TABLE}/{_EMPTY}{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        if not self._fs.exists(empty):
            self._put(empty, data)
        found = [empty]
        for partition in sorted(set(partitions)):
            if self._pointer(record, partition):
                found += self._files(record, partition)
        return found if self._local else [str(self._fs.unstrip_protocol(path)) for path in found]

    def size(self, record: type[Record], partition: str) -> int:
        """Count the bytes that lie in a partition, superseded files too; 0 where it has none."""
        folder = self._folder(record, partition)
        self._fs.invalidate_cache()
        return int(self._fs.du(folder)) if self._fs.exists(folder) else 0

    def withdraw(self, record: type[Record], partition: str) -> bool:
        """Take the pointer of a partition away, whatever its version; give whether there was one.

        From then on there are no facts to any reader. The files stay for `sweep`: somebody may be reading them.
        """
        pointer = f"{self._folder(record, partition)}/{CURRENT}"
        self._fs.invalidate_cache()
        if there := bool(self._fs.exists(pointer)):
            self._fs.rm_file(pointer)
        return there

    def sweep(self, older_than_s: float) -> list[str]:
        """Delete files that no pointer names, and what killed publishers left; give the deleted paths.

        A file goes when it and its partition's pointer are both at least `older_than_s` seconds old: choose an age
        longer than any reading of facts takes.
        """
        now, swept = datetime.now(UTC), []
        found = self._found(self._root)
        pointers = {path for path in found if path.endswith(f"/{CURRENT}")}
        for path in found:
            folder, _, name = path.rpartition("/")
            pointer = f"{folder}/{CURRENT}"
            if path in pointers or name.startswith(_EMPTY):
                continue
            if pointer in pointers and name in {file.name for file in self._parsed(pointer).files}:
                continue
            deciding = [path, pointer] if pointer in pointers else [path]
            with suppress(FileNotFoundError):  # another sweep took it, or its publisher has just finished
                if all((now - self._fs.modified(each)).total_seconds() >= older_than_s for each in deciding):
                    self._fs.rm_file(path)
                    swept.append(path)
        return swept

    def _folder(self, record: type[Record], partition: str) -> str:
        parts = partition.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise FactsError(
                f"{partition!r} is no partition: expected letters, digits and ._+=@- in parts joined by /, each "
                "starting with a letter or digit"
            )
        return "/".join([self._root, record.TABLE, *parts])

    def _pointer(self, record: type[Record], partition: str) -> Pointer | None:
        path = f"{self._folder(record, partition)}/{CURRENT}"
        try:
            pointer = self._parsed(path)
        except FileNotFoundError:
            return None
        if (pointer.table, pointer.partition) != (record.TABLE, partition):
            raise FactsError(
                f"{path} is of {pointer.table} {pointer.partition}, expected {record.TABLE} {partition}: move it back, "
                "or give partitions names that differ in more than case"
            )
        if pointer.schema_version > record.VERSION:
            raise FactsError(
                f"{path} has schema version {pointer.schema_version}, this program knows {record.VERSION}: upgrade it "
                "with pip install --upgrade valbench_dagster"
            )
        return pointer

    def _parsed(self, path: str) -> Pointer:
        try:
            return Pointer.model_validate_json(self._fs.cat_file(path))
        except ValidationError as error:
            raise FactsError(f"{path} is damaged: delete it and materialise its partition again\n{error}") from error

    def _files(self, record: type[Record], partition: str) -> list[str]:
        pointer = self._pointer(record, partition)
        again = f"materialise {record.TABLE} of {partition}"
        if pointer is None:
            raise FactsError(f"there are no {record.TABLE} of {partition} under {self._root}: {again}")
        if pointer.schema_version < record.VERSION:
            raise FactsError(
                f"{record.TABLE} of {partition} have schema version {pointer.schema_version}, expected "
                f"{record.VERSION}: {again} again (calls that have a reply in the ledger are not repeated)"
            )
        folder = self._folder(record, partition)
        return [f"{folder}/{file.name}" for file in pointer.files]

    def _stream(self, record: type[R], path: str) -> Iterator[R]:
        with self._fs.open(path, "rb") as file:
            yield from read_rows(record, file, path)

    def _found(self, folder: str) -> list[str]:
        self._fs.invalidate_cache()
        return cast(list[str], sorted(self._fs.find(folder.rstrip("/"))))

    def _put(self, path: str, data: bytes) -> None:
        if not self._local:
            self._fs.pipe_file(path, data)
            return
        with _scratch(Path(path).parent) as scratch:
            with scratch.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _rename(scratch, Path(path))


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Name a temporary file in `folder`, gone afterwards unless renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _rename(source: Path, target: Path) -> None:
    """Replace `target`, outlasting a power failure."""
    source.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
