"""The dispatcher: asks what the ledger lacks, and stores each reply before anything is made of it.

Questions are pulled lazily, a chunk at a time; a fixed number of workers per endpoint takes requests from a bounded
queue, so memory grows with the concurrency and not with the number of questions. A call holds its place at the
endpoint until its reply is there, not until it is stored: there are twice as many workers as places, and those who
store cost the server nothing. Answers are not given here: `settle.answers` reads them from the ledger afterwards.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from valbench_dagster.llm.budget import Budget, BudgetReached
from valbench_dagster.llm.calls import Answer, Outcome, Question, Request
from valbench_dagster.llm.crew import Crew, Worker
from valbench_dagster.llm.due import Due, Ended, Result
from valbench_dagster.llm.endings import Endings
from valbench_dagster.llm.endpoint import Transport, TransportFault
from valbench_dagster.llm.ledger import Ledger
from valbench_dagster.llm.one_call import Caller
from valbench_dagster.llm.retry import Clock, RetryRules, SystemClock
from valbench_dagster.llm.settle import CHUNK, advance, follow, in_chunks, missing, remainder
from valbench_dagster.llm.stops import EndpointDown, EndpointRefused
from valbench_dagster.llm.tally import Counts, Progress, Tally

__all__ = ["EndpointDown", "EndpointRefused", "Progress", "Tally", "Transport", "TransportFault", "ask_missing"]

REPORT_EVERY_S = 0.5
REPORT_AT_LEAST_EVERY_S = 5.0
"""While nothing ends, a run is told of less and less often, down to this."""


async def ask_missing(
    questions: Iterable[Question],
    ledger: Ledger,
    transports: Mapping[str, Transport],
    rules: RetryRules | Mapping[str, RetryRules],
    run: str,
    progress: Callable[[Progress], None],
    *,
    step: str | None = None,
    budget: Budget | None = None,
    expected: int | None = None,
    clock: Clock | None = None,
    rng: Random | None = None,
    chunk: int = CHUNK,
) -> Tally:
    """Ask every question that has no reply in the ledger, re-asks included; return when each has a reply or a failure.

    `transports` are open endpoints by the name in `Request.served.endpoint`; `rules` are theirs, by the same names
    where they differ. `progress` is called twice a second at most, and once at the end. `step` is stored with each
    call, `budget` asked before each. `expected` is the number of questions where the caller knows it, for what is said
    of the run. `chunk` questions are looked up together.

    Raises `EndpointRefused` where an endpoint makes going on pointless (`EndpointDown` where it has not answered for
    long), `BudgetReached` at a cap, `LookupError` for an endpoint without transport or rules, and whatever the ledger
    raises when it cannot store. Then, and when it is cancelled, every reply that has arrived is stored before the error
    goes on; at a cap the calls in flight end first, else they are cut off.
    """
    calls = _Calls(run, step, budget, clock or SystemClock(), rng or Random())
    work = _Run(ledger, transports, rules, calls, progress, expected)
    return await work.ask(questions, chunk)


@dataclass(frozen=True, slots=True)
class _Calls:
    """What all calls of a run have in common."""

    run: str
    step: str | None
    budget: Budget | None
    clock: Clock
    rng: Random


@dataclass(frozen=True, slots=True)
class _Job:
    """The rest of a question's chain, whose first request is due."""

    question: Question
    due: Due


class _Lane:
    """One endpoint: its queue and its caller."""

    def __init__(self, transport: Transport, rules: RetryRules, calls: _Calls, so_far: Callable[[], str]) -> None:
        concurrency = transport.settings.concurrency
        self.rules = rules
        self.caller = Caller(
            transport, rules, calls.clock, calls.rng, calls.run, step=calls.step, budget=calls.budget, so_far=so_far
        )
        self.queue: asyncio.Queue[_Job] = asyncio.Queue(maxsize=concurrency)
        self.workers = 2 * concurrency


