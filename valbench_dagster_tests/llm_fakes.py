"""Scripted stand-ins for the ports of `valbench_dagster.llm`: a clock, a ledger and a transport, all in memory."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from valbench_dagster.llm.calls import Message, Question, Reply, Request, ServedModel, nothing_wrong
from valbench_dagster.llm.endpoint import EndpointSettings, Received, TransportFault
from valbench_dagster.llm.ledger import FinishedCall, StoredFailure

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Time that passes only when everybody sleeps: the sleeper due first goes on, after all others had their turn."""

    def __init__(self) -> None:
        self.time = 0.0
        self._due: list[tuple[float, int]] = []
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        mine = (self.time + seconds, next(self._numbers))
        heapq.heappush(self._due, mine)
        try:
            while True:
                for _ in range(10):
                    await asyncio.sleep(0)
                if self._due[0] == mine:
                    self.time = max(self.time, mine[0])
                    return
        finally:
            self._due.remove(mine)
            heapq.heapify(self._due)


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


Step = bytes | TransportFault
"""What a transport is scripted to do with one try."""


class ScriptedTransport:
    """Does what `script` says of a request and the number of its try (from 1), after `takes` seconds of the clock."""

    def __init__(
        self, script: Callable[[Request, int], Step], clock: FakeClock, concurrency: int = 4, takes: float = 1.0
    ) -> None:
        self.settings = EndpointSettings("fake", "http://fake/v1", concurrency=concurrency)
        self.sent: list[tuple[float, str, int]] = []
        self.most_at_once = 0
        self._script = script
        self._clock = clock
        self._takes = takes
        self._tries: dict[str, int] = {}
        self._inside = 0

    async def send(self, request: Request, body: bytes) -> Received:
        number = self._tries[request.fingerprint] = self._tries.get(request.fingerprint, 0) + 1
        self.sent.append((self._clock.time, request.messages[-1].content, request.sample))
        self._inside += 1
        self.most_at_once = max(self.most_at_once, self._inside)
        try:
            await self._clock.sleep(self._takes)
        finally:
            self._inside -= 1
        step = self._script(request, number)
        if isinstance(step, TransportFault):
            raise step
        return Received(step)


def completion(
    text: str | None,
    *,
    finish_reason: str = "stop",
    tokens: tuple[int, int] = (10, 5),
    fields: Mapping[str, Any] | None = None,
) -> bytes:
    """Give the body of a chat completion; `fields` are more of its message."""
    return orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "served-model",
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
) -> Request:
    """Give a request with one user message."""
    served = ServedModel(endpoint, provider, "chat", model, 1, settings or {"max_tokens": 100})
    return Request(served, (Message("user", text),), sample=sample)


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
