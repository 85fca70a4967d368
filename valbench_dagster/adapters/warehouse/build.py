"""Build: the warehouse made whole and aside from facts, then swapped in by one rename.

Here belongs the safety of it: one builder at a time, nobody sees half, any failure leaves the old warehouse. What is
built is said by `sql/`, what is demanded of it by the caller's `verify`.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from duckdb import DuckDBPyConnection
from filelock import FileLock, Timeout

from valbench_dagster.adapters.warehouse.connection import connect, register_stores
from valbench_dagster.adapters.warehouse.sql_files import SqlFile, load_sql_files

LOCK_TIMEOUT_S = 3600.0
"""A build takes seconds to minutes; whoever waits an hour waits for a process that hangs."""


class BuildError(Exception):
    """The warehouse could not be built; the old one, if any, is as it was."""


@dataclass(frozen=True, slots=True)
class BuiltTable:
    """One table or view as built: `columns` maps its columns, in order, to their SQL types."""

    name: str
    kind: str
    rows: int
    columns: Mapping[str, str]


def build(
    open_database: Callable[[Path], AbstractContextManager[DuckDBPyConnection]],
    target: Path,
    files: Mapping[str, Sequence[str]],
    verify: Callable[[DuckDBPyConnection], list[str]] | None = None,
    sql_files: Sequence[SqlFile] | None = None,
) -> list[BuiltTable]:
    """Build all of `sql/` (or `sql_files`, in their order) into `target` and give what was built, in that order.

    `open_database` opens a new database read-write and closes it. `files` maps a fact table to its Parquet files, at
    least one each (`Facts.paths` gives an empty one where there are no facts). `verify` looks at the finished database
    and says in sentences what is wrong with it. A second builder waits for the first. Raises `BuildError`, naming the
    file of `sql/` or all that `verify` said; after any failure the old warehouse is in place.
    """
    ordered = load_sql_files() if sql_files is None else sql_files
    if missing := sorted({fact for file in ordered for fact in file.facts if not files.get(fact)}):
        raise BuildError(f"no Parquet files were given for the facts {', '.join(missing)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.building")
    try:
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=LOCK_TIMEOUT_S):
            _remove(aside)
            try:
                built = _build_aside(open_database, aside, ordered, files, verify)
                _swap(aside, target)
            finally:
                _remove(aside)
    except Timeout as error:
        raise BuildError(f"another build has held {error.lock_file} for an hour: end that process") from error
    return built


@contextmanager
def read(target: Path) -> Iterator[DuckDBPyConnection]:
    """Open the warehouse read-only; a build that ends meanwhile is seen by the next opening.

    (By the next one of this process only once all its older ones are closed: DuckDB shares them by path.) Raises
    `duckdb.IOException` where there is none.
    """
    with connect(target, read_only=True) as connection:
        yield connection


def _build_aside(
    open_database: Callable[[Path], AbstractContextManager[DuckDBPyConnection]],
    aside: Path,
    ordered: Sequence[SqlFile],
    files: Mapping[str, Sequence[str]],
    verify: Callable[[DuckDBPyConnection], list[str]] | None,
) -> list[BuiltTable]:
    with open_database(aside) as connection:
        register_stores(connection, (path for paths in files.values() for path in paths))
        built = [_run(connection, file, files) for file in ordered]
        if problems := verify(connection) if verify else []:
            raise BuildError(f"the new warehouse is not sound ({len(problems)}):\n" + "\n".join(problems))
        connection.execute("CHECKPOINT")
    return built


def _run(connection: DuckDBPyConnection, file: SqlFile, files: Mapping[str, Sequence[str]]) -> BuiltTable:
    parameters = {fact: list(files[fact]) for fact in sorted(file.facts)}
    name = {"name": file.name}
    try:
        if parameters:
            connection.execute(file.statement, parameters).fetchall()
        else:
            connection.execute(file.statement).fetchall()
        [(count,)] = connection.execute("SELECT count(*) FROM query_table($name)", name).fetchall()
        columns = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $name "
            "ORDER BY ordinal_position",
            name,
        ).fetchall()
    except Exception as error:
        raise BuildError(f"sql/{file.folder}/{file.name}.sql failed: {error}") from error
    return BuiltTable(file.name, file.kind, count, dict(columns))


def _swap(aside: Path, target: Path) -> None:
    """Replace the warehouse by the new one, which is on the disk before it has its name."""
    _sync(aside)
    aside.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(aside: Path) -> None:
    """Remove what a build, perhaps a killed one, has left: database, log, spilled data."""
    for path in (aside, aside.with_name(f"{aside.name}.wal")):
        path.unlink(missing_ok=True)
    spilled = aside.with_name(f"{aside.name}.tmp")
    if spilled.exists():
        shutil.rmtree(spilled)
