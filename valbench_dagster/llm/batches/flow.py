"""Asking by batches: what the ledger lacks, through a provider's Batch API, for less money and within a day.

The same contract as `dispatcher.ask_missing`. A run that waits may be killed at any moment and run again: what is at
the provider goes on there, and the log of batches in the ledger says how far each came. Here belongs the loop of a run:
fill files, look at open batches, collect those that have ended. Its parts are the other pages of this folder.

A request that a batch leaves without an answer (expired, stopped, lost) goes into the next; after `rounds` batches of
one run it has failed. Questions are held while their batch is open: at most `BatchLimits.open_at_once` files of them.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from random import Random

from valbench_dagster.llm.batches.collect import QUEUE_FULL, Collector, blamed, refused_as_a_whole
from valbench_dagster.llm.batches.desk import Desk
from valbench_dagster.llm.batches.fill import Filler
from valbench_dagster.llm.batches.log import BatchLedger, LogBook, OpenBatch
from valbench_dagster.llm.batches.port import BatchLimits, BatchTransport, RemoteBatch
from valbench_dagster.llm.batches.remote import BatchRemote
from valbench_dagster.llm.batches.reserves import BatchReserves
from valbench_dagster.llm.batches.submit import Submitter
from valbench_dagster.llm.budget import Budget
from valbench_dagster.llm.calls import Question
from valbench_dagster.llm.retry import Clock, SystemClock
from valbench_dagster.llm.settle import CHUNK, in_chunks
from valbench_dagster.llm.tally import Counts, Progress, Tally

ROUNDS = 3
"""Batches of one run in which a request may go without an answer before it has failed."""
LEASE_S = 900.0
"""Seconds without a word of another process's plan, before its batch exists, after which it is taken for dead."""

_log = logging.getLogger(__name__)


async def ask_by_batches(
    questions: Iterable[Question],
    ledger: BatchLedger,
    transport: BatchTransport,
    run: str,
    progress: Callable[[Progress], None],
    *,
    step: str | None = None,
    budget: Budget | None = None,
    expected: int | None = None,
    clock: Clock | None = None,
    rng: Random | None = None,
    poll_s: float = 30.0,
    limits: BatchLimits | None = None,
    rounds: int = ROUNDS,
    lease_s: float = LEASE_S,
    chunk: int = CHUNK,
) -> Tally:
    """Ask every question that has no reply in the ledger, re-asks included; return when each has a reply or a failure.

    All questions go to the endpoint of `transport`, whose batches are looked at every `poll_s` seconds; `progress` is
    called then. `step` is stored with each call and batch, `budget` asked before a request goes into a file. `expected`
    is the number of questions where the caller knows it. `lease_s` is how long another process's unfinished plan is
    respected. `chunk` questions are looked up together.

    Raises `EndpointRefused` where the endpoint makes going on pointless, `BudgetReached` once all that was submitted
    within the budget is collected, `LookupError` for a question of another endpoint, and whatever the ledger raises
    when it cannot store. Then, and when it is cancelled, batches at the provider go on: the next run collects them.
    """
    limits = limits or BatchLimits()
    chunks = in_chunks(questions, chunk)
    work = _Run(
        ledger, transport, run, progress, step, budget, expected, clock or SystemClock(), rng or Random(), poll_s
    )
    return await work.ask(chunks, limits, rounds, lease_s)


