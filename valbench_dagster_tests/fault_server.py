"""A loopback server that answers badly on purpose: scripted, seeded, and with a count of what it did to whom.

Raw protocol code in a thread of its own. Which fault a request meets is decided by its prompt and the number of its
try, not by the order of arrival, so that a seed means the same on every machine.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import orjson

from valbench_dagster_tests.fault_answers import ANSWERS, FAULTS, REFUSALS, Answer, Pause, error, http, reply_body

GOOD = "good"
Script = Callable[[str, int], str]
"""Which answer a prompt gets at its n-th try (from 1): `good`, or a name of `ANSWERS`."""

_NO_LINGER = struct.pack("ii", 1, 0)


def always(name: str) -> Script:
    """Answer every try so."""
    return lambda _prompt, _number: name


def at_first(name: str, tries: int = 1) -> Script:
    """Answer the first tries of each prompt so, then well."""
    return lambda _prompt, number: name if number <= tries else GOOD


def by_chance(shares: Mapping[str, float], seed: int) -> Script:
    """Answer by chance, each name with its share of all tries, the rest well."""
    names = [*shares, GOOD]
    weights = [*shares.values(), 1.0 - sum(shares.values())]
    return lambda prompt, number: Random(f"{seed}/{number}/{prompt}").choices(names, weights)[0]


def evenly(names: list[str], share: float) -> dict[str, float]:
    """Give each name an even part of a share."""
    return {name: share / len(names) for name in names}


@dataclass
class FaultServer:
    """The server and what it counts: by prompt its tries and its good replies, by name the answers given.

    A prompt's name is its first hundred characters. A body over `longest_body` bytes is answered 413, before it is read
    to its end if `impatient`. Counters may be read while it serves.
    """

    script: Script = field(default_factory=lambda: always(GOOD))
    latency_s: float = 0.0
    longest_body: int = 1 << 24
    impatient: bool = False
    tries: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    base_url: str = ""
    open: set[asyncio.Transport] = field(default_factory=set)

    def forget(self) -> None:
        """Begin all counts anew."""
        for counts in (self.tries, self.replies, self.answers):
            counts.clear()
        self.connections, self.most_in_flight = 0, self.in_flight

    def answer(self, body: bytes) -> tuple[Answer, str]:
        """Decide on the answer to a request, and give the prompt that it counts for as a good reply, or nothing."""
        if len(body) > self.longest_body:
            self.answers["413"] += 1
            return error("413 Payload Too Large", f"at most {self.longest_body} bytes"), ""
        prompt = orjson.loads(body)["messages"][-1]["content"][:100]
        self.tries[prompt] += 1
        name = self.script(prompt, self.tries[prompt])
        self.answers[name] += 1
        good = reply_body(prompt, self.replies[prompt] + 1)
        if name == GOOD:
            return [http("200 OK", good)], prompt
        return ANSWERS[name](good), "" if name in FAULTS or name in REFUSALS else prompt


class _Connection(asyncio.Protocol):
    """One connection: requests in turn, each answered step by step."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self._received = bytearray()
        self._playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections += 1
        self._server.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self._transport)
        if self._playing is not None:
            self._playing.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        whole = len(head) + 4 + length
        if self._server.impatient and length > self._server.longest_body:
            self._transport.write(http("413 Payload Too Large", b'{"error": {"message": "far too long"}}'))
            self._transport.close()
        elif len(self._received) >= whole:
            body = bytes(self._received[len(head) + 4 : whole])
            del self._received[:whole]
            self._playing = asyncio.get_running_loop().create_task(self._play(body))

    async def _play(self, body: bytes) -> None:
        server = self._server
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        try:
            await asyncio.sleep(server.latency_s)
            steps, replied = server.answer(body)
            counts = steps.index("counts") + 1 if "counts" in steps else _last_written(steps)
            for place, step in enumerate(steps):
                if isinstance(step, bytes):
                    # Before it is written: who reads it may look at the count at once.
                    if place == counts and replied:
                        server.replies[replied] += 1
                    self._transport.write(step)
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                elif step == "close":
                    self._transport.close()
                elif step == "reset":
                    sock: socket.socket = self._transport.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    self._transport.abort()
        finally:
            server.in_flight -= 1


def _last_written(steps: Answer) -> int:
    return max((place for place, step in enumerate(steps) if isinstance(step, bytes)), default=-1)


@contextmanager
def serving(server: FaultServer) -> Iterator[FaultServer]:
    """Serve on a free port of loopback, in a thread of this process; no connection outlives it."""
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        listening = await loop.create_server(lambda: _Connection(server), "127.0.0.1", 0, backlog=1024)
        server.base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await stop.wait()
        listening.close()
        for transport in server.open:
            transport.abort()
        while server.open:  # until each connection has heard that it is lost
            await asyncio.sleep(0)
        await asyncio.gather(*asyncio.all_tasks(loop) - {asyncio.current_task(loop)}, return_exceptions=True)

    def work() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=work, name="fault-server")
    thread.start()
    try:
        assert ready.wait(30), "the fault server did not start"
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
