"""One call: a request sent until it has a reply, is rejected, or has had its last try.

Here belong the retries of one request and the record of how it ended. Who is asked next and what is stored is
`dispatcher.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

import orjson

from valbench_dagster.llm.apis.wire import request_body
from valbench_dagster.llm.breaker import Blame, Mark
from valbench_dagster.llm.budget import Budget, Reserved
from valbench_dagster.llm.calls import Reply, Request, SchemaMode
from valbench_dagster.llm.endpoint import Received, Transport, TransportFault
from valbench_dagster.llm.gate import Gate
from valbench_dagster.llm.ledger import CallKind, FinishedCall
from valbench_dagster.llm.replies import BadReply, read_reply
from valbench_dagster.llm.retry import (
    Clock,
    RetryRules,
    delay_while_failing,
    is_overload,
    is_told_to_wait,
    next_delay,
    treatment,
    used_up_s,
    wait_asked,
)
from valbench_dagster.llm.schema_modes import SchemaModes
from valbench_dagster.llm.served_names import fits
from valbench_dagster.llm.stops import (
    EndpointRefused,
    answers_as_another,
    held_too_long,
    not_there,
    refused,
    went_down,
)


@dataclass(frozen=True, slots=True)
class Tried:
    """How a call ended: what is to be stored, the reply or the fault that ended it (the other is null).

    `stop` is the error that ends the run, null where it goes on.
    """

    stored: FinishedCall
    reply: Reply | None
    fault: TransportFault | None
    stop: EndpointRefused | None = None


@dataclass(slots=True)
class _Tries:
    """The tries of a call so far by what ended them: a fault of its own, being told to wait, a failing endpoint."""

    began: float
    attempts: int = 0
    throttled: int = 0
    unheard: int = 0

    @property
    def made(self) -> int:
        return self.attempts + self.throttled + self.unheard


@dataclass(frozen=True, slots=True)
class _Try:
    """One try that has ended: with the body and the reply read from it, or with a fault and whose it is."""

    started_at: datetime
    latency: float
    raw: bytes | None
    reply: Reply | None
    fault: TransportFault | None
    blame: Blame | None


@dataclass(frozen=True, slots=True)
class _End:
    """How a call ends."""

    kind: CallKind
    stop: EndpointRefused | None = None


_REPLIED, _REJECTED, _FAILED = _End("reply"), _End("rejected"), _End("failed")


class Caller:
    """Makes calls to one endpoint, through its gate.

    `step` is stored with each call, `budget` asked before each. `so_far` says how far the run is, for the error of an
    endpoint that is down.
    """

    def __init__(
        self,
        transport: Transport,
        rules: RetryRules,
        clock: Clock,
        rng: Random,
        run: str,
        *,
        step: str | None = None,
        budget: Budget | None = None,
        so_far: Callable[[], str] = lambda: "some calls done",
    ) -> None:
        self.gate = Gate(transport.settings, rules, clock)
        self._transport = transport
        self._modes = SchemaModes()
        self._fitting: set[str] = set()
        self._rules = rules
        self._clock = clock
        self._rng = rng
        self._run = run
        self._step = step
        self._budget = budget
        self._so_far = so_far

    async def call(self, request: Request) -> Tried:
        """Send `request` until it ends. Raises `BudgetReached` where it may not be made.

        A body that is no reply of the API is a fault like a broken connection: it would else be served for ever.
        """
        mode = await self._modes.begin(request)
        reserved: Reserved | None = None
        stored: FinishedCall | None = None
        try:
            body = _body(request, mode)
            if self._budget is not None:
                reserved = await self._budget.admit(request, body)
            tried = await self._until_it_ends(request, mode, body)
            stored = tried.stored
            return tried
        finally:
            if self._budget is not None and reserved is not None:
                self._budget.settle(reserved, stored)
            if mode is not None:
                self._modes.end(request)

    async def _until_it_ends(self, request: Request, mode: SchemaMode | None, body: bytes) -> Tried:
        tries = _Tries(self._clock.monotonic())
        while True:
            if mode is not None and mode != (present := self._modes.mode_of(request)):
                mode, body = present, _body(request, present)
            done = await self._try(request, mode, body)
            end: _End | float = _REPLIED
            if done.fault is not None:
                if mode is not None and self._modes.steps_down(request, mode, done.fault):
                    continue
                end = self._end_or_delay(request, done.fault, done.blame, tries)
            if isinstance(end, _End):
                return Tried(self._finished(request, mode, body, done, tries, end), done.reply, done.fault, end.stop)
            await self._clock.sleep(end)

    async def _try(self, request: Request, mode: SchemaMode | None, body: bytes) -> _Try:
        """Send once, and let the whole endpoint feel what the server says, before the place is given to the next."""
        tokens = self.gate.pace.estimate(request, body) if self.gate.pace.bounded else 0.0
        mark = await self.gate.enter(tokens)
        started_at, started = self._clock.now(), self._clock.monotonic()
        try:
            received = await self._transport.send(request, body)
            reply = self._read(request, received)
            self.gate.replied()
            self.gate.answered()
            self.gate.pace.replied(tokens, reply)
            if received.hints is not None and (wait := used_up_s(received.hints)):
                self.gate.hold(min(wait, self._rules.longest_hold_s))
            if mode is not None:
                self._modes.replied(request, mode, reply)
            return _Try(started_at, self._clock.monotonic() - started, received.body, reply, None, None)
        except TransportFault as fault:
            blame = self._heed(request, fault, mark)
            return _Try(started_at, self._clock.monotonic() - started, None, None, fault, blame)
        finally:
            self.gate.leave(mark)

    def _read(self, request: Request, received: Received) -> Reply:
        served = request.served
        try:
            reply = read_reply(served.api, received.body)
        except BadReply as bad:
            raise TransportFault("broken", None, str(bad), hints=received.hints) from None
        if not fits(served.model, reply.served_model, served.answers_as):
            said = f"answers as `{(reply.served_model or '')[:200]}` where `{served.model}` was asked"
            raise TransportFault("another_model", None, said, hints=received.hints)
        self._fitting.add(served.model)
        return reply

    def _heed(self, request: Request, fault: TransportFault, mark: Mark) -> Blame:
        """Let the whole endpoint feel what one call was told; say whose fault it is."""
        # A probe goes alone: that it is turned away says nothing of how many calls the server can take.
        if is_overload(fault) and not mark.probe:
            self.gate.overloaded()
        wait = wait_asked(fault) or used_up_s(fault.hints)
        if wait is not None:
            self.gate.hold(min(wait, self._rules.longest_hold_s))
        if fault.status is not None and fault.status < 500:
            self.gate.answered()
            return "call"
        return self.gate.breaker.faulted(mark, request.fingerprint, fault, self._clock.monotonic())

    def _end_or_delay(
        self, request: Request, fault: TransportFault, blame: Blame | None, tries: _Tries
    ) -> _End | float:
        """Count a try that ended in a fault; say how the call ends with it, or the seconds until its next try."""
        endpoint, model, rules = request.served.endpoint, request.served.model, self._rules
        now, told_to_wait = self._clock.monotonic(), is_told_to_wait(fault)
        tries.throttled += told_to_wait
        tries.unheard += blame == "endpoint" and not told_to_wait
        tries.attempts += blame != "endpoint" and not told_to_wait

        todo, wait, breaker = treatment(fault), wait_asked(fault), self.gate.breaker
        if todo == "rejected":
            return _REJECTED
        if todo == "fatal":
            return _End("failed", refused(endpoint, model, fault))
        if fault.kind == "another_model" and model not in self._fitting:
            return _End("failed", answers_as_another(endpoint, model, fault))
        if wait is not None and wait > rules.longest_hold_s:
            return _End("failed", held_too_long(endpoint, fault, wait, rules.longest_hold_s))
        verdict = breaker.verdict(now) if blame == "endpoint" else "wait"
        if verdict == "not_there":
            return _End("failed", not_there(endpoint, fault))
        if verdict == "down":
            return _End("failed", went_down(endpoint, breaker.failing_for(now), fault, self._so_far()))
        if verdict == "give_up":
            return _FAILED
        elapsed, rng = now - tries.began, self._rng
        if blame == "endpoint" and not told_to_wait:
            delay = delay_while_failing(fault, tries=tries.made, elapsed=elapsed, rules=rules, rng=rng)
        else:
            attempts, throttled = tries.attempts, tries.throttled
            delay = next_delay(fault, attempts=attempts, throttled=throttled, elapsed=elapsed, rules=rules, rng=rng)
        return _FAILED if delay is None else delay

    def _finished(
        self, request: Request, mode: SchemaMode | None, body: bytes, done: _Try, tries: _Tries, end: _End
    ) -> FinishedCall:
        served, reply, fault = request.served, done.reply, done.fault
        return FinishedCall(
            fingerprint=request.fingerprint,
            kind=end.kind,
            endpoint=served.endpoint,
            provider=served.provider,
            model=served.model,
            request=body,
            reply=done.raw,
            status=200 if fault is None else fault.status,
            message=None if fault is None else str(fault),
            input_tokens=None if reply is None else reply.input_tokens,
            output_tokens=None if reply is None else reply.output_tokens,
            started_at=done.started_at.isoformat(timespec="milliseconds"),
            latency=done.latency,
            attempts=tries.made + (fault is None),
            run=self._run,
            schema_mode=mode,
            served_model=None if reply is None else reply.served_model,
            cached_tokens=None if reply is None else reply.cached_tokens,
            reasoning_tokens=None if reply is None else reply.reasoning_tokens,
            cost=None
            if reply is None
            else served.prices.cost(reply.input_tokens, reply.output_tokens, reply.cached_tokens),
            step=self._step,
        )


def _body(request: Request, mode: SchemaMode | None) -> bytes:
    return orjson.dumps(request_body(request, mode or "json_schema"))
