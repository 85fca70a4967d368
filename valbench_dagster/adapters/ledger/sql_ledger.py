"""The ledger of a run: the ports `Ledger` and `BatchLog` over a database, and what is to be told of what they hold.

Here belongs what a ledger offers; how each is done is in the other pages of this folder.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from valbench_dagster.adapters.ledger import lookups, samples, summaries
from valbench_dagster.adapters.ledger.connection import Patience, connect, patiently, read_url, shown_url
from valbench_dagster.adapters.ledger.errors import LedgerRefused, LedgerUnwritable, unreadable
from valbench_dagster.adapters.ledger.inserts import call_row, event_row
from valbench_dagster.adapters.ledger.tables import batch_events, calls
from valbench_dagster.adapters.ledger.writer import Writer
from valbench_dagster.llm.budget import Spent
from valbench_dagster.llm.estimate import CallSample
from valbench_dagster.llm.ledger import BatchEvent, FinishedCall, StepCost, StoredFailure

if TYPE_CHECKING:
    from valbench_dagster.adapters.ledger.transfer import Chosen, Exported, Imported

__all__ = ["LedgerRefused", "LedgerUnwritable", "SqlLedger"]

T = TypeVar("T")


class SqlLedger:
    """The ledger at a database URL (`sqlite:///path`, `postgresql+psycopg://...`), created where there is none.

    Safe to open from many processes at once. Readers have connections of their own and never wait for the writer.
    Every look-up waits for a database that is away for a moment, the whole thread with it, and raises
    `LedgerUnwritable` where it stays away. Close it, or use it as a context manager:
    closing stores what is queued.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        """Open the ledger, an older one made fit.

        Raises `LedgerRefused` (a `ValueError`) for a URL that can hold none and for a newer program's ledger,
        `LedgerUnwritable` if it does not open.
        """
        parsed = read_url(url)
        self._patience = patience or Patience()
        self._name = shown_url(parsed)
        self._engine = connect(parsed, self._patience)
        self._writer = Writer(self._engine, self._patience)
        # Ids of rows: no two openings share the beginning, and the rows of one follow one another in the index.
        self._prefix = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The URL as a person may see it, without its password."""
        return self._name

    def known(self, fingerprints: Sequence[str]) -> set[str]:
        """Give those fingerprints that have a stored reply."""
        return self._read(lambda connection: lookups.known(connection, fingerprints))

    def replies(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Give the stored reply of each fingerprint that has one: of several, the one with the lowest id."""
        return self._read(lambda connection: lookups.replies(connection, fingerprints))

    def failures(self, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
        """Give the newest failure of each fingerprint that has one."""
        return self._read(lambda connection: lookups.failures(connection, fingerprints))

    def batch_events(self, provider: str | None = None) -> list[BatchEvent]:
        """Give every event of a provider's (null: all) batches that are neither collected nor abandoned, in order."""
        events = self._read(lambda connection: summaries.open_batch_events(connection, provider))
        return [event for _, event in events]

    def spent(self, run: str) -> Spent:
        """Add up what the calls of a run cost so far; tokens that no server counted are not in it."""
        return self._read(lambda connection: summaries.spent(connection, run))

    def costs(self) -> list[StepCost]:
        """Give what all calls came to by step, endpoint, provider and model, in that order; null step first."""
        return self._read(summaries.costs)

    def size(self) -> summaries.LedgerSize:
        """Say what the ledger holds: calls, bytes, times, and per endpoint and model calls, cost, latency, failures."""
        return self._read(lambda connection: summaries.size(connection, self._engine))

    def samples(
        self, provider: str, model: str, limit: int, *, fact: str | None = None, asker: str | None = None
    ) -> list[CallSample]:
        """Give the newest replies of a model as samples of their kind; see `llm.estimate.CallSamples`."""
        return self._read(lambda connection: samples.samples(connection, provider, model, limit, fact, asker))

    def count(self, run: str | None = None) -> int:
        """Count the calls of a run, or all."""
        return self._read(lambda connection: summaries.count(connection, run))

    def export_calls(self, path: Path, chosen: "Chosen | None" = None) -> "Exported":
        """Write the calls (null: all of them, and the open batches) to a new Parquet file; see `transfer`."""
        from valbench_dagster.adapters.ledger import transfer  # 40 MB of Parquet that a run does without

        return self._told(lambda: transfer.export_calls(self._engine, path, chosen or transfer.Chosen()))

    def import_calls(self, path: Path) -> "Imported":
        """Store the calls of an exported file behind those that are here, each that is not here yet; see `transfer`."""
        from valbench_dagster.adapters.ledger import transfer

        return transfer.import_calls(self._engine, path, self._patience)

    async def append(self, call: FinishedCall) -> None:
        """Store a call; return when it is committed. It is queued at once: cancelling the wait does not unqueue it.

        Raises `LedgerUnwritable` if this or an earlier commit failed: a run whose replies cannot be kept must stop.
        """
        await self._writer.store(calls, call_row(self._new_id(), call))

    async def record(self, event: BatchEvent) -> None:
        """Store an event of a batch; as `append` in all else."""
        await self._writer.store(batch_events, event_row(self._new_id(), event))

    def close(self) -> None:
        """Store what is queued, then let go of the database. Closing twice does nothing more."""
        self._writer.close()
        self._engine.dispose()

    def _new_id(self) -> str:
        return f"{self._prefix}{next(self._numbers):08x}"

    def _read(self, look_up: Callable[[Connection], T]) -> T:
        def once() -> T:
            with self._engine.connect() as connection:
                return look_up(connection)

        return self._told(lambda: patiently(self._patience, once))

    def _told(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except SQLAlchemyError as error:
            raise unreadable(self._name, error) from None
