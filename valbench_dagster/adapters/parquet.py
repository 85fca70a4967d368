"""Parquet: records to a typed file and back. The only module that imports pyarrow.

Here belongs what a column of a record is in a file: type, nullability, order of rows, size of row groups. Not here:
where files lie and which of them are current (`facts`), and what the columns mean (`records`).
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar, cast, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from valbench_dagster.records import Record

if TYPE_CHECKING:  # imported where a frame is made: who only writes files need not wait for it
    import polars as pl

R = TypeVar("R", bound=Record)

ROW_GROUP_ROWS = 16_384
ROW_GROUP_CHARACTERS = 32_000_000
"""A row group ends at whichever comes first: memory is bounded by one row group, not by the partition."""
READ_ROWS = 1024

_TEXT, _TEXTS = pa.string(), pa.list_(pa.field("element", pa.string(), nullable=False))
_ARROW = {
    **{str: _TEXT, int: pa.int64(), float: pa.float64(), bool: pa.bool_(), bytes: pa.binary()},
    tuple[str, ...]: _TEXTS,
}
_SHOWN = {
    **{str: "text", int: "integer", float: "number", bool: "boolean", bytes: "bytes"},
    tuple[str, ...]: "list of text",
}


class FactsError(ValueError):
    """Rows that may not be stored, or stored facts that this program cannot read; the message says what to do."""


class Column(NamedTuple):
    """A column as a person reads of it: type in plain words, description, and whether it may be null."""

    type: str
    doc: str
    nullable: bool


def column_docs(record: type[Record]) -> dict[str, Column]:
    """Describe the columns of a record's table, in order, from its annotations."""
    return {name: Column(_SHOWN[kind], doc, nullable) for name, kind, doc, nullable in _columns(record)}


def arrow_schema(record: type[Record]) -> pa.Schema:
    """Derive the Arrow schema of a record's table; raises `TypeError` for a field of no storable type."""
    return pa.schema(
        [pa.field(name, _ARROW[kind], nullable=nullable) for name, kind, _, nullable in _columns(record)],
        metadata={"table": record.TABLE, "version": str(record.VERSION)},
    )


def write_file(record: type[R], rows: Iterable[R], path: Path) -> int:
    """Write rows to a file, flushed to the disk, and give their number; equal rows give equal bytes.

    Raises `FactsError` when rows do not strictly ascend by the record's key (nulls first) or a value is not of its
    column's type, naming rows and column; the file is then of no use.
    """
    count = 0
    with path.open("wb") as file:
        with _writer(record, file) as writer:
            for arrays in _groups(record, rows):
                writer.write_table(pa.Table.from_arrays(arrays, schema=arrow_schema(record)))
                count += len(arrays[0])
        file.flush()
        os.fsync(file.fileno())
    return count


def empty_file(record: type[Record]) -> bytes:
    """Give the bytes of a file that has the record's columns and no rows."""
    sink = pa.BufferOutputStream()
    _writer(record, sink).close()
    return cast(bytes, sink.getvalue().to_pybytes())


def read_rows(record: type[R], file: BinaryIO, path: str) -> Iterator[R]:
    """Stream the rows of an open file, a thousand or a row group in memory at a time; `path` is named by errors.

    Raises `FactsError` when the columns are not the record's, and pyarrow's own error for damaged pages.
    """
    is_list = [field.type == _TEXTS for field in arrow_schema(record)]
    opened = _opened(record, file, path)
    for group in range(opened.num_row_groups):  # a batch from several groups of huge rows would know no bound
        for batch in opened.iter_batches(batch_size=READ_ROWS, row_groups=[group]):
            columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
            for place, column in enumerate(columns):
                if is_list[place]:
                    columns[place] = [None if value is None else tuple(value) for value in column]
            yield from map(record, *columns)


