"""One call: a request sent until it has a reply, is rejected, or has had its last try.

Here belong the retries of one request and the record of how it ended. Who is asked next and what is stored is
`dispatcher.py`.
"""

from dataclasses import dataclass
from random import Random

import orjson

from valbench_dagster.llm.apis.wire import request_body
from valbench_dagster.llm.calls import Reply, Request
from valbench_dagster.llm.endpoint import Transport, TransportFault
from valbench_dagster.llm.gate import Gate
from valbench_dagster.llm.ledger import CallKind, FinishedCall
from valbench_dagster.llm.replies import BadReply, read_reply
from valbench_dagster.llm.retry import Clock, RetryRules, held_too_long, next_delay, refused, treatment


@dataclass(frozen=True, slots=True)
class Tried:
    """How a call ended: what is to be stored, and the reply or the fault that ended it (the other is null)."""

    stored: FinishedCall
    reply: Reply | None
    fault: TransportFault | None


class Caller:
    """Makes calls to one endpoint, through its gate."""

    def __init__(
        self, transport: Transport, gate: Gate, rules: RetryRules, clock: Clock, rng: Random, run: str
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._rules = rules
        self._clock = clock
        self._rng = rng
        self._run = run

    async def call(self, request: Request) -> Tried:
        """Send `request` until it ends; raises `EndpointRefused` on a fault that no other call would escape.

        A body that is no reply of the API is a fault like a broken connection: it would else be served for ever.
        """
        endpoint, model = request.served.endpoint, request.served.model
        attempts = throttled = 0
        body = orjson.dumps(request_body(request))
        first = self._clock.monotonic()
        while True:
            await self._gate.enter()
            started_at, started = self._clock.now(), self._clock.monotonic()
            raw, fault = b"", None
            try:
                raw = (await self._transport.send(request, body)).body
            except TransportFault as caught:
                fault = caught
            finally:
                self._gate.leave()
            latency = self._clock.monotonic() - started
            reply = None
            if fault is None:
                try:
                    reply = read_reply(request.served.api, raw)
                except BadReply as bad:
                    fault = TransportFault("broken", None, str(bad))
            told_to_wait = fault is not None and fault.status == 429
            throttled, attempts = throttled + told_to_wait, attempts + (not told_to_wait)

            kind: CallKind = "reply"
            if fault is None:
                self._gate.replied()
            else:
                todo = treatment(fault)
                if todo == "fatal":
                    raise refused(endpoint, model, fault)
                if todo == "retry":
                    self._heed(endpoint, fault)
                    delay = next_delay(
                        fault,
                        attempts=attempts,
                        throttled=throttled,
                        elapsed=self._clock.monotonic() - first,
                        rules=self._rules,
                        rng=self._rng,
                    )
                    if delay is not None:
                        await self._clock.sleep(delay)
                        continue
                kind = "rejected" if todo == "rejected" else "failed"
            stored = FinishedCall(
                fingerprint=request.fingerprint,
                kind=kind,
                endpoint=endpoint,
                provider=request.served.provider,
                model=model,
                request=body,
                reply=raw if reply is not None else None,
                status=200 if fault is None else fault.status,
                message=None if fault is None else str(fault),
                input_tokens=None if reply is None else reply.input_tokens,
                output_tokens=None if reply is None else reply.output_tokens,
                started_at=started_at.isoformat(timespec="milliseconds"),
                latency=latency,
                attempts=attempts + throttled,
                run=self._run,
                schema_mode=None if request.schema is None else "json_schema",
                served_model=None if reply is None else reply.served_model,
                cached_tokens=None if reply is None else reply.cached_tokens,
                reasoning_tokens=None if reply is None else reply.reasoning_tokens,
                cost=None
                if reply is None
                else request.served.prices.cost(reply.input_tokens, reply.output_tokens, reply.cached_tokens),
            )
            return Tried(stored, reply, fault)

    def _heed(self, endpoint: str, fault: TransportFault) -> None:
        """Let the whole endpoint feel what one call was told."""
        if fault.status == 429:
            self._gate.throttled()
        if fault.retry_after is not None:
            if fault.retry_after > self._rules.longest_hold_s:
                raise held_too_long(endpoint, fault, self._rules)
            self._gate.hold(fault.retry_after)
