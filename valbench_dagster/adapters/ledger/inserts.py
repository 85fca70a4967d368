"""Inserts: rows of the ledger's tables as tuples, and the quickest safe way to store many of them.

A row is stored once: one with an id that is there already is passed over. The statements are compiled by SQLAlchemy
and given to the driver as they are; its own path takes several times as long a row.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite

from valbench_dagster.adapters.ledger.tables import OWN_IDS, batch_events, calls
from valbench_dagster.llm.ledger import BatchEvent, FinishedCall

Row = tuple[Any, ...]

COLUMNS = {
    table.name: [column.name for column in table.columns if column.name != "id"] for table in (calls, batch_events)
}
"""The columns of each table in the order of its rows here; the first is the row's own id."""

ROWS_A_STATEMENT = 32
"""Rows of one INSERT on SQLite. Its driver lets go of Python's lock at every statement's step, and beside a busy event
loop waits up to 5 ms to have it back: measured 180 rows/s one by one, 3,500 in statements of 32."""

_ORDER_LOCK = 5_10_05466  # as the number of the set-up's lock in `connection.py`, and another one

# Plain places for values, in the order of the columns. (SQLAlchemy leaves these classes without types.)
_SQLITE: Dialect = sqlite.dialect(paramstyle="qmark")
_POSTGRESQL: Dialect = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]

_call_values = attrgetter(*COLUMNS[calls.name][1:])


def call_row(call_id: str, call: FinishedCall) -> Row:
    """Give a call as a row of `calls`."""
    # Both are a server's text, which may hold what no database takes as text.
    if not (_storable(call.message) and _storable(call.served_model)):
        call = replace(call, message=_readable(call.message), served_model=_readable(call.served_model))
    return (call_id, *_call_values(call))


def event_row(event_id: str, event: BatchEvent) -> Row:
    """Give an event as a row of `batch_events`."""
    texts = orjson.dumps(event.fingerprints).decode()
    return (
        event_id,
        *(event.batch, event.kind, event.endpoint, event.provider, event.at, event.run, event.remote_id),
        *(texts, _readable(event.detail)),
    )


def insert_rows(cursor: Any, dialect: Dialect, table: Table, rows: Sequence[Row]) -> int:
    """Store rows of one table in order, by an open cursor of the driver, and give how many were not there yet.

    Whoever calls commits.
    """
    if dialect.name == "sqlite":
        new = 0
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            some = rows[start : start + ROWS_A_STATEMENT]
            cursor.execute(_statement(dialect.name, table, len(some)), [value for row in some for value in row])
            new += cursor.rowcount
        return new
    # Ids are given when rows are stored, and seen when they are committed: one process at a time, else a row could come
    # to be seen in front of one that was served.
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ORDER_LOCK])
    if len(rows) == 1:
        cursor.execute(_statement(dialect.name, table, 1), rows[0])
    else:
        # One round trip for all. Measured beside COPY: 0.017 against 0.014 ms of CPU a row at 64 rows a commit; COPY
        # fails where a row is there already.
        cursor.executemany(_statement(dialect.name, table, 1), rows)
    return int(cursor.rowcount)


@cache
def _statement(dialect: str, table: Table, rows: int) -> str:
    """Compile the INSERT of so many rows, with a plain `?` or `%s` for every value in order."""
    names, own = COLUMNS[table.name], OWN_IDS[table.name]
    if dialect == "sqlite":
        one = sqlite.insert(table).on_conflict_do_nothing(index_elements=[own])
        compiled = str(one.compile(dialect=_SQLITE, column_keys=names))
        values = f"({', '.join('?' * len(names))})"
        return compiled.replace(values, ", ".join([values] * rows))  # SQLAlchemy takes 10 ms to write it out itself
    several = postgresql.insert(table).inline().on_conflict_do_nothing(index_elements=[own])
    return str(several.compile(dialect=_POSTGRESQL, column_keys=names))


def _storable(text: str | None) -> bool:
    return text is None or text.isprintable()


def _readable(text: str | None) -> str | None:
    if text is None:
        return None
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
