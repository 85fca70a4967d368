"""A loopback server that says the same bytes to everybody, and one request sent to it by the real transport."""

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.apis.wire import request_body
from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.endpoint import EndpointSettings, Received, TransportFault
from valbench_dagster_tests.llm_fakes import request

KEY = "sk-very-secret-key-0123456789"


@dataclass
class LoopbackServer:
    """An HTTP server that answers every request with the same bytes, then closes, and keeps what it was sent.

    With `stall` it does not close after its answer, with `at_once` it answers before it is asked.
    """

    answer: bytes
    stall: bool = False
    at_once: bool = False
    tls: ssl.SSLContext | None = None
    port: int = 0
    received: list[bytes] = field(default_factory=list)
    handlers: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def head(self) -> str:
        return self.received[0].partition(b"\r\n\r\n")[0].decode().lower()

    @property
    def body(self) -> Any:
        return orjson.loads(self.received[0].partition(b"\r\n\r\n")[2])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self.handlers.append(handler)
        try:
            if self.at_once:
                writer.write(self.answer)
                return
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return  # it went away without a request
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            self.received.append(head + await reader.readexactly(length))
            writer.write(self.answer)
            await writer.drain()
            if self.stall:
                await reader.read()
        finally:
            writer.close()
            with suppress(ConnectionError):  # it may be the client that broke it off
                await writer.wait_closed()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen, and at the end wait until every connection is closed."""
        async with await asyncio.start_server(self.handle, "127.0.0.1", 0, ssl=self.tls) as listening:
            self.port = listening.sockets[0].getsockname()[1]
            yield
            await asyncio.gather(*self.handlers)


async def sent(transport: OpenAITransport, asked: Request) -> Received:
    """Send a request as the engine does."""
    return await transport.send(asked, orjson.dumps(request_body(asked)))


def http(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Give a whole answer; `length` is what it says of its body's."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def received(server: LoopbackServer, asked: Request | None = None, **settings: Any) -> Received:
    """Start the server, send one request to it, and stop it."""

    async def run() -> Received:
        async with server.serving():
            given = {"name": "lab", "base_url": server.url, "api_key": KEY, "concurrency": 2, "timeout_s": 20.0}
            async with OpenAITransport(EndpointSettings(**{**given, **settings})) as transport:
                return await sent(transport, asked or request("hello"))

    return asyncio.run(run())


def talk(server: LoopbackServer, asked: Request | None = None, **settings: Any) -> bytes:
    """Give the body of the answer to one request."""
    return received(server, asked, **settings).body


def fault_of(server: LoopbackServer, **settings: Any) -> TransportFault:
    """Give the fault of one request, which shows no secret and brings along no other error that could."""
    with pytest.raises(TransportFault) as caught:
        talk(server, **settings)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


def error_body(message: str, **more: str) -> bytes:
    """Give an error as the API words it."""
    return orjson.dumps({"error": {"message": message, **more}})