class _Run:
    """One run of `ask_by_batches`."""

    def __init__(
        self,
        ledger: BatchLedger,
        transport: BatchTransport,
        run: str,
        progress: Callable[[Progress], None],
        step: str | None,
        budget: Budget | None,
        expected: int | None,
        clock: Clock,
        rng: Random,
        poll_s: float,
    ) -> None:
        self._ledger = ledger
        self._endpoint = transport.settings.name
        self._progress = progress
        self._expected = expected
        self._clock = clock
        self._rng = rng
        self._poll_s = poll_s
        self._counts = Counts()
        self._desk = Desk(ledger, self._counts)
        self._book = LogBook(ledger, self._endpoint, run, step, clock)
        self._remote = BatchRemote(transport, clock, rng)
        self._reserves = BatchReserves(budget)
        self._provider: str | None = None
        self._found: dict[str, RemoteBatch] = {}

    async def ask(self, chunks: Iterator[list[Question]], limits: BatchLimits, rounds: int, lease_s: float) -> Tally:
        desk, clock, reserves = self._desk, self._clock, self._reserves
        collector = Collector(desk, self._book, self._remote, self._ledger, reserves, clock, rounds)
        submitter = Submitter(desk, self._book, self._remote, self._rng, lease_s, self._look)
        filler = Filler(chunks, desk, submitter, reserves, limits, clock, self._took, collector.store_too_long)
        try:
            while True:
                await filler.fill()
                moved = await self._follow(filler, submitter, collector)
                self._report()
                if not desk.followed():
                    if not desk.waiting and filler.pulled_all:
                        break
                    if reserves.reached is not None:
                        raise reserves.reached
                if not moved:
                    await clock.sleep(self._poll_s)
                    self._look_for_others()
            await self._tidy(collector)
        except asyncio.CancelledError:
            self._say_what_goes_on()
            raise
        finally:
            reserves.release()
        return self._counts.tally()

    async def _follow(self, filler: Filler, submitter: Submitter, collector: Collector) -> bool:
        """Look at each open batch that something waits for, once; give whether one is settled."""
        moved = False
        for key in [batch.key for batch in self._desk.followed()]:
            batch = self._desk.open.get(key)
            if batch is None:
                continue
            if batch.batch_id is None:
                moved |= await submitter.recover(batch)
                continue
            found = self._found[key] = await self._remote.retrieve(batch.batch_id)
            self._report()
            if found.ended and (filler.pulls_no_more or self._desk.whole(batch)):
                await self._collect(batch, found, filler, collector)
                moved = True
        return moved

    async def _collect(self, batch: OpenBatch, found: RemoteBatch, filler: Filler, collector: Collector) -> None:
        # Another process may have collected it since: its files would be gone, and what they held is in the ledger.
        self._look()
        if batch.key not in self._desk.open:
            return
        await collector.collect(batch, found)
        if found.status != "failed":
            filler.queue_had_room()
        elif not blamed(batch, found):
            full = any(error.code == QUEUE_FULL for error in found.errors)
            if not full or not filler.queue_was_full(batch):
                raise refused_as_a_whole(self._endpoint, batch, found)

    async def _tidy(self, collector: Collector) -> None:
        """Collect what the step's earlier runs left behind: batches all of whose replies are in the ledger already."""
        self._look()
        for batch in list(self._desk.open.values()):
            if batch.step == self._book.step and batch.endpoint == self._endpoint and batch.batch_id is not None:
                found = await self._remote.glance(batch.batch_id)
                if found is not None and found.ended:
                    await collector.collect(batch, found)

    def _took(self, questions: list[Question]) -> None:
        for question in questions:
            served = question.request.served
            if served.endpoint != self._endpoint:
                raise LookupError(f"no batches for endpoint {served.endpoint}: these go to {self._endpoint}")
            if self._provider is None:
                self._provider = served.provider
                self._look()

    def _look(self) -> None:
        """Read the log into the desk."""
        if self._provider is not None:
            self._desk.see(self._book.read(self._provider))

    def _look_for_others(self) -> None:
        """Read the log where something waits for a batch that another process is about to create."""
        if any(batch.batch_id is None for batch in self._desk.followed()):
            self._look()

    def _report(self) -> None:
        followed = self._desk.followed()
        in_flight = sum(self._desk.ours(batch.key) for batch in followed)
        done = sum(
            min(self._desk.ours(batch.key), self._found[batch.key].done)
            for batch in followed
            if batch.key in self._found
        )
        now = self._counts.progress(
            expected=self._expected, in_flight=in_flight, limit=in_flight, waiting=self._waiting_for(followed)
        )
        self._progress(replace(now, done=now.done + done))

    def _waiting_for(self, followed: list[OpenBatch]) -> str | None:
        """Say what nothing goes on for: batches by their state at the provider."""
        if not followed:
            return None
        states = Counter(self._state(batch) for batch in followed)
        return "batches at the provider: " + ", ".join(f"{number} {state}" for state, number in sorted(states.items()))

    def _state(self, batch: OpenBatch) -> str:
        if batch.batch_id is None:
            return "planned by another process and not there yet"
        return self._found[batch.key].status if batch.key in self._found else "not looked at yet"

    def _say_what_goes_on(self) -> None:
        there = [batch for batch in self._desk.followed() if batch.batch_id is not None]
        if there:
            _log.warning(
                "stopped while %d batches with %s requests are at endpoint %s: they go on there; run again to collect",
                len(there),
                f"{sum(self._desk.ours(batch.key) for batch in there):,}",
                self._endpoint,
            )
