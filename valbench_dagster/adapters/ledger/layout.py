"""Layouts: a database that has no ledger gets one, an older one gets what it lacks, a newer one is refused.

Called by `connection.py` with a lock held, so one process at a time is in here. Everything is done in an order in
which a kill in between leaves what the next opening completes: the layout's number is written last.
"""

from typing import Any

from sqlalchemy import Column, Connection, Text, cast, func, insert, inspect, select, text, update
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from valbench_dagster.adapters.ledger.errors import LedgerRefused
from valbench_dagster.adapters.ledger.tables import FIRST_LAYOUT, INDEXES, LAYOUT, TABLES, calls, ledger_layout

FILLED_AT_ONCE = 20_000
"""Old rows that get an id of their own in one transaction."""


def prepare(connection: Connection, name: str) -> None:
    """Make the tables of `connection`'s database those of `LAYOUT`; `name` is named by errors.

    Raises `LedgerRefused` for a newer layout, and for a table `calls` that is no ledger's.
    """
    found = _layout(connection, name)
    if found > LAYOUT:
        raise LedgerRefused(
            f"the ledger {name} has layout {found}, made by a newer version of valbench_dagster; this one knows "
            f"layouts up to {LAYOUT}: install the newer version, or name another ledger by VALBENCH_LEDGER_URL"
        )
    if found == LAYOUT:
        return
    for table in TABLES:
        connection.execute(CreateTable(table, if_not_exists=True))
    _add_missing_columns(connection)
    _fill_call_ids(connection)
    for index in INDEXES:
        connection.execute(CreateIndex(index, if_not_exists=True))
    connection.execute(insert(ledger_layout), {"number": LAYOUT})


def _layout(connection: Connection, name: str) -> int:
    """Give the number of the layout that is there; 0 where there is no ledger."""
    inspector = inspect(connection)
    if inspector.has_table(ledger_layout.name):
        number = connection.execute(select(func.max(ledger_layout.c.number))).scalar()
        if number is not None:
            return int(number)
    if not inspector.has_table(calls.name):
        return 0
    missing = sorted(set(FIRST_LAYOUT) - set(_columns(connection)))
    if missing:
        raise LedgerRefused(
            f"{name} has a table {calls.name} that is no ledger's (it lacks {', '.join(missing)}): name another "
            "database by VALBENCH_LEDGER_URL"
        )
    return 1


def _columns(connection: Connection) -> list[str]:
    found: list[Any] = inspect(connection).get_columns(calls.name)
    return [column["name"] for column in found]


def _add_missing_columns(connection: Connection) -> None:
    there = _columns(connection)
    for column in calls.columns:
        if column.name not in there:
            # Rows that are there have no value yet, whatever new ones must have.
            definition = CreateColumn(Column(column.name, column.type)).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE calls ADD COLUMN {definition}"))


def _fill_call_ids(connection: Connection) -> None:
    """Give old rows ids made from what they are: two copies of a ledger, upgraded apart, agree on them."""
    own = calls.c.fingerprint + "/" + calls.c.started_at + "/" + cast(calls.c.id, Text)
    filling = update(calls).where(calls.c.call_id.is_(None)).values(call_id=own)
    last = connection.execute(select(func.max(calls.c.id))).scalar() or 0
    for start in range(0, last, FILLED_AT_ONCE):
        connection.execute(filling.where(calls.c.id > start, calls.c.id <= start + FILLED_AT_ONCE))
        if connection.dialect.name == "sqlite":
            connection.commit()  # the write-ahead log stays small; the lock on the set-up is held by a file
