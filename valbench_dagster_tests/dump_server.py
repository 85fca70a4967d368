"""A dump server on loopback: both layouts of the real one, its rules, and faults that a test scripts.

Here belong connections. What lies on the server and what was asked of it is `dump_site`'s, bytes of dumps
`dump_content`'s, single replies and faults `dump_replies`'s; all that a test needs to run one is named here. As a
process, for slow tests:
`python -m valbench_dagster_tests.dump_server FOLDER` serves what lies in FOLDER at each request, prints its URL first
and then a line of JSON for each request that has ended.
"""

import argparse
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import unquote

from valbench_dagster_tests import servers
from valbench_dagster_tests.dump_replies import (
    Asked,
    CutAfter,
    Endless,
    Fault,
    HtmlErrorPage,
    IgnoreRange,
    Normal,
    NotFound,
    Replaced,
    Reply,
    StallAfter,
    Status,
    WrongBytes,
    WrongRange,
)
from valbench_dagster_tests.dump_site import DumpServerHandle, Request, Visit

__all__ = [
    "CutAfter",
    "DumpServerHandle",
    "Endless",
    "Fault",
    "HtmlErrorPage",
    "IgnoreRange",
    "Normal",
    "NotFound",
    "Replaced",
    "Request",
    "StallAfter",
    "Status",
    "WrongBytes",
    "WrongRange",
    "dump_server",
    "served_folder",
]

PIECE_BYTES = 1 << 17
LOOK_EVERY_S = 0.02


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "dumps", ""
    disable_nagle_algorithm = True
    server: "_Server"

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        handle = self.server.handle
        visit = handle.arrived(Asked(self.command, unquote(self.path.partition("?")[0]), headers))
        try:
            self._send(visit, handle.reply(visit))
        finally:
            handle.went_on(visit, ends=True)

    do_GET = do_HEAD = _answer  # noqa: N815 - the library looks for these names

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: requests are in the handle's book."""

    def _send(self, visit: Visit, reply: Reply) -> None:
        handle, length = self.server.handle, reply.stop - reply.start
        end = reply.start if self.command == "HEAD" else reply.stop
        if reply.cut_after is not None:
            end = min(end, reply.start + reply.cut_after)
            self.close_connection = True
        if end == reply.start:
            handle.went_on(visit, status=None if reply.wordless else reply.status, ends=True)
        if reply.reset:
            self.server.resets.add(self.connection)
        if reply.wordless:
            return
        handle.went_on(visit, status=reply.status)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.measured:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self._send_body(visit, reply, end)

    def _send_body(self, visit: Visit, reply: Reply, end: int) -> None:
        handle, at, began = self.server.handle, reply.start, time.monotonic()
        stall = end if reply.stall_after is None else min(reply.start + reply.stall_after, end)
        rate = handle.bytes_per_second
        piece = PIECE_BYTES if rate is None else max(1, min(PIECE_BYTES, int(rate * LOOK_EVERY_S)))
        while at < end:
            if at == stall:
                while not handle.release.is_set():
                    self._pause(LOOK_EVERY_S)
            data = memoryview(reply.content.read(at, min(at + piece, end, stall if at < stall else end)))
            at += len(data)
            last = 1 if at == end else 0
            while len(data) > last:
                sent = self.connection.send(data[: len(data) - last])
                handle.went_on(visit, sent)
                data = data[sent:]
            if last:
                handle.went_on(visit, last, ends=True)
                self.connection.sendall(data)
            elif rate is not None:
                self._pause(began + (at - reply.start) / rate - time.monotonic())

    def _pause(self, seconds: float) -> None:
        """Wait, but not for a client that has gone or a server that closes: then `ConnectionAbortedError`."""
        if select.select([self.connection], [], [], max(seconds, 0.0))[0]:
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError("the other side has gone")
            self.server.handle.closing.wait(max(seconds, 0.0))  # it asks for more already


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = False  # so that closing waits for them
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.handle: DumpServerHandle
        self.resets: set[socket.socket] = set()
        self.errors: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        if request in self.resets:
            self.resets.discard(request)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.errors.append(error)

    def end_connections(self) -> None:
        """Wake whoever reads, sends or waits; their threads then end."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # it may have been reset
                    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def dump_server(
    *,
    folder: Path | None = None,
    connections: int | None = 3,
    bytes_per_second: int | None = None,
    strict: bool = True,
    ended: Callable[[Request], None] = lambda request: None,
) -> Iterator[DumpServerHandle]:
    """Serve on a free port of 127.0.0.1 until the end of the block, when every connection is cut and no thread is left.

    `folder` is served too, as it is at each request. More than `connections` requests at once get 503 (null: no such
    rule, as on a mirror), those that do not say who asks get 403 unless not `strict`. `bytes_per_second` slows each
    body. `ended` is told of each request as it ends: when all but the last byte is sent. Raises `AssertionError` from
    what went wrong inside the server.
    """
    server = _Server()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    server.handle = DumpServerHandle(url, folder, connections, bytes_per_second, strict, ended)
    thread = threading.Thread(target=server.serve_forever, args=(LOOK_EVERY_S,), name="dump server")
    thread.start()
    try:
        yield server.handle
    finally:
        server.handle.closing.set()
        server.shutdown()
        thread.join()
        server.end_connections()
        server.server_close()
    if server.errors:
        raise AssertionError("the dump server failed") from server.errors[0]


@contextmanager
def served_folder(tree: Path, folder: Path, name: str, *options: str) -> Iterator[tuple[str, servers.Child]]:
    """Serve `tree` by a process of its own, started in `folder` under `name`; gives its URL and the process."""
    command = [sys.executable, "-m", __name__, str(tree), *options]
    root = Path(__file__).resolve().parent.parent
    with servers.started(command, folder, {"PYTHONPATH": str(root)}, name) as child:
        child.wait_until(lambda: "\n" in child.printed(), within_s=60)
        yield child.printed().partition("\n")[0], child


def main() -> None:
    """Serve a folder until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m valbench_dagster_tests.dump_server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--connections", type=int, default=3, help="most requests at once; 0 for no such rule")
    parser.add_argument("--bytes-per-second", type=int, default=None, help="of each connection")
    given = parser.parse_args()

    def say(line: str) -> None:
        os.write(sys.stdout.fileno(), f"{line}\n".encode())  # at once, and whole lines from any thread

    with dump_server(
        folder=given.folder,
        connections=given.connections or None,
        bytes_per_second=given.bytes_per_second,
        ended=lambda request: say(json.dumps(asdict(request))),
    ) as handle:
        say(handle.url)
        threading.Event().wait()


if __name__ == "__main__":
    main()
