"""The ledger in a database: SQLite by default, PostgreSQL by URL. The only importer of sqlalchemy.

Here belong the table, its look-ups and the one writer thread of a process. What differs between databases stands in
`_connect` alone. The writer commits what is queued as soon as its last commit has returned: under load many calls
share a commit, a lone call waits for nothing.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from filelock import FileLock
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from valbench_dagster.llm.ledger import FinishedCall, StoredFailure

BUSY_TIMEOUT_S = 60.0
LOOK_UP_AT_ONCE = 900
"""Fingerprints of one query: SQLite took 999 parameters at most for most of its life."""
COMMIT_AT_MOST = 2000
"""Calls of one commit, so that a burst does not keep the first of them waiting."""

_SETUP_LOCK = 5_10_05465  # any number that nobody else uses for an advisory lock in the same database

_calls = Table(
    "calls",
    MetaData(),
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("fingerprint", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("reply", LargeBinary),
    Column("status", Integer),
    Column("message", Text),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("started_at", String(40), nullable=False),
    Column("latency", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run", Text, nullable=False),
    Column("schema_mode", String(16)),
    Column("served_model", Text),
    Column("cached_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("cost", Float),
    Column("batch", Text),
    Column("step", Text),
    sqlite_autoincrement=True,
)
_index = Index("calls_by_fingerprint", _calls.c.fingerprint, _calls.c.kind, _calls.c.id)


class LedgerUnwritable(Exception):  # noqa: N818 - names the state the run stops in
    """The ledger could not store a call; nothing that is not stored has been used."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call in the writer's queue, and who waits for it where."""

    call: FinishedCall
    loop: asyncio.AbstractEventLoop
    stored: asyncio.Future[None]


