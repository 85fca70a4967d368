"""Collecting a batch that has ended: every line of it stored once, and what it left open made due again.

Here belong the order in which a batch is collected, so that a crash at any point loses nothing, and the bounds on
asking again. What a line means is `results.py`.

    end stored in the log -> lines stored, those that are not in the ledger yet -> `collected` stored -> files deleted

Two processes that collect the same batch in the same second may both store a line: one of them is served, for ever.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from valbench_dagster.llm.batches.desk import Desk
from valbench_dagster.llm.batches.lines import ResultLine
from valbench_dagster.llm.batches.log import BatchLedger, LogBook, OpenBatch
from valbench_dagster.llm.batches.port import LineError, RemoteBatch
from valbench_dagster.llm.batches.remote import BatchRemote
from valbench_dagster.llm.batches.reserves import BatchReserves
from valbench_dagster.llm.batches.results import CallRecords, Ended, read, results
from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.endpoint import TransportFault
from valbench_dagster.llm.ledger import FinishedCall
from valbench_dagster.llm.retry import Clock, RetryRules, treatment
from valbench_dagster.llm.stops import EndpointRefused, answers_as_another, refused, refused_from_the_start

FIRST_REJECTIONS = RetryRules().first_rejections
"""Rejections of a model, none of whose requests has had a reply, after which nothing more is asked of it."""

QUEUE_FULL = "token_limit_exceeded"
"""What OpenAI calls a batch that does not fit into the account's queue beside those that are at work."""

_log = logging.getLogger(__name__)


def blamed(batch: OpenBatch, found: RemoteBatch) -> dict[str, LineError]:
    """Give what a provider holds against single lines of a batch's file, by fingerprint."""
    lines = batch.fingerprints
    return {
        lines[error.line - 1]: error
        for error in found.errors
        if error.line is not None and 1 <= error.line <= len(lines)
    }


def refused_as_a_whole(endpoint: str, batch: OpenBatch, found: RemoteBatch) -> EndpointRefused:
    """Make the error for a batch that its provider refused for no single line's sake."""
    why = "; ".join(map(str, found.errors)) or "no reason given"
    return EndpointRefused(
        endpoint,
        None,
        f"endpoint {endpoint} refused batch {found.id} of {len(batch.fingerprints):,} requests as a whole ({why}). "
        "Mend that, in the account or in the roster, then run again: replies so far are kept.",
    )


