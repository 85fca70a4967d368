"""What the ledger's log of batches says: which are open, what is in them, and whose they are.

The events of a batch are stored before what comes next is begun, so that any process can read off how far it came.
Here belong reading them, writing them, and the rule of who may go on with a batch that another began. What is done is
`submit.py` and `collect.py`.

Nobody submits what somebody else does: a batch is planned in the log first and the log read after that; each request
belongs to the open batch that was planned first, and who finds that some of his belong to another gives his plan up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from valbench_dagster.llm.ledger import BatchEvent, BatchEventKind, BatchLog, Ledger
from valbench_dagster.llm.retry import Clock

SETTLING_S = 10.0
"""Seconds after which a batch that a provider was asked for must stand in its list."""


class BatchLedger(Ledger, BatchLog, Protocol):
    """A ledger of calls and of batches."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that is neither collected nor abandoned, as its events describe it.

    `fingerprints` are in the order of the lines in its file. `step` is what it was planned for (see `FinishedCall`).
    Null until the event that says them: `file_id`, `batch_id` and `created_at` at the provider. `newest_at` is the
    time of its last event.
    """

    key: str
    endpoint: str
    provider: str
    run: str
    step: str | None
    fingerprints: tuple[str, ...]
    planned_at: datetime
    newest_at: datetime
    file_id: str | None = None
    batch_id: str | None = None
    created_at: datetime | None = None
    ended: bool = False

    def after(self, event: BatchEvent) -> "OpenBatch":
        """Give the batch as it is after an event of its."""
        at = datetime.fromisoformat(event.at)
        batch = replace(self, newest_at=at)
        if event.kind == "uploaded":
            return replace(batch, file_id=event.remote_id)
        if event.kind == "created" and self.batch_id is None:
            return replace(batch, batch_id=event.remote_id, created_at=at)
        if event.kind == "ended":
            return replace(batch, ended=True)
        return batch

    def may_be_taken_over(self, run: str, step: str | None, now: datetime, lease_s: float) -> bool:
        """Say whether a run may decide about a batch that was planned and has no id at the provider yet.

        Another step may once nothing was heard of it for `lease_s` seconds: its process is dead then, since a living
        one gives up sooner. The one that planned it may as soon as the provider's list can be trusted, and need not
        wait longer than others.
        """
        heard = (now - self.newest_at).total_seconds()
        return heard >= (min(SETTLING_S, lease_s) if (self.run, self.step) == (run, step) else lease_s)


def open_batches(events: Iterable[BatchEvent]) -> dict[str, OpenBatch]:
    """Read off the open batches, by our key of each, in the order in which they were planned."""
    batches: dict[str, OpenBatch] = {}
    for event in events:
        if event.kind == "planned":
            at = datetime.fromisoformat(event.at)
            batches[event.batch] = OpenBatch(
                event.batch, event.endpoint, event.provider, event.run, event.detail, event.fingerprints, at, at
            )
        elif event.kind in ("collected", "abandoned"):
            batches.pop(event.batch, None)
        elif event.batch in batches:
            batches[event.batch] = batches[event.batch].after(event)
    return batches


def holders(batches: Iterable[OpenBatch]) -> dict[str, str]:
    """Say to which batch each request belongs: by fingerprint, the key of the first that holds it."""
    found: dict[str, str] = {}
    for batch in batches:
        for fingerprint in batch.fingerprints:
            found.setdefault(fingerprint, batch.key)
    return found


class LogBook:
    """The log of one provider's batches, as one run at one endpoint reads and writes it."""

    def __init__(self, log: BatchLog, endpoint: str, run: str, step: str | None, clock: Clock) -> None:
        self._log = log
        self._endpoint = endpoint
        self._clock = clock
        self.run = run
        self.step = step

    def read(self, provider: str) -> dict[str, OpenBatch]:
        """Give the open batches of a provider, in the order in which they were planned."""
        return open_batches(self._log.batch_events(provider))

    async def plan(self, key: str, provider: str, fingerprints: Sequence[str]) -> OpenBatch:
        """Store that a batch is to be made of these requests; give it."""
        event = self._event(key, provider, "planned", detail=self.step, fingerprints=tuple(fingerprints))
        await self._log.record(event)
        return open_batches([event])[key]

    async def note(
        self, batch: OpenBatch, kind: BatchEventKind, *, remote_id: str | None = None, detail: str | None = None
    ) -> OpenBatch:
        """Store what happened to a batch; give it as it is now."""
        event = self._event(batch.key, batch.provider, kind, remote_id=remote_id, detail=detail)
        await self._log.record(event)
        return batch.after(event)

    def may_take_over(self, batch: OpenBatch, lease_s: float) -> bool:
        """Say whether this run may decide about a batch without an id (`OpenBatch.may_be_taken_over`)."""
        return batch.may_be_taken_over(self.run, self.step, self._clock.now(), lease_s)

    def now(self) -> str:
        """Give the time of day as events say it."""
        return self._clock.now().isoformat(timespec="milliseconds")

    def _event(
        self,
        key: str,
        provider: str,
        kind: BatchEventKind,
        *,
        remote_id: str | None = None,
        detail: str | None = None,
        fingerprints: tuple[str, ...] = (),
    ) -> BatchEvent:
        return BatchEvent(key, kind, self._endpoint, provider, self.now(), self.run, remote_id, fingerprints, detail)