class SqlLedger:
    """The ledger at a database URL (`sqlite:///path`, `postgresql+psycopg://...`), created where there is none.

    Safe to open from many processes at once. Readers have connections of their own and never wait for the writer.
    Close it, or use it as a context manager: closing stores what is queued.
    """

    def __init__(self, url: str) -> None:
        """Open the ledger; raises `ValueError` for a URL that can hold none, `LedgerUnwritable` if it does not open."""
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ValueError("the ledger's URL is none: expected one such as sqlite:///data/ledger.sqlite") from None
        self._name = parsed.render_as_string(hide_password=True)
        try:
            self._engine = _connect(parsed)
        except (SQLAlchemyError, OSError) as error:
            raise LedgerUnwritable(f"the ledger {self._name} cannot be opened ({_cause(error)})") from None
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._writer: threading.Thread | None = None
        self._closed = False
        self._broken: LedgerUnwritable | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def known(self, fingerprints: Sequence[str]) -> set[str]:
        """Give those fingerprints that have a stored reply."""
        columns = select(_calls.c.fingerprint).where(_calls.c.kind == "reply")
        return {fingerprint for (fingerprint,) in self._look_up(columns, fingerprints)}

    def replies(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Give the stored reply of each fingerprint that has one: of several, the one with the lowest id."""
        columns = select(_calls.c.id, _calls.c.fingerprint, _calls.c.reply).where(_calls.c.kind == "reply")
        found: dict[str, tuple[int, bytes]] = {}
        for row_id, fingerprint, reply in self._look_up(columns, fingerprints):
            if fingerprint not in found or row_id < found[fingerprint][0]:
                found[fingerprint] = (row_id, bytes(reply))
        return {fingerprint: reply for fingerprint, (_, reply) in found.items()}

    def failures(self, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
        """Give the newest failure of each fingerprint that has one."""
        columns = select(_calls.c.id, _calls.c.fingerprint, _calls.c.kind, _calls.c.message).where(
            _calls.c.kind.in_(["rejected", "failed"])
        )
        found: dict[str, tuple[int, StoredFailure]] = {}
        for row_id, fingerprint, kind, message in self._look_up(columns, fingerprints):
            if fingerprint not in found or row_id > found[fingerprint][0]:
                found[fingerprint] = (row_id, StoredFailure(kind, message or "no message"))
        return {fingerprint: failure for fingerprint, (_, failure) in found.items()}

    def count(self, run: str | None = None) -> int:
        """Count the calls of a run, or all."""
        query = select(func.count()).select_from(_calls)
        with self._engine.connect() as connection:
            return connection.execute(query if run is None else query.where(_calls.c.run == run)).scalar_one()

    async def append(self, call: FinishedCall) -> None:
        """Store a call; return when it is committed. It is queued at once: cancelling the wait does not unqueue it.

        Raises `LedgerUnwritable` if this or an earlier commit failed: a run whose replies cannot be kept must stop.
        """
        loop = asyncio.get_running_loop()
        stored = loop.create_future()
        with self._guard:
            if self._broken is not None:
                raise self._broken
            if self._closed:
                raise LedgerUnwritable(f"the ledger {self._name} is closed")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
                self._writer.start()
            self._queue.put(_Waiting(call, loop, stored))
        await stored

    def close(self) -> None:
        """Store what is queued, then let go of the database. Closing twice does nothing more."""
        with self._guard:
            first, self._closed = not self._closed, True
            if first and self._writer is not None:
                self._queue.put(None)
        if self._writer is not None:
            self._writer.join()
        self._engine.dispose()

    def _look_up(self, columns: Select[Any], fingerprints: Sequence[str]) -> Iterator[Any]:
        with self._engine.connect() as connection:
            for start in range(0, len(fingerprints), LOOK_UP_AT_ONCE):
                some = fingerprints[start : start + LOOK_UP_AT_ONCE]
                yield from connection.execute(columns.where(_calls.c.fingerprint.in_(some)))

    def _write(self) -> None:
        """Commit what is queued, until told to close."""
        going_on = True
        while going_on:
            taken = [self._queue.get(), *islice(self._queued(), COMMIT_AT_MOST - 1)]
            going_on = None not in taken
            batch = [waiting for waiting in taken if waiting is not None]
            if batch:
                _tell(batch, self._commit(batch))

    def _queued(self) -> Iterator[_Waiting | None]:
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return

    def _commit(self, batch: list[_Waiting]) -> LedgerUnwritable | None:
        if self._broken is None:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(_calls), [_row(waiting.call) for waiting in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be told of it
                with self._guard:
                    self._broken = LedgerUnwritable(
                        f"the ledger {self._name} cannot be written ({_cause(error)}). Nothing that is not stored was "
                        "used. Free space or mend the database, then run again: it goes on from there."
                    )
        return self._broken


def _row(call: FinishedCall) -> dict[str, Any]:
    row = asdict(call)
    if call.message is not None:
        # A server's message may hold what no database takes as text.
        row["message"] = call.message.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return row


def _cause(error: BaseException) -> str:
    """Give the database's own word; the whole text would quote the replies that were to be stored."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}"


def _tell(batch: list[_Waiting], error: LedgerUnwritable | None) -> None:
    """Wake who waits, once per event loop."""

    def wake(futures: list[asyncio.Future[None]]) -> None:
        for future in futures:
            if future.done():
                continue  # its waiter was cancelled
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiting in batch:
        by_loop.setdefault(waiting.loop, []).append(waiting.stored)
    for loop, futures in by_loop.items():
        try:
            loop.call_soon_threadsafe(wake, futures)
        except RuntimeError:
            continue  # the loop has ended and its waiters with it: the calls are stored, nobody asks


def _connect(url: URL) -> Engine:
    """Open the database with the settings of its kind and create the table where there is none."""
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SETUP_LOCK})
            _create(connection)
        return engine

    if url.database in (None, "", ":memory:"):
        raise ValueError("a ledger must outlive its process: name a file, as in sqlite:///data/ledger.sqlite")
    path = Path(url.database or "").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut
        cursor.close()

    # Several processes may start at once on no file: one sets it up, with no look at it by the others meanwhile.
    # (Turning WAL on does not wait for a lock as other statements do.)
    with FileLock(f"{path}.setup.lock"), engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        _create(connection)
        connection.commit()
    return engine


def _create(connection: Connection) -> None:
    connection.execute(CreateTable(_calls, if_not_exists=True))
    connection.execute(CreateIndex(_index, if_not_exists=True))
