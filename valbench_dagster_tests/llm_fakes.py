"""Scripted stand-ins for the ports of `valbench_dagster.llm`: a clock, a ledger and a transport, all in memory.

With `asking` and `ask` questions are asked of them as a step asks: in a time that passes only when everybody waits.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson

from valbench_dagster.llm.calls import Message, Question, Reply, Request, ServedModel, nothing_wrong
from valbench_dagster.llm.dispatcher import Progress, Tally, ask_missing
from valbench_dagster.llm.endpoint import EndpointSettings, RateHints, Received, Transport, TransportFault
from valbench_dagster.llm.ledger import FinishedCall, StoredFailure
from valbench_dagster.llm.retry import RetryRules

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Time that passes only when everybody sleeps: the sleeper due first goes on, after all others had their turn."""

    def __init__(self) -> None:
        self.time = 0.0
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._passing: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._due, (self.time + seconds, next(self._numbers), turn))
        if self._passing is None or self._passing.done():
            self._passing = asyncio.create_task(self._pass())
        await turn

    async def _pass(self) -> None:
        while self._due:
            for _ in range(12):
                await asyncio.sleep(0)
            if self._due:
                time, _, turn = heapq.heappop(self._due)
                if not turn.done():
                    self.time = max(self.time, time)
                    turn.set_result(None)


class MemoryLedger:
    """A ledger that forgets everything; `store_takes` seconds of the clock pass before a call is stored."""

    def __init__(self, clock: FakeClock | None = None, store_takes: float = 0.0) -> None:
        self.calls: list[FinishedCall] = []
        self.looked_up: list[int] = []
        self.fails_with: Exception | None = None
        self._clock = clock
        self._store_takes = store_takes

    def known(self, fingerprints: Sequence[str]) -> set[str]:
        return {call.fingerprint for call in self.calls if call.reply is not None} & set(fingerprints)

    def replies(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        self.looked_up.append(len(fingerprints))
        wanted, found = set(fingerprints), {}
        for call in reversed(self.calls):
            if call.fingerprint in wanted and call.reply is not None:
                found[call.fingerprint] = call.reply
        return found

    def failures(self, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
        wanted = set(fingerprints)
        return {
            call.fingerprint: StoredFailure(call.kind, call.message or "")
            for call in self.calls
            if call.fingerprint in wanted and call.kind != "reply"
        }

    async def append(self, call: FinishedCall) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        if self._clock is not None and self._store_takes:
            await self._clock.sleep(self._store_takes)
        self.calls.append(call)

    def texts(self) -> list[str]:
        """Give the user message of every stored call."""
        return [orjson.loads(call.request)["messages"][-1]["content"] for call in self.calls]


Step = bytes | Received | TransportFault
"""What a transport is scripted to do with one try."""


class ScriptedTransport:
    """Does what `script` says of a request and the number of its try (from 1), after `takes` seconds of the clock.

    `settings` are fields of `EndpointSettings` besides name, address and concurrency. `body_of` is the body last sent
    for a fingerprint.
    """

    def __init__(
        self,
        script: Callable[[Request, int], Step],
        clock: FakeClock,
        concurrency: int = 4,
        takes: float | Callable[[Request], float] = 1.0,
        **settings: Any,
    ) -> None:
        self.settings = EndpointSettings("fake", "http://fake/v1", concurrency=concurrency, **settings)
        self.sent: list[tuple[float, str, int]] = []
        self.bodies: list[bytes] = []
        self.body_of: dict[str, bytes] = {}
        self.most_at_once = 0
        self.script = script
        self.clock = clock
        self._takes = takes
        self._tries: dict[str, int] = {}
        self._inside = 0

    async def send(self, request: Request, body: bytes) -> Received:
        number = self._tries[request.fingerprint] = self._tries.get(request.fingerprint, 0) + 1
        self.sent.append((self.clock.time, request.messages[-1].content, request.sample))
        self.bodies.append(body)
        self.body_of[request.fingerprint] = body
        self._inside += 1
        self.most_at_once = max(self.most_at_once, self._inside)
        try:
            await self.clock.sleep(self._takes(request) if callable(self._takes) else self._takes)
        finally:
            self._inside -= 1
        step = self.script(request, number)
        if isinstance(step, TransportFault):
            raise step
        return step if isinstance(step, Received) else Received(step)


def status(
    code: int, message: str = "said so", retry_after: float | None = None, hints: RateHints | None = None
) -> TransportFault:
    """Give the fault of an answer with an error status."""
    return TransportFault("status", code, message, retry_after, hints)


def completion(
    text: str | None,
    *,
    finish_reason: str = "stop",
    tokens: tuple[int, int] = (10, 5),
    model: str = "m",
    fields: Mapping[str, Any] | None = None,
) -> bytes:
    """Give the body of a chat completion of `model`; `fields` are more of its message."""
    return orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish_reason,
                    "message": {"role": "assistant", "content": text, **(fields or {})},
                }
            ],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
        }
    )


