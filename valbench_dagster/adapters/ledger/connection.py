"""Connections: a ledger's database opened with the settings of its kind, and which of its errors pass by themselves.

What differs between databases when they are opened stands here; what differs in look-ups is `lookups.py`, in storing
`inserts.py`.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from sqlalchemy import Engine, create_engine, event, func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from valbench_dagster.adapters.ledger.errors import LedgerRefused, LedgerUnwritable, cause
from valbench_dagster.adapters.ledger.layout import prepare
from valbench_dagster.adapters.ledger.tables import batch_events, calls

T = TypeVar("T")

_SETUP_LOCK = 5_10_05465  # any number that nobody else uses for an advisory lock in the same database
_PASSING_STATES = ("08", "40", "53300", "57P", "55P03")
"""SQLSTATEs (or how they begin) of a server that is away, starting, stopping, full of connections, or of a deadlock."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a database that is busy or away is waited for.

    `tries` in all, with pauses from `first_pause_s` that double up to `longest_pause_s`; `busy_s` is what each try
    itself waits for another process's lock (SQLite).
    """

    tries: int = 8
    first_pause_s: float = 0.5
    longest_pause_s: float = 10.0
    busy_s: float = 20.0

    def pause(self, failed: int) -> float | None:
        """Give the seconds to wait after so many tries that failed; null where there is none left."""
        return None if failed >= self.tries else min(self.first_pause_s * 2 ** (failed - 1), self.longest_pause_s)


def read_url(url: str) -> URL:
    """Read a ledger's URL; raises `LedgerRefused` for one that can hold none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerRefused("the ledger's URL is none: expected one such as sqlite:///data/ledger.sqlite") from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise LedgerRefused(
            f"no ledger can be kept by {parsed.drivername}: expected a URL such as sqlite:///data/ledger.sqlite or "
            "postgresql+psycopg://user@host/database"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LedgerRefused("a ledger must outlive its process: name a file, as in sqlite:///data/ledger.sqlite")
    return parsed


def shown_url(url: URL) -> str:
    """Give a URL as a person may see it, without its password."""
    return url.render_as_string(hide_password=True)


def is_there(url: URL) -> bool:
    """Say whether there may be a ledger at a URL: a file that does not exist holds none."""
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def connect(url: URL, patience: Patience) -> Engine:
    """Open the database, creating it (SQLite) and its tables where there are none.

    Raises `LedgerUnwritable` where it does not open, `LedgerRefused` for tables that are not this program's.
    """
    try:
        return _sqlite(url, patience) if url.get_backend_name() == "sqlite" else _postgresql(url)
    except ModuleNotFoundError as error:
        raise LedgerRefused(
            f"a ledger at {shown_url(url)} needs the package {error.name}: install valbench_dagster[postgresql]"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        raise LedgerUnwritable(f"the ledger {shown_url(url)} cannot be opened ({cause(error)})") from None


def passes(error: BaseException) -> bool:
    """Say whether trying again may help: the database is locked by another process, away, or dropped the connection."""
    found = getattr(error, "orig", None) or error
    if isinstance(found, sqlite3.Error):
        code = getattr(found, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if type(found).__name__ in ("InterfaceError", "OperationalError") and getattr(found, "sqlstate", None) is None:
        return True  # a driver's word for a connection that broke or was never had
    return str(getattr(found, "sqlstate", None) or "").startswith(_PASSING_STATES)


def patiently(patience: Patience, work: Callable[[], T], failed: Callable[[], None] = lambda: None) -> T:
    """Do what may be done again until it is done, calling `failed` after each try that failed.

    Raises the last error once patience is at its end, and at once an error that does not pass.
    """
    tries = 0
    while True:
        try:
            return work()
        except Exception as error:
            failed()
            tries += 1
            pause = patience.pause(tries) if passes(error) else None
            if pause is None:
                raise
        time.sleep(pause)


def bytes_on_disk(engine: Engine) -> int:
    """Give the size of a ledger as it lies: the database file with its write-ahead log, or the tables with indexes."""
    if engine.dialect.name == "sqlite":
        path = Path(engine.url.database or "")
        files = (path, path.with_name(f"{path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
    sizes = select(*(func.pg_total_relation_size(table.name) for table in (calls, batch_events)))
    with engine.connect() as connection:
        return sum(int(size) for size in connection.execute(sizes).one())


def _postgresql(url: URL) -> Engine:
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone() == ("off",):
            cursor.execute("SET synchronous_commit = on")  # a commit survives a power cut, whatever others here want
        cursor.close()
        connection.commit()

    with _else_let_go(engine), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SETUP_LOCK})
        prepare(connection, shown_url(url))
    return engine


def _sqlite(url: URL, patience: Patience) -> Engine:
    path = Path(url.database or "").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": patience.busy_s}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut
        cursor.close()

    # Several processes may start at once on no file: one sets it up, with no look at it by the others meanwhile.
    # (Turning WAL on does not wait for a lock as other statements do.)
    with _else_let_go(engine), FileLock(f"{path}.setup.lock"), engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        prepare(connection, shown_url(url))
        connection.commit()
    return engine


@contextmanager
def _else_let_go(engine: Engine) -> Iterator[None]:
    """Close an engine's connections if setting its database up fails."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise
