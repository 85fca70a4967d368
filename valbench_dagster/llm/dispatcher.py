"""The dispatcher: asks what the ledger lacks, and stores each reply before anything is made of it.

Questions are pulled lazily, a chunk at a time; a fixed number of workers per endpoint takes requests from a bounded
queue, so memory grows with the concurrency and not with the number of questions. A call holds its place at the
endpoint until its reply is there, not until it is stored: there are twice as many workers as places, and those who
store cost the server nothing. Answers are not given here: `settle.answers` reads them from the ledger afterwards.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random

from valbench_dagster.llm.calls import Answer, Outcome, Question, Reply, Request
from valbench_dagster.llm.endpoint import Transport, TransportFault
from valbench_dagster.llm.gate import Gate
from valbench_dagster.llm.ledger import FinishedCall, Ledger
from valbench_dagster.llm.one_call import Caller
from valbench_dagster.llm.retry import (
    Clock,
    EndpointRefused,
    RetryRules,
    SystemClock,
    refused_from_the_start,
)
from valbench_dagster.llm.settle import CHUNK, advance, follow, in_chunks, remainder
from valbench_dagster.llm.tally import Counts, Progress, Tally

__all__ = ["EndpointRefused", "Progress", "Tally", "Transport", "TransportFault", "ask_missing"]

REPORT_EVERY_S = 0.5


async def ask_missing(
    questions: Iterable[Question],
    ledger: Ledger,
    transports: Mapping[str, Transport],
    rules: RetryRules,
    run: str,
    progress: Callable[[Progress], None],
    *,
    clock: Clock | None = None,
    rng: Random | None = None,
    chunk: int = CHUNK,
) -> Tally:
    """Ask every question that has no reply in the ledger, re-asks included; return when each has a reply or a failure.

    `transports` are open endpoints by the name in `Request.served.endpoint`. `progress` is called at most every half
    second, and once at the end. `chunk` questions are looked up together.

    Raises `EndpointRefused` where an endpoint makes going on pointless, `LookupError` for an endpoint without
    transport, and whatever the ledger raises when it cannot store. Then, and when it is cancelled, every reply that
    has arrived is stored before the error goes on.
    """
    work = _Run(ledger, transports, rules, run, progress, clock or SystemClock(), rng or Random())
    return await work.ask(questions, chunk)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A call that ended without a reply."""

    outcome: Outcome


_Result = Reply | _Ended


@dataclass(slots=True)
class _Due:
    """A request that is to be made once, for all who ask it: `begun` by the first whose turn comes."""

    result: asyncio.Future[_Result]
    begun: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """The rest of a question's chain, whose first request is due."""

    question: Question
    due: _Due


class _Lane:
    """One endpoint: its queue and its caller."""

    def __init__(self, transport: Transport, rules: RetryRules, clock: Clock, rng: Random, run: str) -> None:
        concurrency = transport.settings.concurrency
        gate = Gate(concurrency, rules, clock)
        self.caller = Caller(transport, gate, rules, clock, rng, run)
        self.queue: asyncio.Queue[_Job] = asyncio.Queue(maxsize=concurrency)
        self.workers = 2 * concurrency