def request(
    text: str,
    *,
    endpoint: str = "lab",
    provider: str = "lab",
    model: str = "m",
    sample: int = 0,
    settings: Mapping[str, Any] | None = None,
    schema: Mapping[str, Any] | None = None,
    **served: Any,
) -> Request:
    """Give a request with one user message; `served` are more fields of its `ServedModel`."""
    asked = ServedModel(endpoint, provider, "chat", model, 1, settings or {"max_tokens": 100}, **served)
    return Request(asked, (Message("user", text),), "reply" if schema is not None else None, schema, sample)


def question(
    text: str, fault: Callable[[Reply], str | None] = nothing_wrong, reasks: int = 0, **kwargs: Any
) -> Question:
    """Give a question whose request is `request(text, ...)`."""
    return Question(request(text, **kwargs), fault, reasks)


def stored(asked: Request, reply: bytes | None, message: str | None = None, **changes: Any) -> FinishedCall:
    """Give a finished call to `asked`: a reply, or a failure with a message."""
    fields: dict[str, Any] = {
        "fingerprint": asked.fingerprint,
        "kind": "failed" if reply is None else "reply",
        "endpoint": asked.served.endpoint,
        "provider": asked.served.provider,
        "model": asked.served.model,
        "request": orjson.dumps({"messages": [{"content": asked.messages[-1].content}]}),
        "reply": reply,
        "status": 200,
        "message": message,
        "input_tokens": 10,
        "output_tokens": 5,
        "started_at": START.isoformat(),
        "latency": 0.5,
        "attempts": 1,
        "run": "run-1",
    }
    return FinishedCall(**{**fields, **changes})


def says(text: str) -> Callable[[Request, int], Step]:
    """Give the script of a transport that always says the same."""
    return lambda _request, _number: completion(text)


def wants_yes(reply: Reply) -> str | None:
    """Find every reply faulty but `yes`."""
    return None if reply.text == "yes" else "not yes"


async def asking(
    questions: Iterable[Question],
    ledger: MemoryLedger,
    transports: Transport | Mapping[str, Transport],
    clock: FakeClock,
    progress: Callable[[Progress], None] = lambda _progress: None,
    rules: RetryRules | Mapping[str, RetryRules] | None = None,
    **more: Any,
) -> Tally:
    """Ask as a step does, of one endpoint `lab` or of those named; `more` are further arguments of `ask_missing`."""
    by_name = transports if isinstance(transports, Mapping) else {"lab": transports}
    return await ask_missing(
        questions, ledger, by_name, rules or RetryRules(), "run-1", progress, clock=clock, rng=Random(1), **more
    )


def ask(
    questions: Iterable[Question],
    script: Callable[[Request, int], Step],
    ledger: MemoryLedger | None = None,
    *,
    concurrency: int = 4,
    **more: Any,
) -> tuple[Tally, MemoryLedger, ScriptedTransport]:
    """Ask one scripted endpoint; give what was done, the ledger and the transport."""
    clock = FakeClock()
    ledger = ledger or MemoryLedger()
    transport = ScriptedTransport(script, clock, concurrency)
    return asyncio.run(asking(questions, ledger, transport, clock, **more)), ledger, transport
