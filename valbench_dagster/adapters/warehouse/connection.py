"""Connection: the one way a DuckDB database is opened and asked.

Here belong the settings that every connection has and the reading of a result into a frame. Only calls that DuckDB
1.5 and 2.0 share are used. Not here: any SQL that defines a number (`sql/`), and how a warehouse is built (`build`).
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import polars as pl
from duckdb import DuckDBPyConnection

from valbench_dagster.project_files import project_file

MEMORY_LIMIT = "4GB"  # DuckDB's own default is 80% of the machine for every process
STORAGE_VERSION = "v1.5.0"  # a file that 2.0 writes stays readable by 1.5


def configuration(
    *, memory_limit: str = MEMORY_LIMIT, threads: int | None = None, temp_directory: Path | None = None
) -> dict[str, str]:
    """Give the settings of every connection, as `duckdb.connect(config=...)` takes them.

    `memory_limit` is a size such as `4GB`; `threads` null leaves DuckDB's choice (all cores); `temp_directory` null
    leaves spilled data beside the database. No extension is ever looked for on the network, and a name in SQL never
    means a Python variable.
    """
    settings = {
        "memory_limit": memory_limit,
        "autoinstall_known_extensions": "false",
        "python_enable_replacements": "false",
        "storage_compatibility_version": STORAGE_VERSION,
    }
    if threads is not None:
        settings["threads"] = str(threads)
    if temp_directory is not None:
        settings["temp_directory"] = os.fspath(temp_directory)
    return settings


@contextmanager
def connect(
    path: Path | None,
    *,
    read_only: bool = False,
    memory_limit: str = MEMORY_LIMIT,
    threads: int | None = None,
    temp_directory: Path | None = None,
) -> Iterator[DuckDBPyConnection]:
    """Open the database at `path` (null: a fresh one in memory) and close it whatever happens.

    Raises `duckdb.IOException` when another process holds the file, or when it is missing and `read_only`.
    """
    settings = configuration(memory_limit=memory_limit, threads=threads, temp_directory=temp_directory)
    database = ":memory:" if path is None else os.fspath(path)
    connection = duckdb.connect(database, read_only=read_only, config={**settings})
    try:
        yield connection
    finally:
        connection.close()


def rows(connection: DuckDBPyConnection, statement: str, params: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Run one SELECT with `$name` parameters and give its rows as a frame, in the order the statement says.

    Raises `ValueError` when the statement is no SELECT or names a parameter that `params` lacks (DuckDB 2.0
    would take a session variable of that name), and DuckDB's own error otherwise.
    """
    given = dict(params or {})
    parsed = connection.extract_statements(statement)
    if len(parsed) != 1:
        raise ValueError(f"expected one SQL statement, found {len(parsed)}: {statement[:200]}")
    if missing := set(parsed[0].named_parameters) - set(given):
        raise ValueError(f"the SQL names parameters that were not given: {', '.join(sorted(missing))}")
    if parsed[0].type != duckdb.StatementType.SELECT:
        raise ValueError(f"expected a SELECT, found a statement of another kind: {statement[:200]}")
    relation = connection.sql(statement, params=given) if given else connection.sql(statement)
    frame: pl.DataFrame = relation.pl()
    return frame


def run_query(connection: DuckDBPyConnection, name: str) -> pl.DataFrame:
    """Run the query of that name in `sql/queries`; raises `FileNotFoundError` where there is none."""
    return rows(connection, project_file(f"sql/queries/{name}.sql").read_text(encoding="utf-8"))


def register_stores(connection: DuckDBPyConnection, paths: Iterable[str]) -> None:
    """Let DuckDB read facts on an object store through the same fsspec that wrote them."""
    for protocol in sorted({path.partition("://")[0] for path in paths if "://" in path}):
        connection.register_filesystem(fsspec.filesystem(protocol))
