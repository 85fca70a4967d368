"""The stand-ins behind a gate that a test opens: calls wait where the test wants them, on any machine, for any time.

A server of this process on loopback. It answers what the stand-ins answer; only when is decided here. Here belongs no
process and nothing of Dagster.
"""

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valbench_dagster.stand_ins.server import make_app

HELD_AT_MOST_S = 600.0


class Gate:
    """Counts the calls that arrive, by respondent (model and system prompt), and holds back what a test wants held."""

    def __init__(self) -> None:
        """Make an open gate."""
        self.arrived: Counter[tuple[str, str]] = Counter()
        self.answered: Counter[tuple[str, str]] = Counter()
        self._until: int | None = None
        self._after: int | None = None
        self._app: ASGIApp = make_app()
        self._changed = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None

    def hold_until(self, respondents: int) -> None:
        """Answer nobody until so many respondents have called since now."""
        self._forget()
        self._until = respondents

    def hold_after(self, calls: int) -> None:
        """Answer so many calls from now on and hold the rest, until opened."""
        self._forget()
        self._after = calls

    def open(self) -> None:
        """Answer everybody."""
        self._until = self._after = None
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._tell(), self._loop)

    def _forget(self) -> None:
        self.open()
        self.arrived.clear()
        self.answered.clear()

    async def _tell(self) -> None:
        """Let those who are held look again."""
        async with self._changed:
            self._changed.notify_all()

    def _may_pass(self) -> bool:
        if self._until is not None:
            return len(self.arrived) >= self._until
        return self._after is None or self.answered.total() < self._after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI app."""
        if not scope["path"].endswith("/chat/completions"):
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        call = json.loads(body)
        system = [turn["content"] for turn in call["messages"] if turn["role"] == "system"]
        caller = (str(call["model"]), str(system[0]) if system else "")
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout(HELD_AT_MOST_S), self._changed:
            self.arrived[caller] += 1
            self._changed.notify_all()
            await self._changed.wait_for(self._may_pass)
            self.answered[caller] += 1
        read = False

        async def again() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


@contextmanager
def gated_stand_ins() -> Iterator[tuple[str, Gate]]:
    """Serve the stand-ins behind an open gate, in a thread; gives the base URL and the gate."""
    gate = Gate()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        config = uvicorn.Config(gate, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="gated stand-ins")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", gate
        finally:
            gate.open()
            server.force_exit = server.should_exit = True
            thread.join()
