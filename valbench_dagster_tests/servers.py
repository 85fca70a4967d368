"""Servers and other child processes of tests: real ones, started, watched and stopped by their process id.

Output goes to files, so that no child ever waits for a reader, and is shown when something goes wrong. Here belong
processes only; what a test asks of them is its own.
"""

import asyncio
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

LOOK_EVERY_S = 0.02
STOP_WITHIN_S = 30.0
SHOWN_CHARACTERS = 20_000


def valbench() -> str:
    """Give the path of the command `valbench` of the running environment."""
    return str(Path(sysconfig.get_path("scripts"), "valbench"))


def environment(home: Path, roster: Path | None = None) -> dict[str, str]:
    """Give all that a child's environment holds: nothing of the machine's roster, home or Dagster instance."""
    env = {"PATH": str(Path(sys.executable).parent), "HOME": str(home.parent), "VALBENCH_HOME": str(home)}
    return env if roster is None else {**env, "VALBENCH_ROSTER": str(roster)}


@dataclass(frozen=True)
class Child:
    """A running child process and where its output lies."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def shown(self) -> str:
        """Give command, state and the end of what it printed, for the message of a failure."""
        command = " ".join(str(part) for part in self.process.args)  # type: ignore[union-attr]  # always a list here
        parts = [f"{command}\nprocess {self.process.pid}, return code {self.process.poll()}"]
        for path in (self.stdout, self.stderr):
            parts.append(f"--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-SHOWN_CHARACTERS:]}")
        return "\n".join(parts)

    def printed(self) -> str:
        """Give what it has printed to its standard output so far."""
        return self.stdout.read_text(encoding="utf-8")

    def wait_until(self, condition: Callable[[], bool], within_s: float) -> None:
        """Return once `condition` holds; fails, with the output, when the child ends first or time runs out."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s} s: {self.shown()}"
            try:
                self.process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"ended too early: {self.shown()}")

    def ends(self, within_s: float, *, code: int | None = 0) -> str:
        """Wait for its end and give its standard output; fails, with the output, unless it ends with `code`.

        A negative code is the number of the signal that ended it; null takes any.
        """
        try:
            ended = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s} s: {self.shown()}") from None
        assert code is None or ended == code, f"expected the return code {code}: {self.shown()}"
        return self.printed()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process and no other."""
        self.process.send_signal(number)


@contextmanager
def started(command: Sequence[str | Path], folder: Path, env: Mapping[str, str], name: str) -> Iterator[Child]:
    """Start a child in `folder`, its output in files beside it called `name`; whatever happens, it has ended after.

    It starts with SIGINT at its default, as from a terminal, even where the tests themselves run in a shell's
    background, which ignores it and hands that down.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stdout, stderr = folder.with_name(f"{name}.stdout"), folder.with_name(f"{name}.stderr")
    with stdout.open("wb") as out, stderr.open("wb") as err, _interruptible():
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    try:
        yield Child(process, stdout, stderr)
    finally:
        _stop(process)


def run(
    command: Sequence[str | Path], folder: Path, env: Mapping[str, str], name: str, within_s: float = 300.0
) -> Child:
    """Run a command to its end, which must be a good one within the time given; gives the ended child."""
    with started(command, folder, env, name) as child:
        child.ends(within_s)
    return child


@contextmanager
def stand_ins(folder: Path, name: str, latency_s: float = 0.0) -> Iterator[str]:
    """Serve the stand-ins by `valbench serve-stand-ins` on a free port; gives the base URL that it printed."""
    command = [valbench(), "serve-stand-ins", "--port", "0", "--latency", str(latency_s)]
    with started(command, folder, environment(folder / "no-home"), name) as server:
        server.wait_until(lambda: "\n" in server.printed(), within_s=120)
        ready, _, base_url = server.printed().strip().partition(" ")
        assert ready == "READY", f"expected a line READY and the base URL: {server.shown()}"
        yield base_url
        assert server.process.poll() is None, f"the server ended during the test: {server.shown()}"


@contextmanager
def _interruptible() -> Iterator[None]:
    # A handler becomes the default in a new program, and only what is ignored stays so: no code in the child is needed.
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Relay:
    """A relay before a server that counts the calls it passes on: also those whose reply nobody stored.

    `calls` grows while it works. It knows a call by the head of its request, and changes nothing.
    """

    def __init__(self, upstream: str) -> None:
        """Relay to the base URL `upstream`; nothing is opened yet."""
        split = urlsplit(upstream)
        self._host, self._port, self._path = split.hostname, split.port, split.path
        self._head = f"POST {split.path}/chat/completions HTTP/1.1\r\n".encode()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self.calls = 0
        self.base_url = ""

    def serve(self) -> None:
        """Relay until told to stop, in the thread that calls this."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def wait(self) -> None:
        """Return once connections are taken and `base_url` is known."""
        assert self._ready.wait(STOP_WITHIN_S), "the relay did not start"

    def stop(self) -> None:
        """Stop, from another thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self) -> None:
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, self._host, 0)
        self.base_url = f"http://{self._host}:{server.sockets[0].getsockname()[1]}{self._path}"
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        upstream, downstream = await asyncio.open_connection(self._host, self._port)
        ways = [asyncio.create_task(self._pass(reader, downstream)), asyncio.create_task(self._pass(upstream, writer))]
        try:
            # When either side ends, by a good-bye or by its death, the connection is over.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            writer.close()
            downstream.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tail = b""
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                seen = tail + data
                self.calls += seen.count(self._head)
                tail = seen[-(len(self._head) - 1) :]
                writer.write(data)
                await writer.drain()


@contextmanager
def relayed(upstream: str) -> Iterator[Relay]:
    """Relay to the base URL `upstream` in a thread of this process."""
    relay = Relay(upstream)
    thread = threading.Thread(target=relay.serve, name="relay")
    thread.start()
    try:
        relay.wait()
        yield relay
    finally:
        relay.stop()
        thread.join()
