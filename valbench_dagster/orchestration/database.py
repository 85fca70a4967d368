"""The DuckDB connection of the warehouse: dagster-duckdb's resource, opened and closed as we need it.

Upstream leaves the connection, and with it the lock, open when the body raises, and retries without jitter for up to
102 s when the file is busy (dagster-duckdb 0.29.27). The warehouse is built aside, in a file that nobody else opens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster_duckdb import DuckDBResource

from valbench_dagster.adapters.warehouse.connection import configuration


class WarehouseDatabase(DuckDBResource):
    """Opens one DuckDB file read-write, with the project's limits; never an IO manager."""

    @contextmanager
    def open(self, path: Path) -> Iterator[Any]:
        """Open `path`, and close it whatever happens inside."""
        opened = DuckDBResource(database=str(path), connection_config=configuration())
        with opened.get_connection() as connection:
            try:
                yield connection
            finally:
                connection.close()
