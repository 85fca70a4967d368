"""A server of chat completions that costs next to nothing: raw protocol code, one process, nothing parsed but the head.

    python -m benchmarks.inference.server [--latency 0.5] [--bytes 1500]

Prints `READY <base URL>` and serves until it is told to stop. Every POST is answered after the latency with a chat
completion of so many bytes. A prompt that holds a mark, `[[` and digits and `]]`, finds it at the head of its reply,
and the server keeps which marks were asked, and which were answered while the connection lived.

    GET  /stats                 counts, open connections, and the CPU seconds of this process
    GET  /marks                 the marks since the last such look, as `{"asked": [...], "answered": [...]}`
    GET  /set?latency=0.2       seconds that a reply takes from now on
"""

import argparse
import asyncio
import json
import re
import resource
import signal
from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qs, urlsplit

BUFFER = 1 << 18
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MARK = re.compile(rb"\[\[(\d+)\]\]")
_WORDS = "the people of the valley held that the old road should stay open to all who had used it before the change "


def completion(size: int) -> tuple[bytes, bytes]:
    """Give what stands before and after the mark in the body of a reply whose text has `size` bytes with it."""
    mark = "[[]]"
    text = (_WORDS * (size // len(_WORDS) + 1))[: size - len("[[000000]] ")]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1795219200,
        "model": "loopback",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": f"{mark} {text}", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 120, "completion_tokens": 280, "total_tokens": 400},
        "system_fingerprint": "fp_loopback",
    }
    before, _, after = json.dumps(body).partition("[[]]")
    return before.encode(), after.encode()


class Server:
    """What all connections share."""

    def __init__(self, latency: float, size: int) -> None:
        self.latency = latency
        self.before, self.after = completion(size)
        self.loop = asyncio.get_running_loop()
        self.connections = self.served = self.in_flight = self.most_in_flight = 0
        self.asked: list[int] = []
        self.answered: list[int] = []

    def control(self, head: bytes) -> bytes:
        """Answer a request that is not for a completion."""
        target = urlsplit(head.split(b" ", 2)[1].decode())
        if target.path == "/marks":
            marks = {"asked": self.asked, "answered": self.answered}
            self.asked, self.answered = [], []
            return json.dumps(marks).encode()
        if target.path == "/set":
            self.latency = float(parse_qs(target.query)["latency"][0])
        used = resource.getrusage(resource.RUSAGE_SELF)
        stats = {
            "served": self.served,
            "connections": self.connections,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "cpu_s": used.ru_utime + used.ru_stime,
        }
        self.most_in_flight = self.in_flight
        return json.dumps(stats).encode()


class Connection(asyncio.Protocol):
    """One connection: a request at a time, its head searched for the length of its body and nothing else."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in."""
        self.transport = cast(asyncio.Transport, transport)
        self.server.connections += 1

    def connection_lost(self, _error: Exception | None) -> None:
        """Count it out; what was asked over it is answered to nobody."""
        self.transport = None
        self.server.connections -= 1

    def data_received(self, data: bytes) -> None:
        """Take every whole request out of what has come so far."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < whole:
                return
            request, self.buffer = self.buffer[:whole], self.buffer[whole:]
            if b"/chat/completions" in head[:256]:
                self._take(request)
            else:
                self._send(self.server.control(head))

    def _take(self, request: bytes) -> None:
        server = self.server
        found = _MARK.search(request)
        mark = int(found[1]) if found else -1
        if found:
            server.asked.append(mark)
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        if server.latency:
            server.loop.call_later(server.latency, self._reply, mark)
        else:
            self._reply(mark)

    def _reply(self, mark: int) -> None:
        server = self.server
        server.in_flight -= 1
        if self.transport is not None and not self.transport.is_closing():
            server.served += 1
            if mark >= 0:
                server.answered.append(mark)
            self._send(b"%b[[%06d]]%b" % (server.before, max(mark, 0), server.after))

    def _send(self, body: bytes) -> None:
        if self.transport is not None:
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )


async def serve(latency: float, size: int, ready: Callable[[str], None]) -> None:
    """Serve on a free port of loopback until SIGTERM or SIGINT; `ready` is given the base URL."""
    shared, stopping = Server(latency, size), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    listening = await loop.create_server(lambda: Connection(shared), "127.0.0.1", 0, backlog=4096)
    ready(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
    await stopping.wait()
    listening.close()


def main() -> None:
    """Serve, on uvloop: the less the server costs, the more of the machine is the client's."""
    import uvloop

    parser = argparse.ArgumentParser(description="A loopback server of chat completions.")
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--bytes", type=int, default=1500)
    chosen = parser.parse_args()
    uvloop.run(serve(chosen.latency, chosen.bytes, lambda url: print("READY", url, flush=True)))


if __name__ == "__main__":
    main()