def holds(record: type[Record], path: Path) -> bool:
    """Say whether a file is Parquet with the columns of the record's table."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return bool(schema == arrow_schema(record))


def read_frame(record: type[Record], file: BinaryIO, path: str) -> "pl.DataFrame":
    """Give the rows of an open file as a frame, one column a field; errors as `read_rows`."""
    import polars as pl

    return cast(pl.DataFrame, pl.from_arrow(_opened(record, file, path).read()))


def frame_of(record: type[R], rows: Iterable[R]) -> "pl.DataFrame":
    """Give rows as a frame with the columns and types that their facts would have; errors as `write_file`."""
    import polars as pl

    schema = arrow_schema(record)
    groups = [pa.RecordBatch.from_arrays(arrays, schema=schema) for arrays in _groups(record, rows)]
    return cast(pl.DataFrame, pl.from_arrow(pa.Table.from_batches(groups, schema=schema)))


def _columns(record: type[Record]) -> Iterator[tuple[str, Any, str, bool]]:
    """Give name, stored type, description and nullability of every column."""
    hints = get_type_hints(record, include_extras=True)
    for field in fields(cast(Any, record)):
        stated, doc = get_args(hints[field.name])
        nullable = NoneType in get_args(stated)
        kinds = [kind for kind in get_args(stated) if kind is not NoneType] if nullable else [stated]
        if len(kinds) != 1 or kinds[0] not in _ARROW:
            raise TypeError(
                f"{record.__name__}.{field.name} is {stated}: known are str, int, float, bool, bytes, tuple[str, ...]"
            )
        yield field.name, kinds[0], doc, nullable


def _writer(record: type[Record], sink: object) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        arrow_schema(record),
        compression="zstd",
        compression_level=3,
        store_schema=False,
        write_page_checksum=True,
    )


def _opened(record: type[Record], file: BinaryIO, path: str) -> pq.ParquetFile:
    opened = pq.ParquetFile(file, page_checksum_verification=True)
    if opened.schema_arrow != arrow_schema(record):
        raise FactsError(
            f"{path} has other columns than records.{record.__name__} version {record.VERSION}: raise VERSION after a "
            f"change of columns, and materialise {record.TABLE} again"
        )
    return opened


def _groups(record: type[R], rows: Iterable[R]) -> Iterator[list[pa.Array]]:
    """Cut rows into row groups of arrays, checking that keys strictly ascend."""
    names = [field.name for field in fields(cast(Any, record))]
    group: list[tuple[Any, ...]] = []
    start = characters = 0
    before: tuple[tuple[bool, Any], ...] | None = None
    for number, row in enumerate(rows):
        key = tuple((value is not None, value) for value in (getattr(row, name) for name in record.KEY))
        if before is not None and not before < key:
            raise FactsError(
                f"rows of {record.TABLE} must strictly ascend by {', '.join(record.KEY)}: row {number - 1} has "
                f"{_shown_key(before)}, row {number} has {_shown_key(key)}"
            )
        before = key
        values = tuple(getattr(row, name) for name in names)
        group.append(values)
        characters += sum(len(value) for value in values if isinstance(value, str | bytes))
        if len(group) == ROW_GROUP_ROWS or characters >= ROW_GROUP_CHARACTERS:
            yield _arrays(record, group, start)
            group, start, characters = [], number + 1, 0
    if group:
        yield _arrays(record, group, start)


def _shown_key(key: tuple[tuple[bool, Any], ...]) -> str:
    return repr(tuple(value for _, value in key))


def _arrays(record: type[Record], group: list[tuple[Any, ...]], start: int) -> list[pa.Array]:
    """Make the arrays of one row group; `start` is the number of its first row."""
    arrays = []
    for (name, kind, _, nullable), values in zip(_columns(record), zip(*group, strict=True), strict=True):
        wrong = _first_of_another_type(values, kind, nullable)
        if wrong is None:
            try:
                arrays.append(pa.array(values, _ARROW[kind]))
                continue
            except (ValueError, OverflowError):  # a lone surrogate, or an integer beyond 64 bits
                wrong = next(place for place, value in enumerate(values) if not _fits(value, kind))
        raise FactsError(
            f"row {start + wrong} of {record.TABLE}: column {name} must be {_SHOWN[kind]}{' or null' * nullable}, "
            f"found {ascii(values[wrong])[:80]}"
        )
    return arrays


def _first_of_another_type(values: tuple[Any, ...], kind: Any, nullable: bool) -> int | None:
    """Find the first value not exactly of its column's type: pyarrow would store 1.5 as 1 and bytes as text."""
    expected = tuple if kind == tuple[str, ...] else kind
    allowed = {expected, NoneType} if nullable else {expected}
    if not set(map(type, values)) <= allowed:
        return next(place for place, value in enumerate(values) if type(value) not in allowed)
    if expected is tuple:
        texts = (all(type(each) is str for each in value or ()) for value in values)
        return next((place for place, good in enumerate(texts) if not good), None)
    return None


def _fits(value: Any, kind: Any) -> bool:
    try:
        pa.array([value], _ARROW[kind])
    except (ValueError, OverflowError):
        return False
    return True