class Collector:
    """Collects the batches of one run; `rounds` batches may leave a request without an answer, then it has failed."""

    def __init__(
        self,
        desk: Desk,
        book: LogBook,
        remote: BatchRemote,
        ledger: BatchLedger,
        reserves: BatchReserves,
        clock: Clock,
        rounds: int,
    ) -> None:
        self._desk = desk
        self._book = book
        self._remote = remote
        self._ledger = ledger
        self._reserves = reserves
        self._clock = clock
        self._rounds = rounds
        self._unanswered: Counter[str] = Counter()
        self._faults: dict[str, TransportFault] = {}
        self._replied: set[str] = set()
        self._rejected: Counter[str] = Counter()
        self._stop: EndpointRefused | None = None

    async def collect(self, batch: OpenBatch, found: RemoteBatch) -> None:
        """Collect a batch that has ended.

        A batch of which another step wants lines that this one cannot store stays open in the log. Raises
        `EndpointRefused` once everything is stored, where what was says that no other request can succeed.
        """
        if not batch.ended:
            batch = await self._book.note(batch, "ended", detail=found.status)
        records = CallRecords(
            endpoint=self._remote.endpoint,
            run=self._book.run,
            step=self._book.step,
            batch_id=found.id,
            created_at=batch.created_at or batch.planned_at,
            ended_at=self._clock.now(),
        )
        wanted_elsewhere = 0
        async for lines in results(self._remote, batch, found):
            wanted_elsewhere += await self._store_results(lines, records)
        if found.status == "failed":
            # Nothing was tried: what is not to blame goes again as if it had never been asked.
            await self._store_refusals(batch, found, records)
        else:
            await self._store_unanswered(batch, found, records)
        self._desk.done_with(batch)
        if wanted_elsewhere:
            _log.info("batch %s holds %d replies of another step: left open for it", found.id, wanted_elsewhere)
        else:
            await self._book.note(batch, "collected")
            await self._remote.delete((found.input_file, found.output_file, found.error_file))
        self._reserves.release(self._desk.waiting)
        if self._stop is not None:
            raise self._stop

    async def _store_results(self, lines: Sequence[ResultLine], records: CallRecords) -> int:
        """Store what lines say of requests; give the number of replies to requests that nobody here waits for."""
        known = self._ledger.known([line.fingerprint for line in lines])
        wanted_elsewhere = 0
        ended: list[Ended] = []
        for line in lines:
            if line.fingerprint in known:
                continue
            request = self._desk.request(line.fingerprint)
            if request is None:
                wanted_elsewhere += line.reply is not None
                continue
            result = read(line, request)
            if result.fault is not None:
                self._faults[line.fingerprint] = result.fault
            if result.kind is not None:
                tried = self._unanswered[line.fingerprint] + 1
                ended.append(records.of_line(request, line, result, attempts=tried))
        await self._store(ended)
        self._desk.look_up(known)
        return wanted_elsewhere

    async def _store_refusals(self, batch: OpenBatch, found: RemoteBatch, records: CallRecords) -> None:
        """Store as rejected what a provider holds against single lines of a file that it refused as a whole."""
        ended = []
        for fingerprint, error in blamed(batch, found).items():
            request = self._desk.request(fingerprint)
            if request is not None:
                ended.append(records.of_failure(request, "rejected", str(error), attempts=1))
        await self._store(ended)

    async def _store_unanswered(self, batch: OpenBatch, found: RemoteBatch, records: CallRecords) -> None:
        """Count the requests that a batch left without an answer; store as failed those that have had their rounds."""
        ended = []
        for fingerprint in batch.fingerprints:
            request = self._desk.request(fingerprint)
            if request is None or self._desk.holder(fingerprint) != batch.key:
                continue
            self._unanswered[fingerprint] += 1
            fault, tried, hopeless = self._faults.pop(fingerprint, None), self._unanswered[fingerprint], False
            if fault is not None and fault.kind == "another_model" and request.served.model not in self._replied:
                self._stop, hopeless = answers_as_another(self._remote.endpoint, request.served.model, fault), True
            if tried >= self._rounds or hopeless:
                why = "no line for it in the results" if fault is None else str(fault)
                message = f"no usable answer in {tried} batches, the last {found.status}: {why}"
                status = None if fault is None else fault.status
                ended.append(records.of_failure(request, "failed", message, attempts=tried, status=status))
        await self._store(ended)

    async def store_too_long(self, request: Request, why: str) -> None:
        """Store as rejected a request that no file can hold."""
        now = self._clock.now()
        records = CallRecords(self._remote.endpoint, self._book.run, self._book.step, None, now, now)
        await self._store([records.of_failure(request, "rejected", why, attempts=0)])

    async def _store(self, ended: Sequence[Ended]) -> None:
        """Store calls together, count them, and settle what waited for them."""
        await asyncio.gather(*(self._ledger.append(each.call) for each in ended))
        for each in ended:
            self._desk.count(each.call)
            self._reserves.settle(each.call)
            self._heed(each.call)
        self._desk.look_up([each.call.fingerprint for each in ended if each.reply is not None])
        for each in ended:
            if each.reply is None:
                self._desk.end(each.call.fingerprint, each.call.kind)

    def _heed(self, call: FinishedCall) -> None:
        """Note what one ended request says of all others to its model."""
        fault = self._faults.pop(call.fingerprint, None)
        if call.kind == "reply":
            self._replied.add(call.model)
        elif fault is not None and treatment(fault) == "fatal":
            self._stop = refused(self._remote.endpoint, call.model, fault)
        elif call.kind == "rejected" and fault is not None and call.model not in self._replied:
            self._rejected[call.model] += 1
            if self._stop is None and self._rejected[call.model] >= FIRST_REJECTIONS:
                self._stop = refused_from_the_start(self._remote.endpoint, call.model, FIRST_REJECTIONS, fault)
