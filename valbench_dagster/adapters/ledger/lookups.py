"""Look-ups: what the ledger holds of many fingerprints, in few statements.

Each function takes an open connection and any number of fingerprints. They travel as one value (a JSON list to
SQLite, an array to PostgreSQL): a statement with a parameter for each is slower to make and to read.

Bodies are read in the order in which they lie: first the index gives the rows to serve, then those are read. In the
order of the fingerprints the whole file would be read once for every statement.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Connection, Select, Text, any_, bindparam, func, select

from valbench_dagster.adapters.ledger.tables import calls
from valbench_dagster.llm.ledger import StoredFailure

AT_ONCE = 10_000
"""Fingerprints, or rows, of one statement."""


def known(connection: Connection, fingerprints: Sequence[str]) -> set[str]:
    """Give those that have a stored reply; no row of the table is read, only the index."""
    wanted = select(calls.c.fingerprint).where(calls.c.kind == "reply", _fingerprint_listed(connection))
    return {fingerprint for (fingerprint,) in _each(connection, wanted, fingerprints)}


def replies(connection: Connection, fingerprints: Sequence[str]) -> dict[str, bytes]:
    """Give the stored reply of each that has one: of several, the one with the lowest id."""
    first = select(func.min(calls.c.id)).where(calls.c.kind == "reply", _fingerprint_listed(connection))
    served = [row_id for (row_id,) in _each(connection, first.group_by(calls.c.fingerprint), fingerprints)]
    wanted = select(calls.c.fingerprint, calls.c.reply).where(_id_listed(connection))
    return {fingerprint: bytes(reply) for fingerprint, reply in _each(connection, wanted, served)}


def failures(connection: Connection, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
    """Give the newest failure of each that has one."""
    last = select(func.max(calls.c.id)).where(calls.c.kind.in_(["rejected", "failed"]), _fingerprint_listed(connection))
    newest = [row_id for (row_id,) in _each(connection, last.group_by(calls.c.fingerprint), fingerprints)]
    wanted = select(calls.c.fingerprint, calls.c.kind, calls.c.message).where(_id_listed(connection))
    found = _each(connection, wanted, newest)
    return {fingerprint: StoredFailure(kind, message or "no message") for fingerprint, kind, message in found}


def _fingerprint_listed(connection: Connection) -> ColumnElement[bool]:
    if connection.dialect.name == "sqlite":
        return calls.c.fingerprint.in_(_json_list())
    return calls.c.fingerprint == any_(bindparam("listed", type_=ARRAY(Text)))


def _id_listed(connection: Connection) -> ColumnElement[bool]:
    if connection.dialect.name == "sqlite":
        return calls.c.id.in_(_json_list())
    return calls.c.id == any_(bindparam("listed", type_=ARRAY(BigInteger)))


def _json_list() -> Select[Any]:
    return select(func.json_each(bindparam("listed")).table_valued("value").c.value)


def _each(connection: Connection, query: Select[Any], listed: Sequence[str] | Sequence[int]) -> Iterator[Any]:
    # In ascending order index and table are read from one end to the other, not page after page at random.
    ordered: list[Any] = sorted(listed)
    as_text = connection.dialect.name == "sqlite"
    for start in range(0, len(ordered), AT_ONCE):
        some = ordered[start : start + AT_ONCE]
        yield from connection.execute(query, {"listed": orjson.dumps(some).decode() if as_text else some})