class _Run:
    """One run of `ask_missing`."""

    def __init__(
        self,
        ledger: Ledger,
        transports: Mapping[str, Transport],
        rules: RetryRules,
        run: str,
        progress: Callable[[Progress], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._ledger = ledger
        self._rules = rules
        self._progress = progress
        self._clock = clock
        self._lanes = {name: _Lane(transport, rules, clock, rng, run) for name, transport in transports.items()}
        self._pending: dict[str, _Due] = {}
        self._storing: set[asyncio.Task[None]] = set()
        self._replied: set[tuple[str, str]] = set()
        self._rejections: Counter[tuple[str, str]] = Counter()
        self._counts = Counts()
        self._reported_at = -float("inf")

    async def ask(self, questions: Iterable[Question], chunk: int) -> Tally:
        pulling = asyncio.create_task(self._pull(questions, chunk))
        workers = [asyncio.create_task(self._serve(lane)) for lane in self._lanes.values() for _ in range(lane.workers)]
        try:
            # Workers never end but by an error, the pulling ends when all is done: whichever is first decides.
            ended, _ = await asyncio.wait({pulling, *workers}, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in (pulling, *workers):
                task.cancel()
            await asyncio.gather(pulling, *workers, return_exceptions=True)
            await self._store_what_arrived()
        self._report(at_once=True)
        return self._counts.tally()

    async def _pull(self, questions: Iterable[Question], chunk: int) -> None:
        for some in in_chunks(questions, chunk):
            self._counts.questions += len(some)
            # Looked up and enrolled in one go, with nothing awaited between: a request that is neither in the ledger
            # nor pending at this moment is one that nobody has asked.
            jobs: list[_Job] = []
            for question, state in zip(some, follow(some, self._ledger), strict=True):
                if isinstance(state, Answer):
                    self._counts.from_ledger += 1
                    self._end(state.outcome)
                else:
                    jobs.append(self._enrol(remainder(question, state)))
            for job in jobs:
                await self._lane_of(job.question.request).queue.put(job)
            await asyncio.sleep(0)
        for lane in self._lanes.values():
            await lane.queue.join()

    def _lane_of(self, request: Request) -> _Lane:
        name = request.served.endpoint
        if name not in self._lanes:
            raise LookupError(f"no transport for endpoint {name}; there are: {', '.join(self._lanes) or 'none'}")
        return self._lanes[name]

    def _enrol(self, question: Question) -> _Job:
        fingerprint = question.request.fingerprint
        due = self._pending.get(fingerprint)
        if due is None:
            due = self._pending[fingerprint] = _Due(asyncio.get_running_loop().create_future())
        return _Job(question, due)

    async def _serve(self, lane: _Lane) -> None:
        while True:
            self._end(await self._carry_through(lane, await lane.queue.get()))
            lane.queue.task_done()

    async def _carry_through(self, lane: _Lane, job: _Job) -> Outcome:
        """Ask until the question is settled."""
        reasking = False
        while True:
            question, request, due = job.question, job.question.request, job.due
            if due.begun:
                # Only ever waits for a call that a worker is at, so workers cannot all wait for one another.
                result = await asyncio.shield(due.result)
            else:
                due.begun = True
                result = await self._call(lane, request)
                self._counts.reasks += reasking
                # Stored by now: from here on a look-up finds it, and nobody needs to share.
                del self._pending[request.fingerprint]
                due.result.set_result(result)
            if isinstance(result, _Ended):
                return result.outcome
            state = advance(question, {request.fingerprint: result})
            if isinstance(state, Request):
                again = remainder(question, state)
                state = follow([again], self._ledger)[0]
            if isinstance(state, Answer):
                return state.outcome
            job, reasking = self._enrol(remainder(question, state)), True

    async def _call(self, lane: _Lane, request: Request) -> _Result:
        """Make a call and store how it ended."""
        tried = await lane.caller.call(request)
        stored, model = tried.stored, (request.served.endpoint, request.served.model)
        await self._store(stored)
        self._counts.asked += 1
        if tried.reply is not None:
            self._replied.add(model)
            self._counts.input_tokens += stored.input_tokens or 0
            self._counts.output_tokens += stored.output_tokens or 0
            return tried.reply
        if stored.kind == "rejected" and tried.fault is not None:
            self._rejections[model] += 1
            if model not in self._replied and self._rejections[model] >= self._rules.first_rejections:
                raise refused_from_the_start(*model, self._rejections[model], tried.fault)
        return _Ended("rejected" if stored.kind == "rejected" else "failed")

    async def _store(self, call: FinishedCall) -> None:
        """Store a call, whether or not this run is cancelled meanwhile."""

        def forget(stored: asyncio.Task[None]) -> None:
            if not stored.cancelled() and stored.exception() is None:
                self._storing.discard(stored)

        storing = asyncio.create_task(self._ledger.append(call))
        self._storing.add(storing)
        storing.add_done_callback(forget)
        await asyncio.shield(storing)

    async def _store_what_arrived(self) -> None:
        for ended in await asyncio.gather(*self._storing, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    def _end(self, outcome: Outcome) -> None:
        self._counts.done += 1
        self._counts.outcomes[outcome] += 1
        self._report(at_once=False)

    def _report(self, *, at_once: bool) -> None:
        now = self._clock.monotonic()
        if not at_once and now - self._reported_at < REPORT_EVERY_S:
            return
        self._reported_at = now
        self._progress(self._counts.progress())
