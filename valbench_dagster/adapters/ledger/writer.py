"""The writer: the one thread of a process that stores rows, many to a commit.

It commits what is queued as soon as its last commit has returned, but begins no two within 20 ms: under load many rows
share a commit, a lone one waits for nothing. A database that is locked, restarting or gone for a moment is waited for,
and what was held is stored then; a commit whose answer was lost is tried again, which stores no row twice. Whoever
waits for a row is woken when it is on the disk, all of one event loop at once.
"""

import asyncio
import threading
import time
from collections.abc import Sequence

from sqlalchemy import Engine, PoolProxiedConnection, Table

from valbench_dagster.adapters.ledger.connection import Patience, patiently, shown_url
from valbench_dagster.adapters.ledger.errors import LedgerUnwritable, unwritable
from valbench_dagster.adapters.ledger.inserts import Row, insert_rows

COMMIT_AT_MOST = 2000
"""Rows of one commit, so that a burst does not keep the first of them waiting."""

COMMIT_EVERY_S = 0.02
"""The least time from the beginning of a commit to that of the next. A quick disk would else have 380 of them for 500
rows a second: measured 0.3 ms of CPU a row, and 0.1 with ten to a commit. No call's place at its endpoint waits for it;
an endpoint of concurrency 1 that answers at once has its calls stored at 50 to 100 a second."""

_Waiting = tuple[Table, Row, asyncio.AbstractEventLoop, "asyncio.Future[None]"]
"""A row in the queue, and who waits for it where."""


class Writer:
    """Stores rows for any number of event loops of this process; its thread starts with the first row."""

    def __init__(self, engine: Engine, patience: Patience) -> None:
        self._engine = engine
        self._patience = patience
        self._name = shown_url(engine.url)
        self._guard = threading.Lock()
        self._queue: list[_Waiting] = []
        self._queued = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: PoolProxiedConnection | None = None
        self._closed = False
        self._broken: LedgerUnwritable | None = None

    async def store(self, table: Table, row: Row) -> None:
        """Store a row; return when it is committed. It is queued at once: cancelling the wait does not unqueue it.

        Raises `LedgerUnwritable` if this or an earlier commit failed: a run whose replies cannot be kept must stop.
        """
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        with self._guard:
            if self._broken is not None:
                raise self._broken
            if self._closed:
                raise LedgerUnwritable(f"the ledger {self._name} is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
                self._thread.start()
            self._queue.append((table, row, loop, stored))
            if len(self._queue) == 1:
                self._queued.set()
        await stored

    def close(self) -> None:
        """Store what is queued, then end the thread. Closing twice does nothing more."""
        with self._guard:
            self._closed = True
            self._queued.set()
        if self._thread is not None:
            self._thread.join()

    def _write(self) -> None:
        """Commit what is queued, until closed and nothing is."""
        began = -COMMIT_EVERY_S
        while True:
            self._queued.wait()
            if not self._closed and (early := began + COMMIT_EVERY_S - time.monotonic()) > 0:
                time.sleep(early)
            began = time.monotonic()
            with self._guard:
                taken, self._queue = self._queue, []
                closed = self._closed
                if not closed:
                    self._queued.clear()
            for start in range(0, len(taken), COMMIT_AT_MOST):
                some = taken[start : start + COMMIT_AT_MOST]
                _tell(some, self._commit(some))
            if closed and not taken:
                self._let_go()
                return

    def _commit(self, batch: Sequence[_Waiting]) -> LedgerUnwritable | None:
        """Store rows in one commit, with patience; give the error where they are not stored."""
        rows: dict[Table, list[Row]] = {}
        for table, row, _, _ in batch:
            rows.setdefault(table, []).append(row)
        if self._broken is None:
            try:
                patiently(self._patience, lambda: self._try(rows), self._let_go)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be told of it
                with self._guard:
                    self._broken = unwritable(self._name, error)
        return self._broken

    def _try(self, rows: dict[Table, list[Row]]) -> None:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
        cursor = self._connection.cursor()
        for table, some in rows.items():
            insert_rows(cursor, self._engine.dialect, table, some)
        cursor.close()
        self._connection.commit()

    def _let_go(self) -> None:
        """Close the connection; a broken one is not to be used again."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection = None


def _tell(batch: Sequence[_Waiting], error: LedgerUnwritable | None) -> None:
    """Wake who waits, once per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for _, _, loop, stored in batch:
        by_loop.setdefault(loop, []).append(stored)
    for loop, futures in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, futures, error)
        except RuntimeError:
            continue  # the loop has ended and its waiters with it: the rows are stored, nobody asks


def _wake(futures: list[asyncio.Future[None]], error: LedgerUnwritable | None) -> None:
    for future in futures:
        if future.done():
            continue  # its waiter was cancelled
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
