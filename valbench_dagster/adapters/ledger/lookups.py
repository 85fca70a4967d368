"""Look-ups: what the ledger holds of many fingerprints, in few statements.

Each function takes an open connection and any number of fingerprints. They travel as one value (a JSON list to
SQLite, an array to PostgreSQL): a statement with a parameter for each is slower to make and to read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, ColumnElement, Connection, Select, Text, any_, bindparam, func, select

from valbench_dagster.adapters.ledger.tables import calls
from valbench_dagster.llm.ledger import StoredFailure

AT_ONCE = 10_000
"""Fingerprints of one statement."""


def known(connection: Connection, fingerprints: Sequence[str]) -> set[str]:
    """Give those that have a stored reply; no row of the table is read, only the index."""
    wanted = select(calls.c.fingerprint).where(calls.c.kind == "reply", _listed(connection))
    return {fingerprint for (fingerprint,) in _each(connection, wanted, fingerprints)}


def replies(connection: Connection, fingerprints: Sequence[str]) -> dict[str, bytes]:
    """Give the stored reply of each that has one: of several, the one with the lowest id."""
    first = select(func.min(calls.c.id)).where(calls.c.kind == "reply", _listed(connection))
    wanted = select(calls.c.fingerprint, calls.c.reply).where(calls.c.id.in_(first.group_by(calls.c.fingerprint)))
    return {fingerprint: bytes(reply) for fingerprint, reply in _each(connection, wanted, fingerprints)}


def failures(connection: Connection, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
    """Give the newest failure of each that has one."""
    last = select(func.max(calls.c.id)).where(calls.c.kind.in_(["rejected", "failed"]), _listed(connection))
    wanted = select(calls.c.fingerprint, calls.c.kind, calls.c.message).where(
        calls.c.id.in_(last.group_by(calls.c.fingerprint))
    )
    found = _each(connection, wanted, fingerprints)
    return {fingerprint: StoredFailure(kind, message or "no message") for fingerprint, kind, message in found}


def _listed(connection: Connection) -> ColumnElement[bool]:
    if connection.dialect.name == "sqlite":
        return calls.c.fingerprint.in_(select(func.json_each(bindparam("listed")).table_valued("value").c.value))
    return calls.c.fingerprint == any_(bindparam("listed", type_=ARRAY(Text)))


def _each(connection: Connection, query: Select[Any], fingerprints: Sequence[str]) -> Iterator[Any]:
    # In their order the index is read from one end to the other, not page after page at random.
    ordered = sorted(fingerprints)
    as_text = connection.dialect.name == "sqlite"
    for start in range(0, len(ordered), AT_ONCE):
        some = ordered[start : start + AT_ONCE]
        yield from connection.execute(query, {"listed": orjson.dumps(some).decode() if as_text else some})
