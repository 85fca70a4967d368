"""The provider's side of a batch run: every request to its Batch API, repeated until it is answered or hopeless.

Here belongs what a fault of the API means for a run: again after a pause, or the end with a sentence. What is asked
for, and what is stored before and after, is `submit.py` and `collect.py`.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from random import Random
from typing import BinaryIO, TypeVar

from valbench_dagster.llm.batches.log import OpenBatch
from valbench_dagster.llm.batches.port import OUR_KEY, BatchTransport, RemoteBatch
from valbench_dagster.llm.endpoint import TransportFault
from valbench_dagster.llm.retry import Clock, RetryRules, next_delay, treatment
from valbench_dagster.llm.stops import EndpointRefused

T = TypeVar("T")

_log = logging.getLogger(__name__)

PATIENCE = RetryRules(attempts=1000, throttled_attempts=1000, give_up_after_s=3600.0)
"""For questions about a batch that is at work in any case: an hour without an answer."""
SUBMITTING = replace(PATIENCE, give_up_after_s=300.0)
"""For uploading and creating: much less than the lease after which another process may take a plan over."""
CLOCK_SLACK_S = 24 * 3600.0
"""How far a provider's clock may be behind ours when its list is searched for a batch."""

_FIXES = {
    401: "check the key in the environment variable that key_env of [endpoint.{0}] names",
    402: "the account has no credit left: top it up",
    403: "the key may not use the Batch API: check key_env of [endpoint.{0}] and the account's rights",
    404: "check base_url of [endpoint.{0}]; a server without a Batch API needs batch = false",
    405: "a server without a Batch API needs batch = false in [endpoint.{0}]",
}


class BatchRemote:
    """A provider's Batch API for one run."""

    def __init__(self, transport: BatchTransport, clock: Clock, rng: Random) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng

    @property
    def endpoint(self) -> str:
        """The roster's name of the endpoint."""
        return self._transport.settings.name

    async def upload(self, name: str, content: BinaryIO) -> str:
        """Store a file at the provider; give its id. Raises `EndpointRefused`."""
        return await self._insist("store a file of requests", SUBMITTING, lambda: self._transport.upload(name, content))

    async def create(self, batch: OpenBatch, file_id: str, path: str) -> RemoteBatch:
        """Have a file worked off; give the batch. Raises `EndpointRefused`.

        The metadata names our key, so that a batch that was made though its answer was lost is found in the
        provider's list before another is asked for.
        """
        lost = False

        async def once() -> RemoteBatch:
            nonlocal lost
            if lost and (made := await self._look_for(batch)) is not None:
                return made
            try:
                return await self._transport.create(file_id, path, {OUR_KEY: batch.key})
            except TransportFault:
                lost = True
                raise

        return await self._insist("create a batch", SUBMITTING, once)

    async def find(self, batch: OpenBatch) -> RemoteBatch | None:
        """Look for a batch of which no id is stored; null where the provider has none. Raises `EndpointRefused`."""
        return await self._insist("list its batches", PATIENCE, lambda: self._look_for(batch))

    async def retrieve(self, batch_id: str) -> RemoteBatch:
        """Give the present state of a batch. Raises `EndpointRefused`."""
        return await self._insist(f"show batch {batch_id}", PATIENCE, lambda: self._transport.retrieve(batch_id))

    async def glance(self, batch_id: str) -> RemoteBatch | None:
        """Give the present state of a batch on which nothing depends: null, and a logged line, where that fails."""
        try:
            return await self._transport.retrieve(batch_id)
        except TransportFault as fault:
            _log.warning("endpoint %s did not show batch %s: %s", self.endpoint, batch_id, fault)
            return None

    async def cancel(self, batch_id: str) -> RemoteBatch:
        """Ask for a batch to be stopped. Raises `EndpointRefused`."""
        return await self._insist(f"stop batch {batch_id}", SUBMITTING, lambda: self._transport.cancel(batch_id))

    async def download(self, file_id: str, into: BinaryIO) -> bool:
        """Write a file of results into `into`; false where the provider has it no more. Raises `EndpointRefused`."""

        async def once() -> bool:
            try:
                await self._transport.download(file_id, into)
            except TransportFault as fault:
                if fault.kind == "status" and fault.status in (404, 410):
                    return False
                raise
            return True

        return await self._insist(f"give file {file_id}", PATIENCE, once)

    async def delete(self, file_ids: Iterable[str | None]) -> None:
        """Remove files that are done with; one that cannot be removed is logged: it costs nothing and expires."""
        for file_id in file_ids:
            if file_id is None:
                continue
            try:
                await self._transport.delete(file_id)
            except TransportFault as fault:
                _log.warning("endpoint %s did not delete file %s: %s", self.endpoint, file_id, fault)

    async def _look_for(self, batch: OpenBatch) -> RemoteBatch | None:
        """Go through the list, newest first, as far back as the plan."""
        oldest = batch.planned_at.timestamp() - CLOCK_SLACK_S
        after: str | None = None
        while True:
            page = await self._transport.batches(after)
            for listed in page.batches:
                if listed.our_key == batch.key:
                    return listed
            if page.after is None or all(listed.created_at < oldest for listed in page.batches):
                return None
            after = page.after

    async def _insist(self, what: str, rules: RetryRules, once: Callable[[], Awaitable[T]]) -> T:
        attempts = throttled = 0
        began = self._clock.monotonic()
        while True:
            try:
                return await once()
            except TransportFault as caught:
                fault = caught
            throttled, attempts = throttled + (fault.status == 429), attempts + (fault.status != 429)
            delay = None
            if treatment(fault) == "retry":
                elapsed = self._clock.monotonic() - began
                delay = next_delay(
                    fault, attempts=attempts, throttled=throttled, elapsed=elapsed, rules=rules, rng=self._rng
                )
            if delay is None:
                raise self._refused(what, fault, self._clock.monotonic() - began)
            await self._clock.sleep(delay)

    def _refused(self, what: str, fault: TransportFault, seconds: float) -> EndpointRefused:
        tried = f" for {seconds / 60:.0f} minutes" if treatment(fault) == "retry" else ""
        fix = _FIXES.get(fault.status or 0)
        advice = f"To fix in the roster: {fix.format(self.endpoint)}. " if fix else ""
        return EndpointRefused(
            self.endpoint,
            fault.status,
            f"endpoint {self.endpoint} did not {what}{tried} ({fault}). {advice}Batches that it has go on there: run "
            "again to collect them and to ask what is missing.",
        )
