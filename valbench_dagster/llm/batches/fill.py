"""Filling: questions pulled, and what they need put into files until enough batches are open.

Here belongs which request goes into which file, and when nothing more may: as many batches open as memory is meant
for, the budget used up, the provider's queue full. How a file becomes a batch is `submit.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from valbench_dagster.llm.batches.desk import Desk
from valbench_dagster.llm.batches.lines import request_line
from valbench_dagster.llm.batches.log import OpenBatch
from valbench_dagster.llm.batches.port import BatchLimits
from valbench_dagster.llm.batches.reserves import BatchReserves
from valbench_dagster.llm.batches.results import body_of
from valbench_dagster.llm.batches.submit import Draft, Submitter
from valbench_dagster.llm.calls import Question, Request
from valbench_dagster.llm.retry import Clock

FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 1800.0
"""How long nothing is submitted when the provider's queue is full: doubled each time in a row."""
FULL_AT_MOST = 60
"""Times in a row that the queue may be full before a run stops: with the pauses, more than a day."""


class Filler:
    """Fills files for one run.

    `chunks` gives its questions; `took` is called with each chunk before it is looked up; `too_long` stores that no
    file can hold a request, with the sentence that says so.
    """

    def __init__(
        self,
        chunks: Iterator[list[Question]],
        desk: Desk,
        submitter: Submitter,
        reserves: BatchReserves,
        limits: BatchLimits,
        clock: Clock,
        took: Callable[[list[Question]], None],
        too_long: Callable[[Request, str], Awaitable[None]],
    ) -> None:
        self.pulled_all = False
        self._chunks = chunks
        self._desk = desk
        self._submitter = submitter
        self._reserves = reserves
        self._limits = limits
        self._clock = clock
        self._took = took
        self._too_long = too_long
        self._drafts: dict[tuple[str, str], Draft] = {}
        self._full_in_a_row = 0
        self._not_before = 0.0

    @property
    def pulls_no_more(self) -> bool:
        """Whether no more questions will come: all are pulled, or the budget is used up."""
        return self.pulled_all or self._reserves.reached is not None

    async def fill(self) -> None:
        """Submit all that may be submitted now; raises `EndpointRefused`."""
        try:
            while True:
                added = True
                while added:
                    added = await self._add_one()
                if not self._drafts:
                    return
                # Requests that another process turns out to have planned come back to the desk: hence the outer loop.
                for kind in list(self._drafts):
                    await self._submit(kind)
        finally:
            for draft in self._drafts.values():
                draft.close()
            self._drafts.clear()

    def queue_was_full(self, batch: OpenBatch) -> bool:
        """Take note that a batch did not fit into the provider's queue; false where it makes no sense to go on.

        The next files are half its size, so that one fits even into a queue that is smaller than a file.
        """
        now = self._clock.monotonic()
        if now >= self._not_before:  # else another batch of the same moment has said so already
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._full_in_a_row, 20))
            self._full_in_a_row += 1
            self._not_before = now + pause
        half = max(1, min(self._limits.requests_a_file, len(batch.fingerprints)) // 2)
        self._limits = replace(self._limits, requests_a_file=half)
        return self._full_in_a_row < FULL_AT_MOST

    def queue_had_room(self) -> None:
        """Take note that a batch was worked off: what waits may be submitted."""
        self._full_in_a_row, self._not_before = 0, 0.0

    async def _add_one(self) -> bool:
        """Put the next request into a file, or pull more questions; false where nothing may be added now."""
        if self._reserves.reached is not None or self._clock.monotonic() < self._not_before:
            return False
        fingerprint = self._desk.next_due()
        request = None if fingerprint is None else self._desk.request(fingerprint)
        if fingerprint is None or request is None:
            return self._whole_open() < self._limits.open_at_once and await self._pull()
        kind = (request.served.api, request.served.model)
        body = body_of(request)
        line = request_line(request, body)
        if len(line) > self._limits.bytes_a_file:
            most = self._limits.bytes_a_file
            await self._too_long(request, f"its line of {len(line):,} bytes is longer than a file may be ({most:,})")
            return True
        if kind in self._drafts and not self._drafts[kind].takes(line, self._limits):
            self._desk.put_back(fingerprint)
            await self._submit(kind)
            return True
        if (kind not in self._drafts and self._no_new_file()) or not self._reserves.admit(request, body):
            self._desk.put_back(fingerprint)
            return False
        if kind not in self._drafts:
            self._drafts[kind] = Draft(request.served)
        self._drafts[kind].add(fingerprint, line)
        return True

    def _no_new_file(self) -> bool:
        return self._whole_open() + len(self._drafts) >= self._limits.open_at_once

    def _whole_open(self) -> int:
        """Count the open batches all of whose questions are pulled: only these keep more from being pulled."""
        return sum(self._desk.whole(batch) for batch in self._desk.followed())

    async def _pull(self) -> bool:
        some = next(self._chunks, None)
        if some is None:
            self.pulled_all = True
            return False
        self._took(some)
        for request in self._desk.ask(some):
            # In a batch that an earlier run made: it will cost what it costs, but what is added must know of that.
            self._reserves.admit(request, body_of(request))
        await asyncio.sleep(0)
        return True

    async def _submit(self, kind: tuple[str, str]) -> None:
        draft = self._drafts.pop(kind)
        try:
            await self._submitter.submit(draft)
        finally:
            draft.close()
        self._reserves.release(self._desk.waiting)