class _Run:
    """One run of `ask_missing`."""

    def __init__(
        self,
        ledger: Ledger,
        transports: Mapping[str, Transport],
        rules: RetryRules | Mapping[str, RetryRules],
        calls: _Calls,
        progress: Callable[[Progress], None],
        expected: int | None,
    ) -> None:
        self._ledger = ledger
        self._progress = progress
        self._expected = expected
        self._clock = calls.clock
        self._lanes = {
            name: _Lane(transport, _rules_of(name, rules), calls, self._so_far)
            for name, transport in transports.items()
        }
        self._crew = Crew(ledger)
        self._pending: dict[str, Due] = {}
        self._endings = Endings()
        self._counts = Counts()
        self._all_pulled = False
        self._reached: BudgetReached | None = None
        self._refused: EndpointRefused | None = None

    async def ask(self, questions: Iterable[Question], chunk: int) -> Tally:
        crew = self._crew
        crew.start_beside(self._pull(questions, chunk))
        crew.start_beside(self._tell())
        for lane in self._lanes.values():
            for _ in range(lane.workers):
                crew.start_worker(partial(self._serve, lane))
        try:
            # Workers never end but by an error, the pulling ends when all is done: whichever is first decides.
            await crew.until_one_ends()
        except BudgetReached as reached:
            self._reached = reached
            await crew.let_calls_end()
            raise
        finally:
            await crew.stop()
        self._report()
        return self._counts.tally()

    async def _pull(self, questions: Iterable[Question], chunk: int) -> None:
        for some in in_chunks(questions, chunk):
            self._counts.questions += len(some)
            # Looked up and enrolled in one go, with nothing awaited between: a request that is neither in the ledger
            # nor pending at this moment is one that nobody has asked.
            jobs: list[_Job] = []
            for question, state in zip(some, missing(some, self._ledger), strict=True):
                if isinstance(state, Request):
                    jobs.append(self._enrol(remainder(question, state)))
                else:
                    self._counts.from_ledger += 1
                    self._counts.end(state)
            for job in jobs:
                await self._lane_of(job.question.request).queue.put(job)
            await asyncio.sleep(0)
        self._all_pulled = True
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
            due = self._pending[fingerprint] = Due()
        return _Job(question, due)

    async def _serve(self, lane: _Lane, worker: Worker) -> None:
        while self._reached is None:
            job = await lane.queue.get()
            self._counts.end(await self._carry_through(lane, worker, job))
            lane.queue.task_done()

    async def _carry_through(self, lane: _Lane, worker: Worker, job: _Job) -> Outcome:
        """Ask until the question is settled."""
        reasking = False
        while True:
            question, request, due = job.question, job.question.request, job.due
            if self._reached is not None:
                raise self._reached
            if due.begun:
                # Only ever waits for a call that a worker is at, so workers cannot all wait for one another.
                result = await due.shared()
            else:
                due.begun = True
                result = await self._call(lane, worker, request)
                self._counts.reasks += reasking
                # Stored by now: from here on a look-up finds it, and nobody needs to share.
                del self._pending[request.fingerprint]
                due.end(result)
            if isinstance(result, Ended):
                return result.outcome
            state = advance(question, {request.fingerprint: result})
            if isinstance(state, Request):
                again = remainder(question, state)
                state = follow([again], self._ledger)[0]
            if isinstance(state, Answer):
                return state.outcome
            job, reasking = self._enrol(remainder(question, state)), True

    async def _call(self, lane: _Lane, worker: Worker, request: Request) -> Result:
        """Make a call and store how it ended."""
        worker.at = "calling"
        tried = await lane.caller.call(request)
        if tried.stop is not None:
            if self._refused is not None:
                raise self._refused  # one row says why, and many calls are told the same at once
            self._refused = tried.stop
        await self._crew.store(worker, tried.stored)
        self._counts.add(tried.stored)
        if tried.stop is not None:
            raise tried.stop
        if tried.reply is not None:
            self._endings.replied(request)
            return tried.reply
        if tried.fault is not None:
            self._endings.ended(request, tried.stored.kind, tried.fault, lane.rules)
        return Ended("rejected" if tried.stored.kind == "rejected" else "failed")

    async def _tell(self) -> None:
        pause, told = REPORT_EVERY_S, -1
        while True:
            await self._clock.sleep(pause)
            self._report()
            ended = self._counts.done + self._counts.asked
            pause = REPORT_EVERY_S if ended != told else min(REPORT_AT_LEAST_EVERY_S, pause * 2.0)
            told = ended

    def _report(self) -> None:
        gates = {name: lane.caller.gate for name, lane in self._lanes.items()}
        waits = {name: wait for name, gate in gates.items() if (wait := gate.waiting) is not None}
        said = waits.values() if len(gates) == 1 else (f"{name}: {wait}" for name, wait in waits.items())
        self._progress(
            self._counts.progress(
                expected=self._expected,
                in_flight=sum(gate.inside for gate in gates.values()),
                limit=sum(gate.limit for gate in gates.values()),
                held_s=max((gate.held_s for gate in gates.values()), default=0.0),
                waiting="; ".join(said) or None,
            )
        )

    def _so_far(self) -> str:
        done, total = self._counts.done, self._expected
        if total is None and self._all_pulled:
            total = self._counts.questions
        return f"{done:,} done" if total is None else f"{done:,} of {total:,} done"


def _rules_of(endpoint: str, rules: RetryRules | Mapping[str, RetryRules]) -> RetryRules:
    if isinstance(rules, RetryRules):
        return rules
    if endpoint not in rules:
        raise LookupError(f"no retry rules for endpoint {endpoint}; there are: {', '.join(rules) or 'none'}")
    return rules[endpoint]
